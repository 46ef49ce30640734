"""The fixed grid of tiles on which images are scored (READING 16)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Tile = tuple[slice, slice]


def tiles_inside(mask: npt.NDArray[np.bool_], size: int, cover: float) -> Iterator[Tile]:
    """Tiles of a fixed grid, row by row, as far as the mask covers them.

    The grid starts at the first pixel and goes on by half a tile, so that a specimen that is not much wider than a tile
    is met, wherever it lies.

    Args:
        mask: (H, W), True inside the specimen.
        size: Side of a tile in pixels; smaller, but a multiple of 16, where the image is.
        cover: Least share of a tile inside the mask, 0 ... 1.
    """
    size = min(size, *(side // 16 * 16 for side in mask.shape))
    for y in range(0, mask.shape[0] - size + 1, size // 2):
        for x in range(0, mask.shape[1] - size + 1, size // 2):
            tile = (slice(y, y + size), slice(x, x + size))
            if mask[tile].mean() >= cover:
                yield tile


def spread(indices: range | tuple[int, ...], count: int) -> list[int]:
    """At most `count` of the indices, evenly spread, the ends left out as far as possible."""
    if count >= len(indices):
        return list(indices)
    return [indices[int((k + 0.5) * len(indices) / count)] for k in range(count)]
