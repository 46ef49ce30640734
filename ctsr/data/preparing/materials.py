"""Air and soft tissue in a µCT volume: they tie its uncalibrated greys to HU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

import numpy as np
import numpy.typing as npt
from scipy.ndimage import minimum_filter, uniform_filter
from skimage.filters import threshold_otsu

from ctsr.data.preparing.store import PreparedCase
from ctsr.errors import UserError
from ctsr.imaging.intensity import Window

SIDE = 5  # pixels of a square that shows one material
EVEN = 0.05  # share of the squares, those that vary least, that do
APART = 2.0  # standard deviations of the noise between foam, which may look even, and the air of a few airways
RARE = 0.005  # share of the even squares that air has at least
CONSTANT = 1e-7  # variance of padding, and of greys clipped at the window's end

Squares = npt.NDArray[np.float32]  # (2, N): mean and variance of each


def find_materials(case: PreparedCase, slices: int = 8) -> tuple[float, float]:
    """Greys of air and of soft tissue in a prepared µCT case, in its [-1, 1].

    Where a small square holds one material, its greys vary by noise alone. Otsu's threshold parts dark squares from
    bright ones; the median of each kind's most even squares is the material's grey. Tissue lies in the specimen; air
    may lie around it, or in a few airways alone: then there are even squares that are darker still, and those are it.

    Args:
        case: The case.
        slices: Slices looked at, evenly spread.

    Raises:
        UserError: The volume holds one material only.
    """
    dark, bright = (np.concatenate(squares, axis=1) for squares in zip(*_squares(case, slices), strict=True))
    if not (dark.size and bright.size):
        raise UserError(
            f"{case.name}: air and tissue are not both to be seen, so its greys cannot be tied to HU: "
            "give networks.G1.greys=learned"
        )
    air, variance = _most_even(dark)
    noise = float(np.median(variance)) ** 0.5
    while (darker := air < np.median(air) - APART * noise).mean() > RARE:
        air = air[darker]
    tissue, _ = _most_even(bright)
    return float(np.median(air)), float(np.median(tissue))


def hu_window(case: PreparedCase, materials_hu: Sequence[float]) -> Window:
    """HU of -1 and +1 in a prepared µCT case.

    Args:
        case: The case.
        materials_hu: HU of air and of soft tissue.

    Raises:
        UserError: It holds one material only.
    """
    air, tissue = find_materials(case)
    gain = (materials_hu[1] - materials_hu[0]) / (tissue - air)
    middle = materials_hu[0] - gain * air
    return Window(middle - gain, middle + gain)


def gain_and_offset(
    cases: Sequence[PreparedCase], materials_hu: Sequence[float], clinical: Window
) -> tuple[float, float]:
    """What greys of µCT are to be multiplied by, and then added, to be those of a clinical scan, both in [-1, 1].

    Args:
        cases: Prepared µCT cases, over which the mean is taken.
        materials_hu: HU of air and of soft tissue.
        clinical: HU of clinical -1 and +1.
    """
    windows = [hu_window(case, materials_hu) for case in cases]
    low, high = (fmean(getattr(window, end) for window in windows) for end in ("low", "high"))
    width = clinical.high - clinical.low
    return (high - low) / width, (low + high - clinical.low - clinical.high) / width


def _squares(case: PreparedCase, slices: int) -> Iterator[tuple[Squares, Squares]]:
    """Dark and bright squares of each slice."""
    chosen = np.unique(np.linspace(0, len(case.slices) - 1, slices).round().astype(int))
    threshold = threshold_otsu(np.concatenate([case.image[z][case.mask[z]] for z in chosen]).astype(np.float32))
    for z in chosen:
        image = case.image[z].astype(np.float32)
        mean = uniform_filter(image, SIDE)
        variance = uniform_filter(image**2, SIDE) - mean**2
        varies = minimum_filter(variance > CONSTANT, 2 * SIDE + 1)  # nor is its rim anything that was seen
        squares = np.stack((mean, variance))
        yield squares[:, varies & (mean < threshold)], squares[:, varies & case.mask[z] & (mean >= threshold)]


def _most_even(squares: Squares) -> Squares:
    """Those that vary least."""
    return squares[:, squares[1] <= np.quantile(squares[1], EVEN)]
