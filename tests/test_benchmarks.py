"""The benchmarks run and compare what they say; how fast anything is, is not tested."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel
import numpy as np
import pytest

from benchmarks import data, inference, start, train_step
from benchmarks.inference_peers import OURS, PEERS
from benchmarks.rounds import rates


def rows(text: str) -> dict[str, list[str]]:
    lines = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {line[0]: line[1:] for line in lines[2:]}


def test_all_take_turns() -> None:
    order: list[str] = []

    def work(name: str, items: int) -> int:
        order.append(name)
        return items

    found = rates({"a": lambda: work("a", 10), "b": lambda: work("b", 20)}, rounds=3, seconds=0.0)
    assert order == ["a", "b"] * 4, "one call to warm up, then turn by turn"
    assert found["a"] > 0
    assert found["b"] > 0


def test_data_path_beside_its_peers(capsys: pytest.CaptureFixture[str]) -> None:
    data.main(["--shape", "4", "300", "300", "--rounds", "1", "--seconds", "0.05"])
    found = rows(capsys.readouterr().out)
    assert [name.split(",")[0] for name in found] == ["ours"] * 3 + ["MONAI"] * 2 + ["TorchIO"] * 2
    assert float(found["ours"][1]) == 1.0
    for name in ("MONAI, as in its tutorials", "MONAI, at its best"):
        assert float(found[name][0].replace(",", "")) > 0


def test_memory_of_workers(capsys: pytest.CaptureFixture[str]) -> None:
    data.main(["--memory", "0.01", "--workers", "2", "--batches", "4"])
    found = rows(capsys.readouterr().out)
    assert list(found) == ["1 of 2", "2 of 2"]
    assert all(float(resident) > float(own) >= 0 for resident, own in found.values())


TINY = {
    "sr": ["GS.channels=4", "GS.blocks=1", "DS.filters=2", "DS.features=4"],
    "synth": ["G1.filters=2", "G1.blocks=1", "G2.filters=2", "G2.blocks=1", "D1.filters=2", "D2.filters=2"],
}


def steps(stage: str, *options: str) -> None:
    train_step.main(["--stage", stage, "--batch", "2", *options, *(f"networks.{key}" for key in TINY[stage])])


@pytest.mark.parametrize("stage", TINY)
def test_steps_take_turns(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    steps(stage, "--steps", "1")
    text = capsys.readouterr().out
    found = rows(text)
    assert list(found) == ["ours", "plain"]
    assert float(found["plain"][3]) == 1.0
    assert re.search(r"of the peak of \d", text)


@pytest.mark.parametrize("stage", TINY)
def test_where_the_time_goes(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    steps(stage, "--profile")
    found = rows(capsys.readouterr().out)
    assert len(found) == 10
    assert any("conv" in name for name in found)
    assert sum(int(share.rstrip("%")) for (share,) in found.values()) <= 105  # each is rounded


def test_start_beside_hydra(capsys: pytest.CaptureFixture[str]) -> None:
    start.main(["--rounds", "1"])
    found = rows(capsys.readouterr().out)
    assert list(found) == list(start.COMMANDS)
    assert float(found[start.PEER][1]) == 1.0
    assert all(float(seconds) > 0 for seconds, _ in found.values())


def test_a_scan_is_enlarged_alike_by_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ("--channels", "4", "--blocks", "1", "--crop", "48", "--slices", "2", "--rounds", "1")
    inference.main([*tiny, "--roi", "48", "--keep", str(tmp_path)])  # one window: it equals the whole
    text = capsys.readouterr().out
    found, ratios = (rows(f"|{part}") for part in text.split("\n\n|")[1:])
    assert list(found) == list(PEERS.values())
    assert all(float(row[5]) < 1e-4 for row in found.values()), "most apart from the whole"
    assert "tiles with a halo: 32 pixels" in text
    assert list(ratios) == [peer for peer in PEERS.values() if peer != OURS]
    ours = nibabel.load(tmp_path / "ours.nii")
    greys = np.asarray(ours.dataobj).astype(int)
    assert greys.shape == (384, 384, 2)
    assert greys.std() > 1, "more than one grey"
    for name in PEERS:
        theirs = nibabel.load(tmp_path / f"{name}.nii")
        assert np.allclose(theirs.affine, ours.affine, atol=1e-4)
        assert np.abs(np.asarray(theirs.dataobj).astype(int) - greys).max() <= 1, name


def test_memory_of_inference(capsys: pytest.CaptureFixture[str]) -> None:
    inference.main(["--memory", "--channels", "4", "--blocks", "1", "--crop", "32", "--long", "4", "8"])
    found = rows(capsys.readouterr().out)
    assert [(name, row[0]) for name, row in found.items()] == [("narrow", "all"), ("full", "4")]
    assert all(float(megabytes) > 0 for row in found.values() for megabytes in row[1:])
