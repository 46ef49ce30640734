"""A monotone map of greys from one scanner's scale to another's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class GreyMap:
    """A monotone, piecewise linear map of greys: one domain's quantiles onto the other's.

    Clinical and micro-CT greys are different scales; a fair interpolation baseline is given the best fixed translation
    between them. To be fitted on training cases only.

    Attributes:
        knots: Source greys, strictly increasing.
        values: What they become, not decreasing. Constant beyond the outer knots.
    """

    knots: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]

    @classmethod
    def fit(cls, source: npt.ArrayLike, target: npt.ArrayLike, quantiles: int = 256) -> GreyMap:
        """Match the quantiles of two sets of greys that need not be paired.

        Args:
            source: Greys to be mapped, any shape.
            target: Greys whose distribution the result shall have, any shape.
            quantiles: Number of quantiles, from the minimum to the maximum.
        """
        levels = np.linspace(0.0, 1.0, quantiles)
        ordinates = np.quantile(np.asarray(target, dtype=np.float64), levels)
        # Clipped greys repeat a quantile: one knot then takes the mean of what it should become.
        knots, index, counts = np.unique(
            np.quantile(np.asarray(source, dtype=np.float64), levels), return_inverse=True, return_counts=True
        )
        return cls(knots, np.bincount(index, weights=ordinates) / counts)

    @classmethod
    def identity(cls) -> GreyMap:
        """The map on [-1, 1] that changes nothing."""
        return cls(np.array([-1.0, 1.0]), np.array([-1.0, 1.0]))

    def apply(self, greys: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Map greys of any shape."""
        return np.interp(np.asarray(greys, dtype=np.float64), self.knots, self.values).astype(np.float32)

    def inverse(self) -> GreyMap:
        """The map back; greys that the map makes equal come back as their mean."""
        knots, index, counts = np.unique(self.values, return_inverse=True, return_counts=True)
        return GreyMap(knots, np.bincount(index, weights=self.knots) / counts)

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists, for checkpoints and JSON."""
        return {"knots": self.knots.tolist(), "values": self.values.tolist()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> GreyMap:
        """The inverse of `to_dict`."""
        return cls(np.asarray(plain["knots"], dtype=np.float64), np.asarray(plain["values"], dtype=np.float64))


def to_clinical(grey_maps: Mapping[str, GreyMap]) -> GreyMap:
    """A checkpoint's map of greys of f(x) to clinical ones, both in [-1, 1].

    Args:
        grey_maps: "calibrated": by air and tissue, where a training has it; "clinical": the other way, by quantiles,
            which different lungs bend.
    """
    return grey_maps["calibrated"] if "calibrated" in grey_maps else grey_maps["clinical"].inverse()
