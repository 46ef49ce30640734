"""The comparison of two trees sees what differs, however little."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from tests.conftest import REPOSITORY
from tests.golden import Failed, Step, Tree, compare, run_steps


@pytest.fixture(scope="module")
def left(smoke_run: Path, workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run left: checkpoints, tables, summaries, prepared cases; and volumes."""
    folder = tmp_path_factory.mktemp("left") / "old"
    shutil.copytree(smoke_run, folder / "runs/smoke")
    shutil.copytree(workplace / "cache", folder / "cache", ignore=shutil.ignore_patterns(".*"))
    shutil.copytree(workplace / "phantom-data/tiny", folder / "phantom-data/tiny")
    return folder


def change_weight(folder: Path) -> None:
    path = folder / "runs/smoke/checkpoints/last.ckpt"
    content = torch.load(path, weights_only=True)
    weight = content["state_dict"]["GS.last.weight"]
    weight[0, 0, 0, 0] = torch.nextafter(weight[0, 0, 0, 0], torch.tensor(9.0))  # by the last bit
    torch.save(content, path)


def change_voxel(folder: Path) -> None:
    path = folder / "phantom-data/tiny/clinical/lung_000.nii.gz"
    image = nibabel.load(path)
    voxels = np.asarray(image.dataobj).copy()
    voxels[3, 4, 2] += 1
    nibabel.save(nibabel.Nifti1Image(voxels, image.affine, image.header), path)


def move_volume(folder: Path) -> None:
    path = folder / "phantom-data/tiny/clinical/lung_000.nii.gz"
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj).copy(), image.affine + np.eye(4)[::-1] * 1e-3), path)


def change_row(folder: Path) -> None:
    path = folder / "runs/smoke/metrics.csv"
    with path.open() as file:
        rows = list(csv.DictReader(file))
    row = next(row for row in rows if row["train/L2"])
    row["train/L2"] = str(float(row["train/L2"]) * (1 + 1e-9))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def change_prepared_case(folder: Path) -> None:
    path = sorted(folder.glob("cache/*/image.npy"))[0]
    array = np.load(path)
    array[0, 0, 0] += np.float16(0.01)
    np.save(path, array)


def change_summary(folder: Path) -> None:
    path = folder / "runs/smoke/summary.json"
    summary = json.loads(path.read_text())
    summary["rows"][0]["value"] += 1e-12
    path.write_text(json.dumps(summary))


def drop_file(folder: Path) -> None:
    (folder / "runs/smoke/split.csv").unlink()


def test_the_same_is_equal(left: Path, tmp_path: Path) -> None:
    again = shutil.copytree(left, tmp_path / "new")
    summary = json.loads((again / "runs/smoke/summary.json").read_text())
    elsewhere = {"seconds": 1e6, "network_seconds": 1e6, "versions": {"commit": "x"}}
    (again / "runs/smoke/summary.json").write_text(json.dumps(summary | elsewhere))
    equal, different = compare(left, again)
    assert different == []
    assert equal["tensors"] > 100
    assert equal["voxels"] > 100_000
    assert equal["rows"] > 10
    assert equal["values"] > 100


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (change_weight, ("last.ckpt", "state_dict.GS.last.weight")),
        (change_voxel, ("lung_000.nii.gz", "voxels")),
        (move_volume, ("lung_000.nii.gz", "affine")),
        (change_row, ("metrics.csv", "row 1", "train/L2")),
        (change_prepared_case, ("image.npy", "array")),
        (change_summary, ("summary.json", "rows.0.value")),
        (drop_file, ("split.csv", "only in OLD")),
    ],
)
def test_one_change_is_seen(plant: Callable[[Path], None], words: tuple[str, ...], left: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(left, tmp_path / "new")
    plant(changed)
    _, different = compare(left, changed)
    assert len(different) == 1
    assert all(word in different[0] for word in words), different


def test_a_run_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"misspelled of .* ended with 2, see .*misspelled\.txt"):
        run_steps(REPOSITORY, tmp_path / "work", [Step("misspelled", ("{tree}/train.py",), ("stage=synth", "sed=1"))])
    with pytest.raises(Failed, match="neither a folder nor a commit"):
        Tree.of("no-such-commit")


def test_programs_of_another_tree_are_not_taken_for_this_one(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    with pytest.raises(Failed, match="comes from"):
        run_steps(tmp_path / "tree", tmp_path / "work", [])


def test_only_an_unchanged_checkout_stands_for_its_commit(tmp_path: Path) -> None:
    """Else results kept for one folder would be taken for another's."""
    assert Tree.of(str(tmp_path)).commit is None, "no checkout"
    assert Tree.of(str(REPOSITORY / "tests")).commit is None, "a part of one"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("one")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert Tree.of(str(tmp_path)).commit == head
    (tmp_path / "file").write_text("two")
    assert Tree.of(str(tmp_path)).commit is None, "changed"
