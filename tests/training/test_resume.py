"""Which checkpoint a run goes back to after a collapse."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pytest

from ctsr.records.stages import SynthBest
from ctsr.training.resume import good_checkpoint

EPOCHS = ("best-swd=0.02-epoch=3.ckpt", "best-swd=0.01-epoch=7.ckpt", "best-swd=0.04-epoch=9.ckpt")


def made(folder: Path, *names: str) -> Path:
    """A run folder with these checkpoints, each newer than the one before."""
    (folder / "checkpoints").mkdir()
    for age, name in enumerate(names):
        path = folder / "checkpoints" / name
        path.touch()
        os.utime(path, (age, age))
    return folder


@pytest.mark.parametrize(
    ("mode", "names", "expected"),
    [
        ("min", (*EPOCHS, "last.ckpt"), "best-swd=0.01-epoch=7.ckpt"),
        ("max", (*EPOCHS, "last.ckpt"), "best-swd=0.04-epoch=9.ckpt"),
        ("max", (*reversed(EPOCHS), "last.ckpt"), "best-swd=0.04-epoch=9.ckpt"),
        ("min", ("best-swd=1e-05-epoch=2.ckpt", *EPOCHS), "best-swd=1e-05-epoch=2.ckpt"),
        ("min", ("best-greys=0.001-epoch=1.ckpt", *EPOCHS), "best-swd=0.01-epoch=7.ckpt"),
        ("min", ("last.ckpt", "best-greys=0.001-epoch=1.ckpt", "best-other.ckpt"), "last.ckpt"),
        ("min", ("last.ckpt",), "last.ckpt"),
    ],
)
def test_a_run_goes_back_to_its_best_epoch_not_its_newest(
    mode: Literal["min", "max"], names: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    best = SynthBest(monitor="val/swd", mode=mode, best=3)
    assert good_checkpoint(made(tmp_path, *names), best) == tmp_path / "checkpoints" / expected


def test_without_a_metric_or_a_checkpoint(tmp_path: Path) -> None:
    none = SynthBest(monitor=None, mode="min", best=1)
    assert good_checkpoint(tmp_path, none) is None
    assert good_checkpoint(made(tmp_path, "last.ckpt", *EPOCHS), none) == tmp_path / "checkpoints/last.ckpt"
