"""Two scanners with different physics; neither knows the Gaussian pyramid f() that training uses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, special

from ctsr.phantom.tissue import AIR, SOFT

Array = npt.NDArray[np.float32]

FWHM = 2 * np.sqrt(2 * np.log(2))  # full width at half maximum of a Gaussian, in standard deviations


@dataclass(frozen=True)
class MicroScanner:
    """Specimen µCT with uncalibrated greys.

    Attributes:
        gain: Grey difference between soft tissue and air.
        offset: Grey of air.
        blur: Standard deviation of the Gaussian point spread, in voxels.
        noise: Standard deviation of the noise, as a share of `gain`.
        rings: Standard deviation of the ring artefacts, as a share of `gain`.
    """

    gain: float
    offset: float
    blur: float
    noise: float
    rings: float

    def scan(self, density: Array, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
        """Greys (z, y, x) of a density (z, y, x) in HU, on the same grid."""
        image = ndimage.gaussian_filter((density - AIR) / (SOFT - AIR), self.blur, mode="nearest", truncate=3)
        image += self.noise * rng.standard_normal(image.shape, dtype=np.float32)
        image += self.rings * _rings(image.shape[1], image.shape[2], rng)
        greys = np.rint(self.offset + self.gain * image)
        return np.asarray(np.clip(greys, 0, np.iinfo(np.uint16).max), dtype=np.uint16)


def _rings(rows: int, columns: int, rng: np.random.Generator) -> Array:
    """Rings of uneven detector pixels around the axis of rotation near the middle; standard deviation 1."""
    centre = np.array([rows, columns]) / 2 + rng.uniform(-2, 2, 2)
    y, x = np.arange(rows)[:, None] - centre[0], np.arange(columns)[None, :] - centre[1]
    radius = np.hypot(y, x)
    profile = rng.standard_normal(int(radius.max()) + 2)
    return np.asarray(np.interp(radius, np.arange(profile.size), profile), dtype=np.float32)


@dataclass(frozen=True)
class ClinicalScanner:
    """Clinical CT in HU.

    Attributes:
        pixel: In-plane pixel size in mm.
        spread: Full width at half maximum of the in-plane point spread, in mm.
        slice_width: Full width at half maximum of the slice profile, in mm.
        noise: Standard deviation of the noise in HU.
        cutoff: Width of the reconstruction kernel's noise spectrum, in cycles per pixel.
    """

    pixel: float
    spread: float
    slice_width: float
    noise: float
    cutoff: float

    def scan(
        self, density: Array, voxel: float, slices: npt.NDArray[np.floating], rng: np.random.Generator
    ) -> npt.NDArray[np.int16]:
        """HU (slice, y, x) of a density.

        Args:
            density: Block (z, y, x) in HU; its in-plane size is a multiple of the pixel size.
            voxel: Its voxel size in mm.
            slices: Where the slices are centred, in mm from the block's first face.
            rng: Source of the noise.

        Returns:
            The scan. Pixel k covers k·pixel to (k + 1)·pixel from the block's in-plane edges.
        """
        rows, columns = (round(n * voxel / self.pixel) for n in density.shape[1:])
        image = _blurred_onto(density, 0, voxel, slices, self.slice_width)
        image = _blurred_onto(image, 1, voxel, (np.arange(rows) + 0.5) * self.pixel, self.spread)
        image = _blurred_onto(image, 2, voxel, (np.arange(columns) + 0.5) * self.pixel, self.spread)
        image += self.noise * fbp_noise(image.shape, self.cutoff, rng)
        return np.asarray(np.clip(np.rint(image), -1024, 3071), dtype=np.int16)


def _blurred_onto(image: Array, axis: int, voxel: float, centres: npt.NDArray[np.floating], fwhm: float) -> Array:
    """Integrate along an axis over Gaussians of width `fwhm` at `centres` (mm), each voxel being a box."""
    edges = np.arange(image.shape[axis] + 1) * voxel
    below = special.ndtr((edges[None, :] - centres[:, None]) * (FWHM / fwhm))
    below[:, 0], below[:, -1] = 0, 1  # beyond the block lies what lies at its border
    weights = np.diff(below, axis=1).astype(np.float32)
    return np.moveaxis(np.tensordot(weights, image, axes=(1, axis)), 0, axis)


def fbp_noise(shape: tuple[int, ...], cutoff: float, rng: np.random.Generator) -> Array:
    """Noise as filtered back-projection leaves it: each slice alone, a ramp at low frequencies, cut off by the kernel.

    Args:
        shape: (slice, y, x).
        cutoff: Standard deviation of the kernel's Gaussian, in cycles per pixel.
        rng: Source of the noise.

    Returns:
        Noise of mean 0 and standard deviation 1.
    """
    fy, fx = np.fft.fftfreq(shape[1])[:, None], np.fft.rfftfreq(shape[2])[None, :]
    frequency = np.hypot(fy, fx)
    amplitude = np.sqrt(frequency + 0.02) * np.exp(-(frequency**2) / (2 * cutoff**2))
    amplitude[0, 0] = 0
    white = fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    noise = fft.irfft2(white * amplitude.astype(np.float32), s=shape[1:])
    return np.asarray(noise / noise.std(), dtype=np.float32)
