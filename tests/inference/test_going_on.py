"""A run that was stopped or killed, and the same command again: nothing is computed twice, and no voxel tells."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from ctsr.checkpoint import load_sr
from ctsr.errors import Interrupted, Stopped, UserError
from ctsr.inference import scan
from ctsr.inference.engine import Engine
from ctsr.inference.scan import super_resolve_scan
from ctsr.inference.slice_work import SliceWork
from ctsr.records.scan_settings import ScanSettings
from tests.checkpoints import sr_checkpoint
from tests.inference.test_infer import PROGRAM, infer
from tests.inference.test_scan import chest

SLICES = 8


class Enlarging:
    """Counts what the network is given, and stops it.

    Attributes:
        calls: So far.
        stop_at: The call that a signal comes in; None: none.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.stop_at: int | None = None


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes longer than the rest."""
    monkeypatch.setattr(scan, "write_picture", lambda views, reformats, path, title, softening: path.touch())


@pytest.fixture
def enlarging(monkeypatch: pytest.MonkeyPatch) -> Enlarging:
    """The network of this process."""
    state, enlarge = Enlarging(), Engine.enlarge

    def counted(engine: Engine, *arguments: Any) -> Tensor:
        state.calls += 1
        if state.calls == state.stop_at:
            raise Interrupted(signal.SIGTERM)
        return enlarge(engine, *arguments)

    monkeypatch.setattr(Engine, "enlarge", counted)
    return state


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chest(tmp_path_factory.mktemp("scan") / "scan.nii", SLICES)[0]


def partial_of(output: Path) -> Path:
    return output.with_name(f".{output.name}.partial")


def lines(output: Path) -> int:
    """Slices that are done, as the journal has them."""
    journal = partial_of(output) / "slices.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def run(checkpoint: Path, source: Path, output: Path, **settings: Any) -> str:
    """What it tells."""
    text = io.StringIO()
    super_resolve_scan(load_sr(checkpoint), source, output, ScanSettings(**settings), Console(file=text, width=200))
    return text.getvalue()


def stopped(enlarging: Enlarging, at: int, checkpoint: Path, source: Path, output: Path, **settings: Any) -> None:
    """A run that a signal stops in a call of the network."""
    enlarging.calls, enlarging.stop_at = 0, at
    with pytest.raises(Stopped, match=r"slices are done, the same command goes on$"):
        run(checkpoint, source, output, **settings)
    enlarging.calls, enlarging.stop_at = 0, None


def check_same(one: Path, other: Path) -> None:
    """Make sure that two results are one, to the last byte and figure, and that nothing lies beside them."""
    assert one.read_bytes() == other.read_bytes()
    records = [json.loads((path.parent / "sr.json").read_text()) for path in (one, other)]
    for key in ("consistency", "engine", "geometry"):
        assert records[0][key] == records[1][key]
    for path in (one, other):
        assert sorted(file.name for file in path.parent.iterdir()) == sorted(["sr.json", "sr.png", path.name])


@pytest.fixture
def outputs(tmp_path: Path) -> tuple[Path, Path]:
    """Of an uninterrupted run, and of another."""
    return tmp_path / "whole" / "sr.nii.gz", tmp_path / "parts" / "sr.nii.gz"


@pytest.mark.parametrize("region", ["all", "lung"])
@pytest.mark.parametrize("name", ["sr.nii", "sr.nii.gz"])
def test_no_slice_is_computed_twice_and_no_voxel_differs(
    name: str, region: str, tmp_path: Path, checkpoint: Path, source: Path, enlarging: Enlarging
) -> None:
    whole, output = tmp_path / "whole" / name, tmp_path / "parts" / name
    settings = {"region": region, "tile": 16}
    run(checkpoint, source, whole, **settings)
    assert enlarging.calls == SLICES
    done = 0
    for at in (4, 1, 3):  # also before the first slice of a run that goes on
        stopped(enlarging, at, checkpoint, source, output, **settings)
        done += at - 1
        assert lines(output) == done
        assert not output.exists()
    told = run(checkpoint, source, output, **settings)
    assert f"{done} of {SLICES} slices are there from an earlier run" in told
    assert enlarging.calls == SLICES - done
    check_same(whole, output)


def test_batches(outputs: tuple[Path, Path], checkpoint: Path, source: Path, enlarging: Enlarging) -> None:
    whole, output = outputs
    run(checkpoint, source, whole, batch=3)
    stopped(enlarging, 3, checkpoint, source, output, batch=3)
    assert lines(output) == 6
    run(checkpoint, source, output, batch=3)
    assert enlarging.calls == 1
    check_same(whole, output)


def test_a_slice_that_is_damaged_is_computed_again(
    outputs: tuple[Path, Path], checkpoint: Path, source: Path, enlarging: Enlarging
) -> None:
    whole, output = outputs
    run(checkpoint, source, whole)
    stopped(enlarging, 6, checkpoint, source, output)
    voxels = partial_of(output) / "voxels.nii"
    content = bytearray(voxels.read_bytes())
    content[352 + (len(content) - 352) * 2 // SLICES + 1000] ^= 1  # in slice 2
    voxels.write_bytes(content)
    with (partial_of(output) / "slices.jsonl").open("a") as journal:
        journal.write('[5, {"crc32": 7, "difference_hu": {}')  # and a line that a kill cut off
    told = run(checkpoint, source, output)
    assert f"4 of {SLICES} slices are there" in told
    assert enlarging.calls == SLICES - 4
    check_same(whole, output)


def test_a_tile_that_memory_had_no_room_for_is_not_tried_again(
    outputs: tuple[Path, Path], checkpoint: Path, source: Path, enlarging: Enlarging
) -> None:
    """The choice that was made on the way is the one that goes on."""
    _, output = outputs
    stopped(enlarging, 4, checkpoint, source, output)
    state = partial_of(output) / "state.json"
    left = json.loads(state.read_text())
    left["fixed"]["tile"] = 24
    state.write_text(json.dumps(left))
    run(checkpoint, source, output)
    assert json.loads((output.parent / "sr.json").read_text())["engine"]["tile"] == 24


@pytest.mark.parametrize("step", ["difference", "keep"])
def test_a_signal_after_the_last_slice_or_before_the_next(
    step: str,
    outputs: tuple[Path, Path],
    checkpoint: Path,
    source: Path,
    enlarging: Enlarging,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, output = outputs
    run(checkpoint, source, whole)
    stopped(enlarging, 3, checkpoint, source, output)

    def interrupted(*_: object) -> None:
        raise Interrupted(signal.SIGTERM)

    done = SLICES if step == "difference" else 2
    with monkeypatch.context() as patch:
        patch.setattr(SliceWork, step, interrupted)
        with pytest.raises(Stopped, match=f": {done} slices are done"):
            run(checkpoint, source, output)
    enlarging.calls = 0
    run(checkpoint, source, output)
    assert enlarging.calls == SLICES - done
    check_same(whole, output)


def test_an_error_keeps_what_is_done(
    outputs: tuple[Path, Path], checkpoint: Path, source: Path, enlarging: Enlarging, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, output = outputs
    run(checkpoint, source, whole)
    enlarging.calls = 0
    enlarge = Engine.enlarge

    def no_room(engine: Engine, *arguments: Any) -> Tensor:
        if enlarging.calls == 5:
            raise UserError("does not fit into memory")
        return enlarge(engine, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "enlarge", no_room)
        with pytest.raises(UserError, match="does not fit"):
            run(checkpoint, source, output)
    assert lines(output) == 5
    run(checkpoint, source, output)
    assert enlarging.calls == SLICES
    check_same(whole, output)


OTHERS = {
    "tile": "tile=16",
    "batch": "batch=2",
    "precision": "precision=bf16",
    "region": "region=lung",
    "part": "slices=[0,4]",
    "checkpoint": "ckpt=other.ckpt",
    "scan": "input=other.nii",
}


def test_another_run_is_refused_unless_it_begins_anew(
    tmp_path: Path,
    checkpoint: Path,
    source: Path,
    enlarging: Enlarging,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = sr_checkpoint()
    other["state_dict"]["GS.last.bias"] += 0.1
    torch.save(other, tmp_path / "other.ckpt")
    image = nibabel.load(source)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj) + np.int16(1), image.affine), tmp_path / "other.nii")
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "out" / "sr.nii"
    same = (f"ckpt={checkpoint}", f"input={source}", f"output={output}")
    enlarging.stop_at = 4
    assert infer(monkeypatch, *same) == 128 + signal.SIGTERM
    assert capsys.readouterr().err.endswith("stopped by SIGTERM: 3 slices are done, the same command goes on\n")
    before = {path: path.read_bytes() for path in partial_of(output).iterdir()}
    enlarging.calls, enlarging.stop_at = 0, None
    for key, argument in OTHERS.items():
        typed = argument.partition("=")[0] + "="
        assert infer(monkeypatch, *(one for one in same if not one.startswith(typed)), argument) == 2
        (line,) = (line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: "))
        assert line.startswith(f"error: {partial_of(output)} holds 3 slices of a run with another {key} (")
        assert {path: path.read_bytes() for path in partial_of(output).iterdir()} == before
    assert not enlarging.calls
    assert infer(monkeypatch, *same, "overwrite=true") == 0
    assert enlarging.calls == SLICES
    assert sorted(path.name for path in output.parent.iterdir()) == ["sr.json", "sr.nii", "sr.png"]


def stop_after(slices: int, by: signal.Signals, arguments: Sequence[str], output: Path) -> tuple[int, str]:
    """A run that is stopped after some slices; its exit code, and the last line of what it tells of errors."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROGRAM), *arguments]
    running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    while lines(output) < slices and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    running.send_signal(by)
    _, error = running.communicate(timeout=60)
    return running.returncode, error.splitlines()[-1] if error else ""


def test_killed_then_terminated_then_finished(
    outputs: tuple[Path, Path],
    tmp_path: Path,
    checkpoint: Path,
    enlarging: Enlarging,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, _ = chest(tmp_path / "scan.nii", 24)
    whole, output = outputs
    run(checkpoint, source, whole)
    enlarging.calls = 0
    arguments = (f"ckpt={checkpoint}", f"input={source}", f"output={output}")

    assert stop_after(3, signal.SIGKILL, arguments, output)[0] == -signal.SIGKILL
    after_kill = lines(output)
    assert 3 <= after_kill < 24
    assert not output.exists()

    code, told = stop_after(after_kill + 3, signal.SIGTERM, arguments, output)
    assert code == 128 + signal.SIGTERM
    after_signal = lines(output)
    assert after_kill + 3 <= after_signal < 24
    assert told == f"stopped by SIGTERM: {after_signal} slices are done, the same command goes on"

    assert infer(monkeypatch, *arguments) == 0
    assert f"{after_signal} of 24 slices are there from an earlier run" in capsys.readouterr().out
    assert enlarging.calls == 24 - after_signal
    check_same(whole, output)
