from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile

from ctsr.data.cases import find_cases
from ctsr.errors import UserError


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
