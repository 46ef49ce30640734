"""What the study's networks make of lungs that both scanners have seen: the numbers of docs/results/study.md.

Run it as `python docs/study_scores.py OUT DATA KIND CKPT ...` with the networks of `make study`. KIND is a kind of
acquisition by the second scanner, or `paired`, the first one, whose scans are taken as they are. It writes OUT/KIND.csv
and does not ask again whom that holds, so that a long study goes on where it stopped. `task=evaluate` would ask all
at once, and measure more. The first checkpoint gives its kernel, to which sharper scans are softened for all, its
window and its grey map. `NAME=CKPT` calls a network by another name than its method's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from ctsr.checkpoint import read_checkpoint
from ctsr.data.pairs import LABELS, MICRO, find_projections
from ctsr.evaluation.questions.competitors import Competitor, Filtered, Interpolation, TrainedNetwork
from ctsr.evaluation.questions.protocols import Question, questions_on
from ctsr.evaluation.questions.test_set import TestSet, check_held_out, load_test_set
from ctsr.evaluation.questions.tiles import Cut
from ctsr.evaluation.scoring.compare import compare
from ctsr.records.card import ModelCard
from ctsr.records.row import Row, read_csv, write_csv

PAIRED = "paired"
KEPT = ("ssim", "ssim_312um", "grad_corr", "dice", "grid_peak")


def load_lungs(data: Path, kind: str, card: ModelCard) -> TestSet:
    """All lungs of one kind; by the second scanner as they are and after the filter to a training's kernel."""
    with TemporaryDirectory() as kept:
        root = Path(kept)
        if kind == PAIRED:
            os.symlink((data / PAIRED).resolve(), root / PAIRED)
            return load_test_set(root, None, card, root / "cache", "off")
        for lung in find_projections(data / "projections"):
            (folder := root / "projections" / lung.name).mkdir(parents=True)
            for name in (MICRO, LABELS, f"{kind}.nii.gz"):
                if (lung / name).exists():
                    os.symlink((lung / name).resolve(), folder / name)
        return load_test_set(root, None, card, root / "cache", "estimate")


def asked(question: Question, done: Sequence[Row]) -> Question:
    """The question to those who have no rows yet."""
    known = {(row.method, row.seed) for row in done}

    def is_new(competitor: Competitor) -> bool:
        one = competitor.of if isinstance(competitor, Filtered) else competitor
        return (("bicubic", None) if isinstance(one, Interpolation) else (one.name, one.seed)) not in known

    return replace(question, inputs_for={one: of for one, of in question.inputs_for.items() if is_new(one)})


def main(out: Path, data: Path, kind: str, checkpoints: Sequence[str]) -> None:
    """Ask those who are new, and write what all have."""
    torch.set_num_threads(1)
    networks = []
    for given in checkpoints:
        name, _, path = given.rpartition("=")
        network = TrainedNetwork.of_checkpoint(read_checkpoint(Path(path)))
        networks.append(replace(network, name=name or network.name))
    file = out / f"{kind}.csv"
    rows = read_csv(file) if file.exists() else []
    if {(one.name, one.seed) for one in networks} <= {(row.method, row.seed) for row in rows}:
        return
    first = checkpoints[0].rpartition("=")[2]
    test = load_lungs(data, kind, read_checkpoint(Path(first)).card)
    check_held_out(networks, test)
    question = questions_on(test, networks, Cut(slices=1), Interpolation(few=True))[
        0
    ]  # after it may come the mean of a slab
    found = compare(asked(question, rows), networks[0].window, full=False).rows
    out.mkdir(parents=True, exist_ok=True)
    write_csv([*rows, *(replace(row, value=round(row.value, 5)) for row in found if row.metric in KEPT)], file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
