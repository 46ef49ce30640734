"""A coarser grid of whole blocks of voxels: where to decide what a fine grid only has to draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ctsr.imaging.storage import Allocate
from ctsr.imaging.volume import Array, Spacing

Block = tuple[int, int, int]  # voxels (z, y, x)
T = TypeVar("T", bound=np.generic)


def block_for(spacing: Spacing, width_mm: float) -> Block:
    """The block that comes nearest to a cube of `width_mm`; at least one voxel."""
    z, y, x = (max(1, round(width_mm / step)) for step in spacing)
    return z, y, x


def block_spacing(spacing: Spacing, block: Block) -> Spacing:
    """Voxel size (z, y, x) in mm of the grid of blocks."""
    z, y, x = (step * size for step, size in zip(spacing, block, strict=True))
    return z, y, x


def block_means(
    array: Array,
    block: Block,
    function: Callable[[Array], Array] = lambda slices: slices,
    allocate: Allocate = np.empty,
) -> npt.NDArray[np.float32]:
    """Means over blocks; those at the far ends may be smaller.

    Args:
        array: Voxels (z, y, x).
        block: Size of a block.
        function: What to take the means of, voxel by voxel; called with a few slices at a time.
        allocate: Where the means are put.

    Returns:
        One value a block.
    """
    starts = [np.arange(0, length, size) for length, size in zip(array.shape, block, strict=True)]
    means: npt.NDArray[np.float32] = allocate(tuple(map(len, starts)), np.float32)
    for out, first in zip(means, starts[0], strict=True):
        plane = function(array[first : first + block[0]]).mean(axis=0, dtype=np.float32)
        for axis in (0, 1):
            counts = np.diff(starts[axis + 1], append=plane.shape[axis])
            plane = np.add.reduceat(plane, starts[axis + 1], axis=axis) / np.expand_dims(counts, 1 - axis)
        out[:] = plane
    return means


def to_voxels(coarse: npt.NDArray[T], block: Sequence[int], shape: Sequence[int]) -> npt.NDArray[T]:
    """The value of each voxel's block, on the fine grid of `shape`; of volumes, or of a slice."""
    for axis, (size, length) in enumerate(zip(block, shape, strict=True)):
        if size > 1:
            coarse = np.repeat(coarse, size, axis=axis)[(slice(None),) * axis + (slice(length),)]
    return coarse
