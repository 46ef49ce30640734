"""A training that is interrupted, however often and wherever, ends as if it had not been."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir

import train
from ctsr.data.plan import Plan
from lightning_modules.gan import DECAYS, GAN
from tests.conftest import REPOSITORY

BATCHES = 18  # three epochs of six


def probe(workplace: Path, folder: str, stage: str, *batches: int) -> Path:
    command = [sys.executable, str(REPOSITORY / "tests/resume_probe.py"), folder, stage, *map(str, batches)]
    done = subprocess.run(command, cwd=workplace, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return workplace / folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as stream:
        return [{name: row[name] for name in row if name != "patches_per_s"} for row in csv.DictReader(stream)]


def leaves(state: Any, path: str = "") -> dict[str, Any]:
    if isinstance(state, dict):
        return {k: v for key, value in state.items() for k, v in leaves(value, f"{path}/{key}").items()}
    if isinstance(state, list | tuple):
        return {k: v for key, value in enumerate(state) for k, v in leaves(value, f"{path}/{key}").items()}
    return {path: state}


def assert_same_end(whole: Path, killed: Path) -> None:
    first, second = (
        leaves(torch.load(folder / "checkpoints/last.ckpt", weights_only=True)) for folder in (whole, killed)
    )
    assert first.keys() == second.keys()
    compared = 0
    for name, value in first.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second[name]), name
            compared += 1
        elif name.startswith(("/lr_schedulers", "/loops", "/epoch", "/global_step")):
            assert value == second[name], name
    assert compared > 50
    assert rows(whole) == rows(killed)
    steps = [int(row["step"]) for row in rows(killed) if row["lr_G"]]
    assert steps == list(range(BATCHES)), "no step twice, none missing"
    assert sorted(path.name for path in (whole / "checkpoints").iterdir()) == sorted(
        path.name for path in (killed / "checkpoints").iterdir() if path.name != ".last.partial"
    )


@pytest.fixture(scope="module")
def uninterrupted(smoke_run: Path, workplace: Path) -> dict[str, Path]:
    return {stage: probe(workplace, f"outputs/whole/{stage}", stage) for stage in ("synth", "sr")}


def killed_like(workplace: Path, whole: dict[str, Path], stage: str, batches: list[int], name: str) -> Path:
    folder = workplace / f"outputs/{name}/{stage}"
    if stage == "sr":
        link = folder.parent / "synth"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(whole["synth"])
    return probe(workplace, f"outputs/{name}/{stage}", stage, *batches)


@pytest.mark.parametrize("stage", ["synth", "sr"])
def test_killed_within_epochs_and_at_their_ends(stage: str, uninterrupted: dict[str, Path], workplace: Path) -> None:
    """Before the first checkpoint, in the middle of an epoch, in an epoch's first and last batch."""
    killed = killed_like(workplace, uninterrupted, stage, [1, 4, 6, 7, 11], f"killed_{stage}")
    assert_same_end(uninterrupted[stage], killed)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["synth", "sr"])
def test_killed_at_ten_random_batches(stage: str, uninterrupted: dict[str, Path], workplace: Path) -> None:
    batches = sorted(random.Random(stage).sample(range(1, BATCHES + 1), 10))
    killed = killed_like(workplace, uninterrupted, stage, batches, f"killed_often_{stage}")
    assert_same_end(uninterrupted[stage], killed)


def start(workplace: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        str(REPOSITORY / "train.py"),
        "experiment=smoke",
        "method=scanner",
        "evaluate=false",
        *arguments,
    ]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=workplace, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("devices", [1, 2])
def test_a_signal_saves_and_ends_with_its_own_code(
    number: signal.Signals, devices: int, smoke_run: Path, workplace: Path
) -> None:
    folder = workplace / f"outputs/{number.name}{devices}"
    arguments = (
        *("stage=synth", f"hydra.run.dir={folder}", "resume=auto", "trainer.max_epochs=1", "panels.every=100"),
        *("data.patches_per_case=4000", f"trainer.devices={devices}", "trainer.accelerator=cpu"),
    )
    running = start(workplace, *arguments)
    metrics, deadline = folder / "metrics.csv", time.monotonic() + 120
    while not metrics.is_file() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    running.send_signal(number)
    _, error = running.communicate(timeout=60)
    assert running.returncode == 75, error
    assert f"stopped by {number.name} after batch" in error
    assert "resume=auto" in error
    assert "Traceback" not in error
    checkpoint = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    done = checkpoint["ctsr"]["batches"]
    assert done == int(rows(folder)[-1]["step"]) + 1 > 0
    again = start(workplace, *arguments, f"trainer.limit_train_batches={done + 3}")
    _, error = again.communicate(timeout=200)
    assert again.returncode == 0, error
    assert [int(row["step"]) for row in rows(folder) if row["lr_G"]] == list(range(done + 3))


@pytest.mark.parametrize("keys", [("data.workers=2",), ("trainer.devices=2",)])
def test_a_terminals_ctrl_c_reaches_every_process_and_is_answered_once(
    keys: tuple[str, ...], smoke_run: Path, workplace: Path
) -> None:
    folder = workplace / f"outputs/ctrl_c {keys[0]}"
    arguments = ("stage=synth", f"hydra.run.dir='{folder}'", "trainer.max_epochs=1", "panels.every=100")
    running = start(workplace, *arguments, "data.patches_per_case=4000", "trainer.accelerator=cpu", *keys)
    metrics, deadline = folder / "metrics.csv", time.monotonic() + 120
    while not metrics.is_file() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(running.pid, signal.SIGINT)
    _, error = running.communicate(timeout=60)
    assert running.returncode == 130, error
    assert "Traceback" not in error
    assert error.count("press Ctrl-C again to end at once") == error.count("stopped by SIGINT after batch") == 1
    assert error.count("resume=auto") == 1
    done = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["ctsr"]["batches"]
    assert done == int(rows(folder)[-1]["step"]) + 1 > 0


def test_auto_goes_on_with_the_stage_that_is_not_done(smoke_run: Path, workplace: Path) -> None:
    arguments = ("stage=all", "hydra.run.dir=outputs/both", "resume=auto")
    assert start(workplace, *arguments).wait(timeout=200) == 0
    folder = workplace / "outputs/both"
    kept = (folder / "synth/checkpoints/last.ckpt").stat().st_mtime_ns
    seconds = json.loads((folder / "synth/summary.json").read_text())["seconds"]
    assert start(workplace, *arguments, "sr.epochs=3").wait(timeout=200) == 0
    assert (folder / "synth/checkpoints/last.ckpt").stat().st_mtime_ns == kept
    assert json.loads((folder / "synth/summary.json").read_text())["seconds"] == seconds
    assert {row["epoch"] for row in rows(folder)} == {"1", "2", "3"}


def test_a_collapse_goes_back_with_half_the_learning_rate_also_when_resumed(
    smoke_run: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    report = GAN.report

    def collapsing(module: GAN, losses: dict[str, torch.Tensor]) -> None:
        if module.trainer.fit_loop.epoch_loop.total_batch_idx == 3 and module.lr_factor == 1.0:
            losses = losses | {"D1": losses["D1"] * float("nan")}
        report(module, losses)

    monkeypatch.setattr(GAN, "report", collapsing)
    monkeypatch.setitem(DECAYS, "step", lambda step, total, start: 1.0)  # so that rates tell of collapses alone
    overrides = [
        *(
            "stage=synth",
            "experiment=smoke",
            "method=scanner",
            "resume=auto",
            "guard.action=rewind",
            "trainer.enable_progress_bar=false",
        ),
        *("synth.optimizer.decay=step", "synth.optimizer.lr=0.001"),
    ]
    folder = workplace / "outputs/rewound"
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        for epochs in (3, 4):
            run = train.typed(compose("train", [*overrides, f"trainer.max_epochs={epochs}"]))
            train.fit(run, Plan.of(run), run.stages[0], folder)
    assert "batch 4: the loss D1 is nan: goes on from" in capsys.readouterr().err
    steps = {int(row["step"]): float(row["lr_G"]) for row in rows(folder) if row["lr_G"]}
    assert steps == pytest.approx({step: 0.001 if step < 2 else 0.0005 for step in range(8)})


def test_stage_all_does_not_go_on_with_another_methods_g1(
    smoke_run: Path, workplace: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    begun = workplace / "outputs/begun"
    shutil.copytree(smoke_run / "synth", begun / "synth")
    summary = json.loads((begun / "synth/summary.json").read_text())
    checkpoint = begun / "synth/checkpoints/last.ckpt"
    (begun / "synth/summary.json").write_text(json.dumps(summary | {"checkpoint": str(checkpoint)}))
    done = command("train.py", "stage=all", "experiment=smoke", f"hydra.run.dir={begun}", "resume=auto", cwd=workplace)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "was trained with method=scanner, this run is method=paper" in done.stderr


@pytest.mark.parametrize(
    ("stage", "arguments", "words"),
    [
        ("synth", ("stage=synth",), ("method=scanner, this run is method=paper", "give method=scanner")),
        ("synth", ("stage=synth", "method=scanner", "networks.D2.filters=8"), ("networks.D2.filters=8", "has 4")),
        ("synth", ("stage=sr", "method=fx"), ("is of stage=synth, this is stage=sr",)),
        ("sr", ("stage=sr", "method=fx"), ("method=scanner, this run is method=fx",)),
        (
            "phantom",
            ("stage=sr", "method=scanner", "synth_ckpt=outputs/smoke/synth/checkpoints/last.ckpt"),
            ("to use",),
        ),
    ],
)
def test_a_run_goes_on_as_what_it_began_as(
    stage: str, arguments: tuple[str, ...], words: tuple[str, ...], smoke_run: Path, workplace: Path, command: Any
) -> None:
    begun = {"synth": smoke_run / "synth/checkpoints/last.ckpt", "sr": smoke_run / "checkpoints/last.ckpt"}
    last = begun.get(stage, REPOSITORY / "docs/results/phantom.ckpt")
    done = command("train.py", "experiment=smoke", *arguments, f"resume={last}", cwd=workplace)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr
