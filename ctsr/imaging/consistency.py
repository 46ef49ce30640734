"""Does the result still say what the scan says? |f(SR) - y|: the result, downsampled, against the scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window
from ctsr.imaging.pyramid import pyramid_matrix
from ctsr.imaging.volume import SCALE, Image, Mask

Counts = Mapping[str, Sequence[int]]


class Consistency:
    """The difference between a scan and its downsampled result, slice by slice, and its figures over all of them.

    The result has the greys of micro-CT. They are taken back to HU, so that what is left is a difference of structure.

    Args:
        to_clinical: Greys of f(x) to clinical ones, both in [-1, 1].
        window: The clinical window, in HU.
    """

    def __init__(self, to_clinical: GreyMap, window: Window) -> None:
        self._back, self._window = to_clinical, window
        bins = int(window.high - window.low) + 2
        self._counts = {place: np.zeros(bins, dtype=np.int64) for place in ("lung", "elsewhere")}

    def difference(self, lr: Image, sr: Image) -> Image:
        """|f(SR) - y| in HU.

        Args:
            lr: y as the network was given it, (H, W), values in [-1, 1].
            sr: What the network made of it, (8H, 8W).

        Returns:
            (H, W).
        """
        down = _down(sr) if min(lr.shape) > 1 else _means(sr)
        apart: Image = np.abs(
            self._window.restore(self._back.apply(down)) - self._window.restore(np.clip(lr, -1.0, 1.0))
        )
        return apart

    def add(self, difference: Image, lung: Mask, computed: Mask) -> Counts:
        """Count one slice.

        Args:
            difference: Of `difference`.
            lung: True inside the lung, same shape.
            computed: True where the network, not interpolation, made the result.

        Returns:
            What `add_counts` takes: pixels by whole HU of difference, in the lung and elsewhere.
        """
        places = {"lung": computed & lung, "elsewhere": computed & ~lung}
        counts = {
            place: np.bincount(np.rint(difference[inside]).astype(np.int64)).tolist()
            for place, inside in places.items()
        }
        self.add_counts(counts)
        return counts

    def add_counts(self, counts: Counts) -> None:
        """Count a slice that was counted before, by what `add` returned."""
        for place, total in self._counts.items():
            found = counts[place][: len(total)]
            total[: len(found)] += np.asarray(found, dtype=np.int64)

    def figures(self) -> dict[str, dict[str, float] | None]:
        """Mean and 95th percentile in HU, to 1 HU, inside and outside the lung; None where nothing was computed."""
        return {place: _figures(counts) for place, counts in self._counts.items()}


def _down(sr: Image) -> Image:
    """f(SR)."""
    rows, columns = (pyramid_matrix(length) for length in sr.shape)
    halved: Image = columns @ np.ascontiguousarray((rows @ sr).T)
    return halved.T


def _means(sr: Image) -> Image:
    """A single row or column of the scan is too small for the pyramid's reflection."""
    height, width = (length // SCALE for length in sr.shape)
    means: Image = sr.reshape(height, SCALE, width, SCALE).mean(axis=(1, 3))
    return means


def told(figures: Mapping[str, Mapping[str, float] | None]) -> str:
    """`Consistency.figures` in one line."""
    places = {"lung": "in the lung", "elsewhere": "elsewhere"}
    return "; ".join(
        f"{place} {of['mean_hu']:g} HU on average, 95 % of it below {of['p95_hu']:g}"
        for key, place in places.items()
        if (of := figures[key]) is not None
    )


def _figures(counts: npt.NDArray[np.int64]) -> dict[str, float] | None:
    total = int(counts.sum())
    if not total:
        return None
    mean = float(counts @ np.arange(len(counts)) / total)
    return {"mean_hu": round(mean, 1), "p95_hu": float(np.searchsorted(np.cumsum(counts), 0.95 * total))}
