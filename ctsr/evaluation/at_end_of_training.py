"""Measures a network at the end of its training, on cases that no stage was trained on."""

from __future__ import annotations

from pathlib import Path

from ctsr.evaluation.questions.competitors import Interpolation, TrainedNetwork
from ctsr.evaluation.questions.protocols import questions_on
from ctsr.evaluation.questions.test_set import TestSet
from ctsr.evaluation.questions.tile_room import with_tiles
from ctsr.evaluation.questions.tiles import Cut
from ctsr.evaluation.reporting.figures import paired_figure
from ctsr.evaluation.scoring.compare import compare
from ctsr.evaluation.scoring.real_scans import scan_scores
from ctsr.records.row import Row, write_csv

ASKED = ("paired", "synthetic")
AS_THEY_ARE = ("clinical",)  # of the protocols of real scans


def measure(network: TrainedNetwork, test: TestSet, folder: Path, cut: Cut) -> list[Row]:
    """Scores by each protocol that there are cases for; writes `evaluation.csv` and, with pairs, `paired.png`.

    Args:
        network: The network.
        test: Held-out cases.
        folder: Where the files go.
        cut: Tiles and slices.

    Returns:
        One row for each case, protocol, method and metric; none where nothing was held out, or has a tile.
    """
    test = with_tiles(test, cut)
    rows: list[Row] = []
    for question in questions_on(test, [network], cut, Interpolation(few=True)):
        if question.name in ASKED:
            rows += compare(question, network.window, full=False).rows
    if test.clinical:
        rows += scan_scores(test.clinical, [network], Interpolation(few=True), protocols=AS_THEY_ARE).rows
    if rows:
        write_csv(rows, folder / "evaluation.csv")
    if test.pairs:
        paired_figure([network], test.pairs, folder / "paired.png")
    return rows
