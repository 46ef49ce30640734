"""Air and soft tissue in a µCT volume: they tie its uncalibrated greys to HU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter
from skimage.filters import threshold_otsu

from ctsr.data.prepared import PreparedCase
from ctsr.errors import UserError
from ctsr.imaging.intensity import Window

MATERIALS_HU = (-1000.0, 45.0)  # air, soft tissue
SIDE = 5  # pixels of a square that shows one material
EVEN = 0.05  # share of the squares, those that vary least, that do
NOISIER = 1.5  # air varies by noise alone: in variance at most this many times as much as tissue; foam varies more
CONSTANT = 1e-7  # variance of padding, and of greys clipped at the window's end

Squares = npt.NDArray[np.float32]  # (2, N): mean and variance of each


@dataclass(frozen=True)
class Line:
    """A linear map of greys.

    Attributes:
        gain: Slope.
        offset: What 0 becomes.
    """

    gain: float
    offset: float

    def __call__(self, greys: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Greys of any shape to the same shape."""
        return np.asarray(self.gain * np.asarray(greys, dtype=np.float32) + self.offset, dtype=np.float32)


def find_materials(case: PreparedCase, slices: int = 8) -> tuple[float, float]:
    """Greys of air and of soft tissue in a prepared µCT case, in its [-1, 1].

    Where a small square holds one material, its greys vary by noise alone. Otsu's threshold parts dark squares from
    bright ones; the median of each kind's most even squares is the material's grey. Air may lie around the specimen as
    well as in an airway; tissue lies in the specimen.

    Args:
        case: The case.
        slices: Slices looked at, evenly spread.

    Raises:
        UserError: There is no air, or nothing else.
    """
    dark, bright = (np.concatenate(squares, axis=1) for squares in zip(*_squares(case, slices), strict=True))
    air, of_air = _most_even(dark)
    tissue, of_tissue = _most_even(bright)
    if not air < tissue or of_air > NOISIER * of_tissue:  # also where one is NaN
        raise UserError(
            f"{case.name}: no air is to be seen around the specimen or in it, so its greys cannot be tied to HU: "
            "leave a margin of air around specimens, or give networks.G1.greys=learned"
        )
    return air, tissue


def hu_line(case: PreparedCase, materials_hu: Sequence[float] = MATERIALS_HU) -> Line:
    """A prepared µCT case's greys in [-1, 1] to HU.

    Args:
        case: The case.
        materials_hu: HU of air and of soft tissue.

    Raises:
        UserError: There is no air in it, or nothing else.
    """
    air, tissue = find_materials(case)
    gain = (materials_hu[1] - materials_hu[0]) / (tissue - air)
    return Line(gain, materials_hu[0] - gain * air)


def clinical_line(cases: Sequence[PreparedCase], materials_hu: Sequence[float], window: Window) -> Line:
    """Greys of µCT to greys of a clinical scan of the same thing, both in [-1, 1]: the mean over cases.

    Args:
        cases: Prepared µCT cases.
        materials_hu: HU of air and of soft tissue.
        window: HU of clinical -1 and +1.
    """
    lines = [hu_line(case, materials_hu) for case in cases]
    half = (window.high - window.low) / 2
    gain, offset = np.mean([(line.gain, line.offset) for line in lines], axis=0)
    return Line(float(gain / half), float((offset - window.low) / half - 1))


def _squares(case: PreparedCase, slices: int) -> Iterator[tuple[Squares, Squares]]:
    """Dark and bright squares of each slice."""
    chosen = np.unique(np.linspace(0, len(case.slices) - 1, slices).round().astype(int))
    threshold = threshold_otsu(np.concatenate([case.image[z][case.mask[z]] for z in chosen]).astype(np.float32))
    for z in chosen:
        image = case.image[z].astype(np.float32)
        mean = uniform_filter(image, SIDE)
        variance = uniform_filter(image**2, SIDE) - mean**2
        squares, varies = np.stack((mean, variance)), variance > CONSTANT
        yield squares[:, varies & (mean < threshold)], squares[:, varies & case.mask[z] & (mean >= threshold)]


def _most_even(squares: Squares) -> tuple[float, float]:
    """Median grey and median variance of those that vary least; NaN if there are none."""
    if not squares.size:
        return float("nan"), float("nan")
    mean, variance = squares[:, squares[1] <= np.quantile(squares[1], EVEN)]
    return float(np.median(mean)), float(np.median(variance))
