"""Where a program writes is looked at first: one line, and nothing is left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ctsr.errors import UserError
from ctsr.files import replacing
from ctsr.writable import check_writable, why_not_writable
from tests.read_only import read_only

Command = Callable[..., "subprocess.CompletedProcess[str]"]
TRAIN = ("stage=synth", "experiment=smoke", "method=scanner", "hardware=cpu")


def test_places_that_can_be_written_stay_as_they_are(tmp_path: Path) -> None:
    before = tmp_path.stat().st_mtime_ns
    for folder in (tmp_path, tmp_path / "a", tmp_path / "a" / "b" / "c", tmp_path / ("ä" * 127)):
        assert why_not_writable(folder) is None
    assert (list(tmp_path.iterdir()), tmp_path.stat().st_mtime_ns) == ([], before)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("file/cache", "{tmp}/file is a file"),
        ("file", "{tmp}/file is a file"),
        ("link", "{tmp}/link is a link to nothing"),
        ("link/cache", "{tmp}/link is a link to nothing"),
        ("new/" + 256 * "n", "nnnnnnnnnnnnnnnnnnnn... is a name of more than 255 bytes"),
        (128 * "ä" + "/cache", "ääääääääääääääääääää... is a name of more than 255 bytes"),
        ("shared/cache", "{tmp}/shared is read-only"),
    ],
)
def test_why_a_place_cannot_be_written(place: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("gone")
    (tmp_path / "shared").mkdir()
    read_only(tmp_path / "shared", monkeypatch)
    with pytest.raises(UserError) as told:
        check_writable("data.cache", tmp_path / place)
    assert str(told.value).startswith("data.cache=")
    assert f" cannot be written: {why.format(tmp=tmp_path)}; give another data.cache=" in str(told.value)
    assert len(str(told.value)) < 600


def test_a_file_leaves_room_for_its_hidden_name(tmp_path: Path) -> None:
    for count, is_told in ((212, False), (214, True), (300, True)):
        output = tmp_path / ("x" * count + ".nii.gz")
        try:
            check_writable("output", tmp_path, named=output)
        except UserError as error:
            told = str(error)
            assert "is a name of more than 220 bytes; give another output=" in told
        else:
            told = ""
        assert bool(told) == is_told
    with replacing(tmp_path / ("x" * 220)) as partial:
        partial.touch()


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert why_not_writable(tmp_path / "cache") == f"{tmp_path} is on a disk that is full"


def test_a_place_that_is_no_disk() -> None:
    assert why_not_writable(Path("/proc/cache")) is not None
    assert why_not_writable(Path("/sys/kernel")) is not None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    for mode in (0o500, 0o000):
        tmp_path.chmod(mode)
        why = why_not_writable(tmp_path / "cache")
        tmp_path.chmod(0o700)
        assert why == f"{tmp_path} may not be written to"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["hydra.run.dir=file/run"], "hydra.run.dir=file/run cannot be written: {tmp}/file is a file"),
        (["hydra.run.dir=link"], "hydra.run.dir=link cannot be written: {tmp}/link is a link to nothing"),
        (["data.cache=/proc/cache"], "data.cache=/proc/cache cannot be written: /proc takes no files"),
        (["data.cache=file"], "data.cache=file cannot be written: {tmp}/file is a file"),
        (["data.phantom.root=file/p"], "data.phantom.root=file/p cannot be written: {tmp}/file is"),
        (
            ["-m", "seed=0,1", "hydra.sweep.dir=file/s"],
            "hydra.sweep.dir=file/s cannot be written: {tmp}/file is a file",
        ),
    ],
)
def test_a_training_that_cannot_write_is_refused_before_anything_is_made(
    arguments: list[str], line: str, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("gone")
    done = command("train.py", *arguments, *TRAIN, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith(f"error: {line.format(tmp=tmp_path)}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["output=file/x.nii.gz", "input=scan"], "output=file/x.nii.gz cannot be written: {tmp}/file is a file"),
        (["output=link/x.nii.gz", "input=scan"], "output=link/x.nii.gz cannot be written: {tmp}/link is a link"),
        (["task=evaluate", "data=.", "output=file/r"], "output=file/r cannot be written: {tmp}/file is a file"),
        (["task=evaluate", "data=.", "output=r", "cache=file"], "cache=file cannot be written: {tmp}/file is a file"),
    ],
)
def test_infer_that_cannot_write_is_refused_before_anything_is_made(
    arguments: list[str], line: str, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("gone")
    ckpt = Path(__file__).parents[1] / "docs/results/phantom.ckpt"
    done = command("infer.py", f"ckpt={ckpt}", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith(f"error: {line.format(tmp=tmp_path)}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]
