"""What a trained network must beat: interpolation, as it is and after the best monotone map of greys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional as F

from ctsr.imaging.pyramid import SCALE


def nearest(lr: Tensor) -> Tensor:
    """Every pixel becomes an 8x8 block: (N, 1, H, W) to (N, 1, 8H, 8W), outer edges shared."""
    return F.interpolate(lr, scale_factor=SCALE, mode="nearest")


def bicubic(lr: Tensor) -> Tensor:
    """Bicubic interpolation x8: (N, 1, H, W) to (N, 1, 8H, 8W), outer edges shared, clipped to [-1, 1]."""
    return F.interpolate(lr, scale_factor=SCALE, mode="bicubic", align_corners=False).clamp(-1.0, 1.0)


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

    def apply(self, greys: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Map greys of any shape."""
        return np.interp(np.asarray(greys, dtype=np.float64), self.knots, self.values).astype(np.float32)

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists, for checkpoints and JSON."""
        return {"knots": self.knots.tolist(), "values": self.values.tolist()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> GreyMap:
        """The inverse of `to_dict`."""
        return cls(np.asarray(plain["knots"], dtype=np.float64), np.asarray(plain["values"], dtype=np.float64))
