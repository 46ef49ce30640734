"""Grey values: from a scanner's units to the networks' [-1, 1] and back (READING 11 of the paper's gaps)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ctsr.errors import UserError

_ENOUGH = 20_000_000  # voxels that settle a percentile; more only cost memory


@dataclass(frozen=True)
class Window:
    """A grey window that maps linearly onto [-1, 1].

    Attributes:
        low: Grey value (HU for clinical CT) that becomes -1.
        high: Grey value that becomes +1.
    """

    low: float
    high: float

    def normalise(self, greys: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Greys to [-1, 1]; what lies outside the window is clipped."""
        clipped = np.clip(np.asarray(greys, dtype=np.float32), np.float32(self.low), np.float32(self.high))
        return self.scale(clipped)

    def scale(self, greys: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Greys to [-1, 1]; what lies outside the window lies outside [-1, 1]."""
        return np.asarray((greys - self.low) * (2.0 / (self.high - self.low)) - 1.0, dtype=np.float32)

    def restore(self, values: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """[-1, 1] to greys, the inverse of `normalise` inside the window."""
        greys = (np.asarray(values, dtype=np.float32) + 1.0) * ((self.high - self.low) / 2.0) + self.low
        return np.asarray(greys, dtype=np.float32)


def robust_window(
    greys: npt.NDArray[Any], mask: npt.NDArray[np.bool_], percentiles: Sequence[float] = (0.5, 99.5)
) -> Window:
    """The window between two percentiles of the greys inside a mask: for scanners without a calibrated scale.

    Args:
        greys: Volume in the scanner's units.
        mask: True inside the specimen, same shape.
        percentiles: The two ends, 0 to 100.

    Raises:
        UserError: The mask is empty or the greys in it are all alike.
    """
    step = max(1, round((greys.size / _ENOUGH) ** 0.5))
    inside = greys[:, ::step, ::step][mask[:, ::step, ::step]]
    if inside.size == 0:
        raise UserError("the specimen mask is empty: is this a µCT volume of a specimen?")
    low, high = (float(value) for value in np.percentile(inside, percentiles))
    if not high > low:
        raise UserError(f"all greys inside the specimen equal {low:g}: is the volume empty?")
    return Window(low, high)
