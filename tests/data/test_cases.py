from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile

from ctsr.data.cases import SlabSplit, find_cases, shared_cases, split_cases
from ctsr.errors import UserError

NAMES = [f"lung_{index:02d}" for index in range(10)]


def nifti(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4)), path)
    return path


def dicom(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(3):
        (folder / f"I{index}").write_bytes(bytes(128) + b"DICM")  # no ending, as PACS exports have it
    return folder


def tiffs(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(3):
        tifffile.imwrite(folder / f"s{index}.tif", np.zeros((4, 5), np.uint8))
    return folder


def found(root: Path) -> dict[str, Path]:
    return {case.name: case.path for case in find_cases(root, "clinical")}


def test_a_root_may_be_one_scan(tmp_path) -> None:
    file = nifti(tmp_path / "a" / "lung.nii.gz")
    assert found(file) == {"lung": file}
    assert found(dicom(tmp_path / "b" / "scan")) == {"scan": tmp_path / "b" / "scan"}
    assert found(tiffs(tmp_path / "c" / "stack")) == {"stack": tmp_path / "c" / "stack"}


def test_a_folder_of_all_kinds(tmp_path) -> None:
    volume = tmp_path / "d.tif"
    tifffile.imwrite(volume, np.zeros((3, 4, 5), np.uint8), photometric="minisblack")
    expected = {
        "a": dicom(tmp_path / "a"),
        "b": tiffs(tmp_path / "b"),
        "c": nifti(tmp_path / "c.nii"),
        "d": volume,
        "patient": dicom(tmp_path / "patient" / "study" / "series"),  # one scan: the patient names it
        "twice-1": dicom(tmp_path / "twice" / "1"),
        "twice-2": dicom(tmp_path / "twice" / "2"),
        "sub-ct": nifti(tmp_path / "sub" / "ct.nii.gz"),
        "sub-more-ct": nifti(tmp_path / "sub" / "more" / "ct.nii.gz"),
    }
    for other in ("SOURCES.md", "notes.json", ".hidden.nii"):
        (tmp_path / other).write_text("no scan")
    dicom(tmp_path / ".trash")
    (tmp_path / "empty").mkdir()
    assert found(tmp_path) == expected
    assert list(found(tmp_path)) == sorted(expected)


def test_nothing_there_names_the_key(tmp_path) -> None:
    with pytest.raises(UserError, match=r"data\.micro\.root=.*nowhere does not exist"):
        find_cases(tmp_path / "nowhere", "micro")
    (tmp_path / "SOURCES.md").write_text("no scan")
    with pytest.raises(UserError, match=r"data\.micro\.root=.* holds no scan"):
        find_cases(tmp_path, "micro")


def test_names_are_unique(tmp_path) -> None:
    nifti(tmp_path / "a.nii")
    nifti(tmp_path / "a.nii.gz")
    with pytest.raises(UserError, match=r"a\.nii and a\.nii\.gz would both be case a"):
        find_cases(tmp_path, "clinical")


@pytest.mark.realdata
def test_real_folders(shared_data) -> None:
    assert list(found(shared_data / "clinical" / "rider-pilot-0117")) == ["rider-pilot-0117"]
    crops = ["aorta_ct_cropped_1p5mm", "pulmonary_ct_cropped_1p5mm"]
    assert list(found(shared_data / "clinical" / "totalsegmentator")) == crops
    assert list(found(shared_data / "micro" / "lhdl-3155-trabecular")) == ["lhdl-3155-trabecular"]
    assert list(found(shared_data / "micro" / "puma-fiberform")) == ["100_fiberform", "small_weave"]


@pytest.mark.parametrize("n", range(2, 11))
@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 0.9])
def test_every_case_is_in_one_part(n, share) -> None:
    split = split_cases(NAMES[:n], share, share, seed=1)
    assert sorted([*split["train"], *split["val"], *split["test"]]) == NAMES[:n]
    assert len(split["train"]) >= 1
    assert len(split["val"]) >= 1
    assert bool(split["test"]) == (n >= 3 and share > 0)
    assert not shared_cases(split)


def test_shares_are_kept() -> None:
    assert [len(part) for part in split_cases(NAMES[:3], 0.5, 0.2).values()] == [1, 1, 1]
    assert [len(part) for part in split_cases(NAMES, 0.2, 0.3).values()] == [5, 2, 3]


def test_depends_on_names_and_seed_only() -> None:
    split = split_cases(NAMES, seed=3)
    assert split_cases(NAMES[::-1], seed=3) == split
    assert any(split_cases(NAMES, seed=seed) != split for seed in range(3))


def test_one_case_serves_twice_and_is_told() -> None:
    split = split_cases(["only"])
    assert split == {"train": ["only"], "val": ["only"], "test": []}
    assert shared_cases(split) == ["only"]


def test_named_cases() -> None:
    split = split_cases(NAMES, val=["lung_03"], test=["lung_07", "lung_01"])
    assert (split["val"], split["test"]) == (["lung_03"], ["lung_01", "lung_07"])
    assert len(split["train"]) == 7
    mixed = split_cases(NAMES, val=0.2, test=["lung_07"])
    assert (len(mixed["val"]), mixed["test"]) == (2, ["lung_07"])
    assert "lung_07" not in mixed["train"] + mixed["val"]


@pytest.mark.parametrize(
    ("val", "test", "message"),
    [
        (["lung_99"], 0.2, r"data\.split\.val names lung_99"),
        (["lung_01"], ["lung_01"], "both val and test"),
        (NAMES[:5], NAMES[5:], "no case to train on"),
        (1.0, 0.2, r"data\.split\.val=1\.0 is no share"),
        (0.2, -0.1, r"data\.split\.test=-0\.1 is no share"),
    ],
)
def test_wrong_names(val, test, message) -> None:
    with pytest.raises(UserError, match=message):
        split_cases(NAMES, val, test)


def test_slabs_by_hand() -> None:
    assert SlabSplit(val=0.2, test=0.2, gap_mm=1.0).ranges(104, 0.5) == {
        "train": range(60),
        "val": range(62, 82),
        "test": range(84, 104),
    }


@pytest.mark.parametrize("slices", [5, 48, 200])
def test_slabs_share_nothing(slices) -> None:
    parts = SlabSplit(gap_mm=0.3).ranges(slices, 0.3)
    assert parts["val"].start - parts["train"].stop == parts["test"].start - parts["val"].stop == 1
    assert parts["test"].stop == slices


def test_slabs_without_a_test() -> None:
    parts = SlabSplit(val=0.25, test=0).ranges(9, 1.0)
    assert (parts["train"], parts["val"], len(parts["test"])) == (range(6), range(7, 9), 0)


def test_too_few_slices_for_slabs() -> None:
    with pytest.raises(UserError, match=r"4 slices .* too few"):
        SlabSplit(gap_mm=1.0).ranges(4, 1.0)
