"""Reconstruction kernels, each by the transfer function of scanner and reconstruction together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

Array = npt.NDArray[np.float64]

EXPONENT = 2.31
"""Of the falling part: published pairs of MTF50 and MTF10 ask for it.

A Siemens B30 has 0.35 and 0.59 /mm, a D45 0.56 and 0.94 /mm (the FDA's DIDSR matches its simulated phantoms to these);
with this exponent the MTF50 that belong to these MTF10 are 0.351 and 0.559 /mm.
"""


@dataclass(frozen=True)
class Kernel:
    """A kernel told by two figures that are published of real ones.

    Its transfer function is K(f) = (1 + a f²) exp(-(f / c)^EXPONENT): 1 at f = 0, above 1 where edges are enhanced.

    Attributes:
        mtf10: Frequency in /mm at which the transfer function has fallen to 0.1.
        peak: Its highest value; 1 without edge enhancement.
    """

    mtf10: float
    peak: float = 1.0

    @cached_property
    def enhancement(self) -> float:
        """Coefficient a in mm²."""
        if self.peak == 1:
            return 0.0
        return float(brentq(lambda a: self._peak(a) - self.peak, 0.0, 1e4, xtol=1e-10))

    def _width(self, enhancement: float) -> float:
        """Frequency c in /mm that makes the transfer function 0.1 at `mtf10`."""
        return float(self.mtf10 / np.log(10 * (1 + enhancement * self.mtf10**2)) ** (1 / EXPONENT))

    def _peak(self, enhancement: float) -> float:
        return float(self._transfer(np.linspace(0, self.mtf10, 4001), enhancement).max())

    def _transfer(self, frequency: Array, enhancement: float) -> Array:
        falling = np.exp(-((frequency / self._width(enhancement)) ** EXPONENT))
        return np.asarray((1 + enhancement * frequency**2) * falling)

    def transfer(self, frequency: npt.ArrayLike) -> Array:
        """K at frequencies in /mm, none negative."""
        return self._transfer(np.asarray(frequency, dtype=np.float64), self.enhancement)

    @property
    def mtf50(self) -> float:
        """Frequency in /mm at which the transfer function has fallen to 0.5."""
        grid = np.linspace(0, self.mtf10, 4001)
        return float(grid[np.flatnonzero(self.transfer(grid) >= 0.5)[-1]])
