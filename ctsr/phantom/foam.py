"""Alveolar foam: the walls of a Voronoi tessellation of jittered lattice points, thinner than a voxel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ctsr.phantom.compiled import compiled
from ctsr.phantom.fields import smooth_field

Array = npt.NDArray[np.float32]

JITTER = 1.3  # of a lattice step; with 0.9 the lattice still shows
PADDING = 3  # lattice points beyond the block on every side
DUCT_SHARE = 0.3  # of the cells, merged with their like into alveolar ducts
DUCT_SIZE = 0.8  # standard deviation in lattice steps of the Gaussian that smooths the field that chooses them
# Low-frequency grain of the foam: variance of its mean over a large volume V is share² · GRAIN · edge³ / V (measured).
GRAIN = 1.95


def alveolar_foam(
    where: npt.NDArray[np.bool_], voxel: float, cell_edge: float, rng: np.random.Generator, ducts: float = DUCT_SHARE
) -> Array:
    """Tissue share of every voxel of a foam of alveoli, of mean 1 (multiply by the wanted share).

    The cells have the mean volume `cell_edge`³, so 1.24 `cell_edge` is the diameter of the sphere of that volume.

    Args:
        where: Block (z, y, x), True where foam is wanted.
        voxel: Voxel size in mm.
        cell_edge: Lattice step in mm.
        rng: Source of the cells.
        ducts: Share of the cells that belong to ducts, where no wall stands between two such cells.

    Returns:
        Relative tissue share, of the block's shape; zero where none is wanted.
    """
    cells = tuple(int(np.ceil(size * voxel / cell_edge)) + 2 * PADDING for size in where.shape)
    lattice = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in cells), indexing="ij"), axis=-1)
    offsets = rng.random(lattice.shape, dtype=np.float32) - np.float32(0.5)
    seeds = (lattice - PADDING + 0.5 + np.float32(JITTER) * offsets) * np.float32(cell_edge)
    field = smooth_field((cells[0], cells[1], cells[2]), DUCT_SIZE, rng)
    in_duct = field > np.quantile(field, 1 - ducts)
    strength = rng.uniform(0.6, 1.4, size=cells).astype(np.float32)
    walls = np.zeros(where.shape, np.float32)
    _walls(seeds, in_duct, strength, where, np.float32(voxel), np.float32(cell_edge), walls)
    walls /= np.float32(walls.sum(dtype=np.float64) / max(where.sum(), 1))
    return walls


def matched_grain(where: npt.NDArray[np.bool_], voxel: float, cell_edge: float, rng: np.random.Generator) -> Array:
    """`alveolar_foam` as a scanner sees it that can't resolve it: white noise of its low-frequency power.

    For blocks too coarse (voxels of half a cell and more) to draw the walls themselves.

    Returns:
        Relative tissue share of mean 1, of the block's shape; below zero in some voxels, never in a scan.
    """
    deviation = np.sqrt(GRAIN * (cell_edge / voxel) ** 3)
    return 1 + np.float32(deviation) * rng.standard_normal(where.shape, dtype=np.float32)


@compiled
def _walls(
    seeds: Array,
    in_duct: npt.NDArray[np.bool_],
    strength: Array,
    where: npt.NDArray[np.bool_],
    voxel: np.float32,
    edge: np.float32,
    out: Array,
) -> None:
    """Partial volume of the plane between the two nearest seeds, 1 on the plane to 0 at 0.75 voxels from it."""
    shape = where.shape
    for z in range(shape[0]):
        pz = (np.float32(z) + np.float32(0.5)) * voxel
        cz = int(pz / edge) + PADDING
        for y in range(shape[1]):
            py = (np.float32(y) + np.float32(0.5)) * voxel
            cy = int(py / edge) + PADDING
            for x in range(shape[2]):
                if not where[z, y, x]:
                    continue
                px = (np.float32(x) + np.float32(0.5)) * voxel
                cx = int(px / edge) + PADDING
                first = second = np.float32(1e9)
                a = b = (0, 0, 0)
                for i in range(cz - 1, cz + 2):
                    for j in range(cy - 1, cy + 2):
                        for k in range(cx - 1, cx + 2):
                            dz = seeds[i, j, k, 0] - pz
                            dy = seeds[i, j, k, 1] - py
                            dx = seeds[i, j, k, 2] - px
                            d = dz * dz + dy * dy + dx * dx
                            if d < first:
                                second, b = first, a
                                first, a = d, (i, j, k)
                            elif d < second:
                                second, b = d, (i, j, k)
                if in_duct[a] and in_duct[b]:
                    continue
                dz = seeds[a[0], a[1], a[2], 0] - seeds[b[0], b[1], b[2], 0]
                dy = seeds[a[0], a[1], a[2], 1] - seeds[b[0], b[1], b[2], 1]
                dx = seeds[a[0], a[1], a[2], 2] - seeds[b[0], b[1], b[2], 2]
                to_plane = (second - first) / (np.float32(2) * np.sqrt(dz * dz + dy * dy + dx * dx))
                cover = np.float32(1.5) - np.float32(2) * to_plane / voxel
                if cover > 0:
                    out[z, y, x] = min(cover, np.float32(1)) * np.float32(0.5) * (strength[a] + strength[b])
