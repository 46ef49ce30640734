"""Stage synth alone: how far G1(f(X)) is from real clinical images in greys, blur and noise (protocol `synthesis`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ctsr.data.preparing.store import PreparedCase
from ctsr.errors import warn
from ctsr.evaluation.measures.synthesis_distance import DISTANCES
from ctsr.evaluation.questions.competitors import Method, Synthesis, TrainedNetwork
from ctsr.evaluation.questions.inputs import synthetic_samples
from ctsr.evaluation.questions.test_set import TestSet
from ctsr.evaluation.questions.tiles import Cut, evenly_spaced, tiles_inside
from ctsr.evaluation.scoring.compare import Answers, Step
from ctsr.imaging.intensity import Window
from ctsr.imaging.volume import SCALE, Image
from ctsr.networks.synthesis import Unchanged
from ctsr.records.row import Row

PROTOCOL = "synthesis"


def synthesis_scores(
    networks: Sequence[TrainedNetwork], test: TestSet, window: Window, cut: Cut, step: Step = lambda: None
) -> Answers:
    """`DISTANCES` of made clinical-like images to real ones, for each held-out micro-CT case.

    Beside the networks stand `fx`, f(x) as it is, and `real`: each clinical scan against all others, which is what
    lungs differ by. Sets are of tiles of one size: a case smaller than a tile is compared with smaller real tiles.
    Empty without micro-CT or without clinical scans.
    """
    if not test.micro or not (test.clinical or test.pairs):
        step()
        return Answers()
    makers = {Method("fx", None): Synthesis(Unchanged())}
    makers |= {Method(one.name, one.seed): one.synthesise for one in networks if one.synthesise is not None}
    real: dict[int, dict[str, Tensor]] = {}
    rows = []
    for (name, seed), maker in makers.items():
        made: dict[str, list[Image]] = {}
        for sample in synthetic_samples(test.micro, maker, cut):
            made.setdefault(sample.case, []).append(sample.lr)
        for case, images in made.items():
            size = len(images[0])
            if size not in real:
                real[size] = dict(_real(test, window, size, cut.cover))
                if not real[size]:
                    warn(f"{', '.join(DISTANCES)} are left out of micro {case}: no clinical scan has tiles of its size")
            if real[size]:
                rows += _rows(name, seed, case, _together(images), torch.cat(list(real[size].values())))
    largest = real[max(real)] if real else {}
    for case, tiles in largest.items():
        others = [of for other, of in largest.items() if other != case]
        if others:
            rows += _rows("real", None, case, tiles, torch.cat(others))
    step()
    return Answers(rows)


def _rows(method: str, seed: int | None, case: str, made: Tensor, real: Tensor) -> list[Row]:
    return [
        Row(PROTOCOL, method, name, float(distance(made, real)), case, seed) for name, distance in DISTANCES.items()
    ]


def _real(test: TestSet, window: Window, size: int, cover: float) -> Iterator[tuple[str, Tensor]]:
    """Tiles of real clinical images, `size` pixels wide and inside the lung, of each scan that has such."""
    for case in test.clinical:
        yield from _tiles(case.name, [(case.image[z], case.mask[z]) for z in _slices(case)], size, cover)
    for pair in test.pairs:
        slices = [
            (window.normalise(pair.clinical.array[k]), pair.inside[z][SCALE // 2 :: SCALE, SCALE // 2 :: SCALE])
            for k, z in pair.slices
        ]
        yield from _tiles(pair.name, slices, size, cover)


def _slices(case: PreparedCase) -> list[int]:
    return evenly_spaced(range(len(case.slices)), 8)


def _tiles(
    name: str, slices: Sequence[tuple[np.ndarray, np.ndarray]], size: int, cover: float
) -> Iterator[tuple[str, Tensor]]:
    tiles = [image[tile] for image, mask in slices for tile in tiles_inside(mask, size, cover)]
    if tiles := [tile for tile in tiles if tile.shape == (size, size)]:  # others are of images smaller than that
        yield name, _together(tiles)


def _together(images: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(images).astype(np.float32))[:, None]
