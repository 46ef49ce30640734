"""A lung nodule: a lumpy ball with spiculae, solid or with a ground-glass halo."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ctsr.phantom.fields import coarse_shape, smooth_field, stretch
from ctsr.phantom.trees import Tubes, draw

Array = npt.NDArray[np.float32]

HALO_EDGE = 0.6  # mm over which the halo fades
HALO = 1.6  # radius of a part-solid nodule's halo, of the solid core's


def nodule(
    shape: tuple[int, int, int],
    voxel: float,
    centre: tuple[float, float, float],
    radius: float,
    part_solid: bool,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Solid share and halo share of every voxel.

    Args:
        shape: Block (z, y, x).
        voxel: Voxel size in mm.
        centre: (z, y, x) in mm from the block's corner.
        radius: Of the solid part, in mm.
        part_solid: Whether there is a halo.
        rng: Source of lumps and spiculae.

    Returns:
        Two arrays of `shape` with values in [0, 1]; the halo's holds the solid part too, and is zero without one.
    """
    step = max(int(0.35 * radius / voxel), 1)
    lumps = stretch(smooth_field(coarse_shape(shape, step), 1.5, rng), shape, step)
    z, y, x = (((np.arange(n, dtype=np.float32) + 0.5) * voxel - c) ** 2 for n, c in zip(shape, centre, strict=True))
    distance = np.sqrt(z[:, None, None] + y[None, :, None] + x[None, None, :]) - 0.12 * radius * lumps
    solid = np.clip((radius - distance) / voxel + 0.5, 0, 1)
    halo = np.clip((HALO * radius - distance) / HALO_EDGE + 0.5, 0, 1) if part_solid else np.zeros_like(solid)
    draw(_spiculae(np.array(centre), radius, rng), shape, voxel, out=solid)
    return solid, halo


def _spiculae(centre: npt.NDArray[np.float64], radius: float, rng: np.random.Generator) -> Tubes:
    """Thin cones that leave the surface in random directions."""
    count = int(rng.integers(8, 20))
    ways = rng.standard_normal((count, 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    length = radius * rng.uniform(1.4, 2.4, (count, 1))
    radii = np.stack([rng.uniform(0.12, 0.22, count) * radius, np.full(count, 0.05)], axis=1)
    start = centre + 0.7 * radius * ways
    return Tubes(*(a.astype(np.float32) for a in (start, centre + length * ways, radii)))
