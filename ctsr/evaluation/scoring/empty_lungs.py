"""Vessels made up in lungs that have none (protocol `empty`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ctsr.data.pairs import Pair
from ctsr.evaluation.measures.hallucinations import EQUAL_DETECTION, VESSELS, Tally, total
from ctsr.evaluation.questions.competitors import Method
from ctsr.evaluation.questions.enlargers import Enlarge
from ctsr.evaluation.questions.inputs import paired_samples
from ctsr.evaluation.questions.tiles import Cut
from ctsr.evaluation.scoring.compare import TallyKey, to_unit
from ctsr.imaging.intensity import Window
from ctsr.records.row import Row

PROTOCOL = "empty"
LEVEL = EQUAL_DETECTION[0]


def empty_rows(
    empty: Sequence[Pair],
    methods: Mapping[Method, Enlarge],
    tallies: Mapping[TallyKey, Tally],
    window: Window,
    cut: Cut,
) -> list[Row]:
    """Made-up vessels per cm² of empty lung, each method cut where it finds its share of the paired lungs' vessels.

    Args:
        empty: Lungs without vessels and airways, seen by both scanners.
        methods: What enlarges.
        tallies: Of the paired lungs.
        window: Clinical window.
        cut: Tiles and slices.
    """
    rows = []
    for (name, seed), enlarge in methods.items():
        of = [tally for key, tally in tallies.items() if (key.name, key.seed, key.kind) == (name, seed, VESSELS.name)]
        if not of:
            continue
        reached = np.flatnonzero(total(of).detection() >= LEVEL)
        if not reached.size:
            continue
        seen: dict[str, list[Tally]] = {}
        for sample in paired_samples(empty, window, cut):
            assert sample.labels is not None
            image = to_unit(enlarge(sample.lr))
            seen.setdefault(sample.case, []).append(Tally.of(VESSELS, image, sample.labels, sample.pixel_mm))
        rows += [
            Row(PROTOCOL, name, "made_up_empty", float(total(of_case).hallucinations()[reached[0]]), case, seed)
            for case, of_case in seen.items()
        ]
    return rows
