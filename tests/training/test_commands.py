"""What a run suggests to type: with the same data, method and experiment, quoted for the shell."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from ctsr.records.run import Run, read_run
from ctsr.training.commands import to_follow, to_resume
from tests.records.test_run import having


def run_of(stage: str, *typed: str) -> Run:
    return read_run(having(stage), typed)


def test_stage_sr_follows_with_what_was_typed_but_keys_of_stage_synth() -> None:
    kept = (
        "data=volumes",
        "data.list=a b/it's [x]=y.csv",
        "method=mine",
        "+trainer.profiler=simple",
        "networks.GS.blocks=2",
    )
    asked_anew = (
        "stage=synth",
        "experiment=paper",
        "resume=auto",
        "synth.epochs=3",
        "loss.lambda1=0.1",
        "networks.G1.filters=4",
    )
    run = run_of("synth", *asked_anew, *kept)
    command = to_follow(run, run.stages[0], "out puts/last.ckpt")
    assert shlex.split(command) == [
        *("python", "train.py", "stage=sr", "experiment=paper", *kept, "synth_ckpt=out puts/last.ckpt")
    ]


def test_infer_follows_stage_sr() -> None:
    run = run_of("sr", "stage=sr")
    command = to_follow(run, run.stages[0], "a b.ckpt")
    assert command == "python infer.py 'ckpt=a b.ckpt' input=<scan> output=<result>.nii.gz"


def test_a_stopped_run_goes_on_in_its_folder() -> None:
    run = run_of("synth", "stage=synth", "resume=x.ckpt", "data.micro.root=a b", "synth.epochs=3")
    assert shlex.split(to_resume(run, Path("runs/a=1"))) == [
        *("python", "train.py", "stage=synth", "data.micro.root=a b", "synth.epochs=3"),
        *("resume=auto", "hydra.run.dir=runs/a=1"),
    ]


@pytest.mark.parametrize("started", ["../code of mine/train.py", "train.py"])
def test_programs_are_where_this_one_was_started(started: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [started, "stage=sr"])
    run = run_of("sr", "stage=sr")
    assert shlex.split(to_resume(run, Path("runs")))[1] == started
    assert shlex.split(to_follow(run, run.stages[0], "a"))[1] == started.replace("train", "infer")
