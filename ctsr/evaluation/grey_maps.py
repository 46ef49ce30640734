"""The grey maps that interpolation is given, fitted on training cases only (READING 16)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ctsr.data.prepared import PreparedCase
from ctsr.errors import UserError
from ctsr.evaluation.baselines import GreyMap
from ctsr.evaluation.protocols import Downsample, Image, case_tiles, synthesized
from ctsr.evaluation.tiles import Tile, spread


def fit_paired_map(
    clinical: Sequence[PreparedCase], micro: Sequence[PreparedCase], f: Downsample, slices: int = 8
) -> GreyMap:
    """Clinical greys inside the lung to greys of f(x) inside the specimen.

    Args:
        clinical: Training cases.
        micro: Training cases.
        f: Downsampling by 8, on the CPU.
        slices: Slices used of each case, evenly spread.
    """
    source = [case.image[z][case.mask[z]] for case in clinical for z in spread(case.slices, slices)]
    target = [_downsampled(case, z, f) for case in micro for z in spread(case.slices, slices)]
    return GreyMap.fit(np.concatenate(source), np.concatenate(target))


def fit_synthetic_map(
    G1: nn.Module, micro: Sequence[PreparedCase], f: Downsample, tile: int = 256, cover: float = 0.8, slices: int = 4
) -> GreyMap:
    """Greys of G1(f(x)) to those of f(x).

    Args:
        G1: Synthesizing generator.
        micro: Training cases.
        f: Downsampling by 8, on the CPU.
        tile: Side of a tile in micro-CT pixels, as in the protocol.
        cover: Least share of a tile inside the specimen.
        slices: Slices used of each case, evenly spread.

    Raises:
        UserError: If no training case has a tile.
    """
    places = [(case, z, place) for case in micro for z, place in case_tiles(case, tile, cover, slices)]
    if not places:
        raise UserError(f"no {tile}-pixel tile lies inside the specimen of a training case; choose a smaller tile")
    source = [synthesized(G1, f, case, z, place) for case, z, place in places]
    target = [_f(case.slab[z][place], f) for case, z, place in places]
    return GreyMap.fit(np.concatenate(source, axis=None), np.concatenate(target, axis=None))


def _downsampled(case: PreparedCase, z: int, f: Downsample) -> Image:
    """Greys of f(slab) whose 8x8 pixels all lie inside the specimen."""
    whole: Tile = (slice(None), slice(None))
    image = _f(case.slab[z][whole], f)
    height, width = image.shape
    inside = case.mask[z].reshape(height, 8, width, 8).all(axis=(1, 3))
    greys: Image = image[inside]
    return greys


def _f(image: npt.NDArray[np.floating], f: Downsample) -> Image:
    down: Image = f(torch.from_numpy(image.astype(np.float32))[None, None])[0, 0].numpy()
    return down
