"""Outlines of lung, body and specimen: rounded boxes with a wavy edge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ctsr.phantom.fields import coarse_shape, stretch

Array = npt.NDArray[np.float32]

STEP = 8  # voxels between the points at which an outline is evaluated; it is smooth in between


@dataclass(frozen=True)
class Outline:
    """A closed curve in the (y, x) plane that wanders slowly with z.

    Attributes:
        centre: (y, x) in mm from the block's corner.
        half: Half width in mm along both axes.
        power: Exponent of the superellipse, 2 for a circle; the larger, the squarer.
        waves: Amplitude (share of `half`), phase and drift with z (rad/mm) of the waves with 2, 3, … maxima
            around the edge; (n, 3).
    """

    centre: tuple[float, float]
    half: float
    power: float
    waves: Array

    @staticmethod
    def random(
        centre: tuple[float, float], half: float, power: float, wavy: float, rng: np.random.Generator
    ) -> Outline:
        """Outline whose waves have amplitudes up to about `wavy` (share of `half`)."""
        order = np.arange(2, 9)
        amplitude = wavy * rng.uniform(0.3, 1.0, order.size) * (2 / order)
        phase = rng.uniform(0, 2 * np.pi, order.size)
        drift = rng.uniform(-0.05, 0.05, order.size)
        return Outline(centre, half, power, np.stack([amplitude, phase, drift], axis=1).astype(np.float32))

    def depth_at(self, z: npt.ArrayLike, y: npt.ArrayLike, x: npt.ArrayLike) -> Array:
        """Depth below the outline in mm, about; positive inside. Arguments in mm, broadcast."""
        z, y, x = np.asarray(z), np.asarray(y) - self.centre[0], np.asarray(x) - self.centre[1]
        angle = np.arctan2(y, x)
        edge: npt.NDArray[np.floating] = np.asarray(1.0)
        for order, (amplitude, phase, drift) in enumerate(self.waves, start=2):
            edge = edge + amplitude * np.cos(order * angle + phase + drift * z)
        radius = (np.abs(y) ** self.power + np.abs(x) ** self.power) ** (1 / self.power)
        return np.asarray(self.half * edge - radius, dtype=np.float32)

    def depth(self, shape: tuple[int, int, int], voxel: float) -> Array:
        """`depth_at` every voxel of a block (z, y, x)."""
        axes = ((np.arange(n) * STEP + 0.5) * voxel for n in coarse_shape(shape, STEP))
        return stretch(self.depth_at(*np.meshgrid(*axes, indexing="ij")), shape, STEP)
