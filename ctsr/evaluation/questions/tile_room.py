"""Whether every case has room for the tiles that it is compared on: known before anything is enlarged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import floor

import numpy as np
import numpy.typing as npt

from ctsr.data.pairs import Pair
from ctsr.errors import UserError, warn
from ctsr.evaluation.measures.kernel_distance import FEWEST, patches_in
from ctsr.evaluation.questions.test_set import TestSet
from ctsr.evaluation.questions.tiles import Cut, chosen_slices, evenly_spaced, tiles_inside
from ctsr.records.tasks import LEAST_TILE

Masks = Sequence[npt.NDArray[np.bool_]]

STEP = 16  # pixels between the sizes that are tried for a hint; the half of each is whole clinical pixels
LEAST_COVER = 0.3  # a lower one is not worth a hint: such a tile shows little but air


def check_tiles(test: TestSet, cut: Cut) -> None:
    """Refuse cases without a tile, all in one line, with a size and a cover that would serve every case.

    Args:
        test: The cases; `empty` and `clinical` ones are looked at whole.
        cut: Tiles and slices.

    Raises:
        UserError: There are such cases.
    """
    specimens = _specimens(test, cut)
    narrow = _narrow(specimens, cut)
    if not narrow:
        return
    smaller = range((cut.tile - 1) // STEP * STEP, LEAST_TILE - 1, -STEP)
    fits = (size for size in smaller if all(_best_cover(of, size) >= cut.cover for of in specimens.values()))
    hints = [f"tile_micro={size}" for size in [next(fits, None)] if size is not None]
    cover = floor(100 * min(narrow.values())) / 100
    if cover >= LEAST_COVER:
        hints.append(f"cover={cover:g}")
    raise UserError(
        f"{', '.join(narrow)}: no {cut.tile}-pixel tile lies inside the specimen (cover={cut.cover:g}): "
        + (f"give {' or '.join(hints)}" if hints else f"leave {'it' if len(narrow) == 1 else 'them'} out")
    )


def with_tiles(test: TestSet, cut: Cut) -> TestSet:
    """The micro-CT and the pairs that have a tile; the others are left out, which is told."""
    narrow = _narrow(_specimens(test, cut), cut)
    if narrow:
        warn(
            f"not measured, for no {cut.tile}-pixel tile lies {cut.cover:.0%} inside the specimen: {', '.join(narrow)}"
        )
    return replace(
        test,
        micro=[case for case in test.micro if f"micro {case.name}" not in narrow],
        pairs=[pair for pair in test.pairs if f"paired {pair.name}" not in narrow],
    )


def _narrow(specimens: Mapping[str, Masks], cut: Cut) -> dict[str, float]:
    """Those without a tile, with the largest share of one that lies inside."""
    shares = {name: _best_cover(masks, cut.tile) for name, masks in specimens.items()}
    return {name: share for name, share in shares.items() if share < cut.cover}


def _specimens(test: TestSet, cut: Cut) -> dict[str, Masks]:
    """Where each specimen is, in the slices that are compared."""
    pairs: dict[str, Masks] = {f"paired {pair.name}": _inside(pair, cut) for pair in test.pairs}
    slices = {case.name: evenly_spaced(range(len(case.slices)), cut.slices) for case in test.micro}
    micro = {f"micro {case.name}": [case.mask[z] for z in slices[case.name]] for case in test.micro}
    return pairs | micro | _projected(test, cut)


def _projected(test: TestSet, cut: Cut) -> dict[str, Masks]:
    """Of each lung the slices of that kind whose best tile is covered least: kinds share a specimen, not slices."""
    found: dict[str, Masks] = {}
    for pair in (pair for pairs in test.projections.values() for pair in pairs):
        name, masks = f"projections {pair.name}", _inside(pair, cut)
        if name not in found or _best_cover(masks, cut.tile) < _best_cover(found[name], cut.tile):
            found[name] = masks
    return found


def without_patches(test: TestSet, cut: Cut) -> list[str]:
    """Pairs whose tiles hold too few patches for `ctsr.evaluation.measures.kernel_distance.kernel_distance`."""
    found = []
    for pair in test.pairs:
        tiles = (mask[tile] for mask in _inside(pair, cut) for tile in tiles_inside(mask, cut.tile, cut.cover))
        if sum(patches_in(tile.shape) for tile in tiles) < FEWEST:
            found.append(pair.name)
    return found


def _inside(pair: Pair, cut: Cut) -> Masks:
    return [pair.inside[micro_z] for _, micro_z in chosen_slices(pair, cut.slices)]


def _best_cover(masks: Masks, size: int) -> float:
    """Largest share of a tile inside the specimen; -1 where the images hold no tile that measures can take."""
    held = [mask for mask in masks if min(mask.shape) >= LEAST_TILE]
    return max((float(mask[tile].mean()) for mask in held for tile in tiles_inside(mask, size, 0.0)), default=-1.0)
