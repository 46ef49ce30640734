"""Transfer functions beside each other, and filters that soften."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import fft

from ctsr.imaging.kernel.measured import HALF, UNIT_MM
from ctsr.imaging.padding import AIR_HU, find_padding, mark_padding, nearest_inside
from ctsr.imaging.volume import Image, Volume

Array = npt.NDArray[np.float64]

TERMS = 5
RIM = 32  # pixels that an image is reflected by at its edges
CURVE = np.arange(0.0, 1.0001, 0.02)  # /mm, at which curves are told


@dataclass(frozen=True)
class RelativeTransfer:
    """How much sharper one kernel is than another: g(f) = log(H / H_reference).

    g(f) = Σ c_k (cos(2πkf) - 1) with f in cycles per `UNIT_MM`, constant above half a cycle: greys and slow changes are
    the same by both, whatever the coefficients are.

    Attributes:
        coefficients: c_1 to c_`TERMS`.
    """

    coefficients: tuple[float, ...]

    def log(self, frequency: npt.ArrayLike) -> Array:
        """This g at frequencies in /mm."""
        return np.asarray(cosines(np.asarray(frequency, dtype=np.float64) * UNIT_MM) @ np.asarray(self.coefficients))

    def softening(self) -> Softening:
        """The filter from this kernel to the reference, where that is softer."""
        return Softening.of(CURVE, np.exp(-self.log(CURVE)))


def cosines(frequency: npt.ArrayLike) -> Array:
    """The terms of g at frequencies in cycles per unit, along a last axis."""
    told = np.minimum(np.abs(np.asarray(frequency, dtype=np.float64)), HALF)
    return np.asarray(np.cos(2 * np.pi * np.multiply.outer(told, 1 + np.arange(TERMS))) - 1)


@dataclass(frozen=True)
class Softening:
    """A filter of the image plane, the same in all directions, that never enhances anything.

    Attributes:
        frequency: Rising, from 0, in /mm.
        gain: Of each, 0 to 1 and 1 at 0; between them lines, above the last its own.
    """

    frequency: tuple[float, ...]
    gain: tuple[float, ...]

    @classmethod
    def of(cls, frequency: npt.ArrayLike, gain: npt.ArrayLike) -> Softening:
        """Of arrays; gains above 1 become 1."""
        capped = np.minimum(np.asarray(gain, dtype=np.float64), 1.0).round(4)
        return cls(tuple(np.asarray(frequency, dtype=np.float64).round(4).tolist()), tuple(capped.tolist()))

    def at(self, frequency: npt.ArrayLike) -> Array:
        """Gain at frequencies in /mm."""
        return np.asarray(np.interp(np.asarray(frequency, dtype=np.float64), self.frequency, self.gain))

    @cached_property
    def from_one(self) -> float:
        """Root mean square distance of the gain from 1, over the frequencies below half a cycle per unit."""
        return self.distance(None)

    def distance(self, other: Softening | None) -> float:
        """The same from another filter; None: one that leaves all as it is."""
        grid = np.linspace(0.0, HALF / UNIT_MM, 101)
        return float(np.sqrt(np.mean((self.at(grid) - (1.0 if other is None else other.at(grid))) ** 2)))

    def __str__(self) -> str:
        told = ", ".join(f"{self.at(frequency):.2f} at {frequency:g}" for frequency in (0.2, 0.4, 0.6))
        return f"softened by a filter of {told} /mm"

    def to_plain(self) -> dict[str, list[float]]:
        """For JSON."""
        return {"frequency_per_mm": list(self.frequency), "gain": list(self.gain)}

    def apply(self, image: Image, pixel: tuple[float, float]) -> Image:
        """Filter an image (y, x) with pixels (y, x) of so many millimetres; its rim is reflected."""
        rim = [(min(RIM, side - 1),) * 2 for side in image.shape]
        wide = np.pad(np.asarray(image, dtype=np.float32), rim, mode="reflect")
        size = [fft.next_fast_len(side, real=True) for side in wide.shape]
        wide = np.pad(wide, [(0, to - side) for to, side in zip(size, wide.shape, strict=True)], mode="edge")
        y, x = fft.fftfreq(size[0], pixel[0])[:, None], fft.rfftfreq(size[1], pixel[1])[None]
        gain = self.at(np.hypot(y, x)).astype(np.float32)
        filtered = fft.irfft2(fft.rfft2(wide) * gain, s=size)
        (top, _), (left, _) = rim
        return np.asarray(filtered[top : top + image.shape[0], left : left + image.shape[1]], dtype=np.float32)


def filtered_scan(scan: Volume, softening: Softening) -> Volume:
    """A whole scan in HU after a filter, slice by slice; the edge of its field of view is not blurred into it."""
    marked = mark_padding(scan, find_padding(scan.array))
    filtered = np.empty(scan.array.shape, dtype=np.float32)
    for z, plane in enumerate(marked.array):
        outside = np.zeros(plane.shape, bool) if marked.outside is None else marked.outside[z]
        filtered[z] = softening.apply(nearest_inside(plane.astype(np.float32), outside), marked.spacing[1:])
        filtered[z][outside] = AIR_HU
    return replace(marked, array=filtered)
