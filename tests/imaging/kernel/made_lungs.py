"""Chests made on a grid four times finer than their pixels, which are seen through a kernel that is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from ctsr.imaging.volume import Mask, Volume

Array = npt.NDArray[np.float64]
Transfer = Callable[[Array], Array]  # of frequencies in /mm

FINER = 4
FIELD = 160.0  # mm
REFERENCE_SD = 0.77 * 0.625  # mm
NOISE = 40.0  # HU of one pixel, before the kernel
APERTURE = 0.6  # mm: a detector sees the mean over so much, whatever the kernel is


@dataclass(frozen=True, eq=False)
class Chest:
    """The bodies of some slices.

    Attributes:
        waves: Their spectra on the finer grid.
        lung: Where the lungs are, on the pixels.
        pixel: Size in mm.
        seed: Of their noise.
    """

    waves: list[npt.NDArray[np.complex64]]
    lung: Mask
    pixel: float
    seed: int

    def seen_by(self, kernel: Transfer, noise: float = NOISE) -> Volume:
        """A scan whose image and noise have gone through one kernel, clipped as scanners do."""
        rng = np.random.default_rng(self.seed)
        fine, side = self.waves[0].shape[0], self.lung.shape[1]
        gain = seen_through(kernel, fine, self.pixel / FINER)
        wide = np.hypot(fft.fftfreq(side, self.pixel)[:, None], fft.rfftfreq(side, self.pixel))
        ramp = np.sqrt(wide * 2 * self.pixel) * kernel(wide) * np.sinc(wide * APERTURE)
        slices = []
        for waves in self.waves:
            image = fft.irfft2(waves * gain, s=(fine, fine))[FINER // 2 :: FINER, FINER // 2 :: FINER]
            white = rng.normal(0, noise, (side, side))
            slices.append(image + fft.irfft2(fft.rfft2(white) * ramp, s=(side, side)))
        array = np.maximum(np.rint(slices), -1024).astype(np.int16)
        return Volume(array, np.diag([1.0, self.pixel, self.pixel, 1.0]))


def seen_through(kernel: Transfer, side: int, pixel: float) -> npt.NDArray[np.float32]:
    """Kernel and aperture at the frequencies of a real transform."""
    frequency = np.hypot(fft.fftfreq(side, pixel)[:, None], fft.rfftfreq(side, pixel))
    return np.asarray(kernel(frequency) * np.sinc(frequency * APERTURE), dtype=np.float32)


def reference_kernel(frequency: Array) -> Array:
    """A Gaussian's."""
    return np.asarray(np.exp(-2 * np.pi**2 * REFERENCE_SD**2 * frequency**2))


def chest(seed: int, slices: int = 4, pixel: float = 0.625, lungs: bool = True) -> Chest:
    """An ellipse of tissue with two of lung, in these vessels and texture; all in mm."""
    rng = np.random.default_rng(seed)
    side = round(FIELD / pixel)
    waves, masks = [], []
    for _ in range(slices):
        image, lung = _body(rng, side * FINER, pixel / FINER, lungs)
        waves.append(fft.rfft2(image.astype(np.float32)))
        masks.append(lung[FINER // 2 :: FINER, FINER // 2 :: FINER])
    return Chest(waves, np.stack(masks), pixel, seed + 1000)


def _body(rng: np.random.Generator, side: int, step: float, lungs: bool) -> tuple[Array, Mask]:
    y, x = np.ogrid[:side, :side]
    y, x = ((at - side / 2 + 0.5) * step for at in (y, x))
    tilt, grown = rng.uniform(-4, 4), rng.uniform(0.95, 1.05)
    body = ((y - tilt / 4) / (58 * grown)) ** 2 + (x / (72 * grown)) ** 2 < 1
    lung = np.zeros((side, side), dtype=bool)
    for way in (-1, 1):
        lung |= ((y - way * tilt) / (42 * grown)) ** 2 + ((x - way * 33) / (25 * grown)) ** 2 < 1
    lung &= lungs
    image = np.where(body, 40.0, -1000.0)
    image[lung] = -860 + _texture(rng, side, step)[lung]
    vessels = np.zeros((side, side), dtype=bool)
    for _ in range(500):
        _dot(vessels, rng.integers(0, side, 2), 0.4 + rng.exponential(0.5), step)
    image[vessels & lung] = 40.0
    return image, lung


def _texture(rng: np.random.Generator, side: int, step: float) -> Array:
    """Parenchyma: its power falls as its frequency's third power, as that of many tissues."""
    frequency = np.hypot(fft.fftfreq(side, step)[:, None], fft.rfftfreq(side, step))
    white = fft.rfft2(rng.normal(size=(side, side)).astype(np.float32))
    amplitude = (0.1**2 + frequency**2) ** -0.75
    texture = fft.irfft2(white * amplitude.astype(np.float32), s=(side, side))
    return np.asarray(40 * texture / texture.std(), dtype=np.float64)


def _dot(mask: Mask, middle: npt.NDArray[np.int_], radius: float, step: float) -> None:
    reach = int(radius / step) + 1
    top, left = np.maximum(middle - reach, 0)
    part = mask[top : middle[0] + reach + 1, left : middle[1] + reach + 1]
    y, x = np.ogrid[: part.shape[0], : part.shape[1]]
    part |= np.hypot(y + top - middle[0], x + left - middle[1]) * step <= radius
