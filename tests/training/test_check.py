"""What a run is made of is not what it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctsr.errors import CollectedError
from ctsr.records.run import read_run
from ctsr.sweeps.callback import plain
from ctsr.training.check import check_folder
from tests.test_conf import composed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that has begun."""
    (tmp_path / "RUN" / "checkpoints").mkdir(parents=True)
    (tmp_path / "RUN" / "checkpoints" / "last.ckpt").write_bytes(b"")
    (tmp_path / "RUN" / "split.csv").write_text("domain,path\n")
    (tmp_path / "way").symlink_to(tmp_path / "RUN")
    (tmp_path / "g1.ckpt").symlink_to(tmp_path / "RUN" / "checkpoints" / "last.ckpt")
    (tmp_path / "mine.csv").symlink_to(tmp_path / "RUN" / "split.csv")
    return tmp_path / "RUN"


def told(folder: Path, stage: str = "sr", **given: object) -> list[str]:
    typed = [f"{key}={value}" for key, value in given.items()]
    run = read_run(plain(composed(f"stage={stage}", "data=volumes", *typed)))
    try:
        check_folder(run, folder)
    except CollectedError as error:
        return error.problems
    return []


@pytest.mark.parametrize(
    "spelled", ["RUN/checkpoints/last.ckpt", "way/checkpoints/../checkpoints/last.ckpt", "g1.ckpt"]
)
def test_a_g1_that_the_run_would_replace(folder: Path, spelled: str) -> None:
    g1 = {"synth_ckpt": str(folder.parent / spelled), "sr.inputs": "G1"}
    what = f"synth_ckpt={folder.parent / spelled} lies in the folder of this run, whose checkpoints replace it"
    for place in (folder, folder.parent / "way"):
        assert told(place, **g1) == [f"{what}: give another hydra.run.dir="]
    assert told(folder.parent / "other", **g1) == []
    assert told(folder.parent, **g1) == [], "stage synth in a folder of its own"


def test_going_on_is_right(folder: Path) -> None:
    last = str(folder / "checkpoints" / "last.ckpt")
    for resume in ("auto", last):
        assert told(folder, "synth", resume=resume) == []
        assert told(folder, "synth", **{"data.list": str(folder / "split.csv"), "resume": resume}) == []


@pytest.mark.parametrize("kind", ["clinical", "micro", "paired"])
def test_scans_in_the_folder_of_the_run(folder: Path, kind: str) -> None:
    key = f"data.{kind}.root"
    for spelled in (folder, folder.parent / "way"):
        said = f"{key}={spelled} is the folder of this run: give another hydra.run.dir="
        assert told(folder, "synth", **{key: str(spelled)}) == [said]
    assert told(folder / "new", "synth", **{key: str(folder)}) == []
    assert told(folder, "synth", **{key: str(folder / "scans")}) == []


@pytest.mark.parametrize("spelled", ["RUN/split.csv", "way/split.csv", "mine.csv"])
def test_a_list_where_the_run_writes_its_own(folder: Path, spelled: str) -> None:
    listed = {"data.list": str(folder.parent / spelled)}
    said = f"data.list={folder.parent / spelled} is where this run writes its own split: give another hydra.run.dir="
    assert told(folder, "synth", **listed) == [said]
    assert told(folder.parent / "other", "synth", **listed) == []
    (folder / "checkpoints" / "last.ckpt").unlink()
    assert told(folder, "synth", **listed, resume="auto") == [said], "there is nothing to go on with yet"
