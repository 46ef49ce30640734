"""Where images are compared: slices spread over a case, and tiles of a fixed grid in them (READING 16)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ctsr.data.pairs import Pair
from ctsr.data.preparing.store import PreparedCase

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


def evenly_spaced(indices: range | tuple[int, ...], count: int) -> list[int]:
    """At most `count` of the indices, evenly spread, the ends left out as far as possible."""
    if count >= len(indices):
        return list(indices)
    return [indices[int((k + 0.5) * len(indices) / count)] for k in range(count)]


@dataclass(frozen=True)
class Cut:
    """Where images are compared.

    Attributes:
        tile: Side of a tile in micro-CT pixels. Fixed, for a network's result may depend on the image's size.
        cover: Least share of a tile inside the specimen.
        slices: Slices taken of each case, evenly spread.
    """

    tile: int = 256
    cover: float = 0.8
    slices: int = 4


def case_tiles(case: PreparedCase, cut: Cut) -> Iterator[tuple[int, Tile]]:
    """Slice and place of each tile of a prepared case."""
    for z in evenly_spaced(range(len(case.slices)), cut.slices):
        for place in tiles_inside(case.mask[z], cut.tile, cut.cover):
            yield z, place


def chosen_slices(pair: Pair, count: int) -> list[tuple[int, int]]:
    """Evenly spread slices of a pair, without the outermost where the clinical slice profile leaves the volume."""
    inner = pair.slices[1:-1] or pair.slices
    return [inner[k] for k in evenly_spaced(range(len(inner)), count)]
