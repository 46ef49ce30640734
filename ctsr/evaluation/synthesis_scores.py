"""Stage synth alone: how far G1(f(X)) is from real clinical images in greys, blur and noise (protocol `synthesis`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ctsr.data.prepared import PreparedCase
from ctsr.evaluation.contestants import Contestant, TestSet
from ctsr.evaluation.methods import Image
from ctsr.evaluation.realism import DISTANCES
from ctsr.evaluation.results import Row
from ctsr.evaluation.samples import Cut, synthetic_samples
from ctsr.evaluation.synthesis import Synthesis
from ctsr.evaluation.tiles import spread, tiles_inside
from ctsr.imaging.intensity import Window
from ctsr.imaging.volume import SCALE
from ctsr.networks.synthesis import Unchanged

PROTOCOL = "synthesis"


def synthesis_scores(contestants: Sequence[Contestant], test: TestSet, window: Window, cut: Cut) -> list[Row]:
    """`DISTANCES` of made clinical-like images to real ones, for each held-out micro-CT case.

    Beside the contestants stand `fx`, f(x) as it is, and `real`: each clinical scan against all others, which is what
    lungs differ by. Empty without micro-CT or without clinical scans.
    """
    real = dict(_real(test, window, cut))
    if not real or not test.micro:
        return []
    makers: dict[tuple[str, int | None], nn.Module] = {("fx", None): Synthesis(Unchanged())}
    makers |= {(one.name, one.seed): one.synthesise for one in contestants if one.synthesise is not None}
    everything = torch.cat(list(real.values()))
    rows = []
    for (name, seed), maker in makers.items():
        made: dict[str, list[Image]] = {}
        for sample in synthetic_samples(test.micro, maker, cut):
            made.setdefault(sample.case, []).append(sample.lr)
        for case, images in made.items():
            rows += _rows(name, seed, case, _together(images), everything)
    for case, tiles in real.items():
        others = [of for other, of in real.items() if other != case]
        if others:
            rows += _rows("real", None, case, tiles, torch.cat(others))
    return rows


def _rows(method: str, seed: int | None, case: str, made: Tensor, real: Tensor) -> list[Row]:
    return [
        Row(PROTOCOL, method, name, float(distance(made, real)), case, seed) for name, distance in DISTANCES.items()
    ]


def _real(test: TestSet, window: Window, cut: Cut) -> Iterator[tuple[str, Tensor]]:
    """Tiles of real clinical images, inside the lung, of each scan."""
    size = cut.tile // SCALE
    for case in test.clinical:
        yield from _tiles(case.name, [(case.image[z], case.mask[z]) for z in _slices(case)], size, cut.cover)
    for pair in test.pairs:
        slices = [
            (window.normalise(pair.clinical.array[k]), pair.inside[z][SCALE // 2 :: SCALE, SCALE // 2 :: SCALE])
            for k, z in pair.slices
        ]
        yield from _tiles(pair.name, slices, size, cut.cover)


def _slices(case: PreparedCase) -> list[int]:
    return spread(range(len(case.slices)), 8)


def _tiles(
    name: str, slices: Sequence[tuple[np.ndarray, np.ndarray]], size: int, cover: float
) -> Iterator[tuple[str, Tensor]]:
    tiles = [image[tile] for image, mask in slices for tile in tiles_inside(mask, size, cover)]
    if tiles:
        yield name, _together(tiles)


def _together(images: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(images).astype(np.float32))[:, None]
