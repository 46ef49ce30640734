"""What the headers alone tell of a DICOM file or folder."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from ctsr.imaging.dicom import is_scout, patient_of

LOCALIZER = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
AXIAL = {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}


@pytest.mark.parametrize(
    ("slices", "tags", "scout"),
    [
        (1, LOCALIZER, True),
        (2, LOCALIZER, True),
        (5, LOCALIZER, True),
        (1, AXIAL, False),
        (1, AXIAL | {"SeriesDescription": "Topogram  0.6  T20f"}, True),
        (2, {"SeriesDescription": "SURVIEW"}, True),
        (1, {}, False),
        (5, AXIAL, False),
        (5, AXIAL | {"SeriesDescription": "chest without scout"}, False),
    ],
)
def test_a_scout_is_told(tmp_path, write_series, slices, tags, scout) -> None:
    files = write_series(tmp_path / "S1", np.zeros((slices, 4, 5), np.int16), **tags)
    assert is_scout(tmp_path / "S1") == scout
    if slices == 1:
        assert is_scout(files[0]) == scout


def test_a_scout_beside_slices_makes_no_scout_of_them(tmp_path, write_series) -> None:
    write_series(tmp_path, np.zeros((1, 4, 5), np.int16), names=["a.dcm"], **LOCALIZER)
    write_series(tmp_path, np.zeros((4, 4, 5), np.int16), **AXIAL)
    assert not is_scout(tmp_path)


@pytest.mark.parametrize(
    ("tags", "patient"),
    [({"PatientID": "P 17"}, "P 17"), ({"PatientID": " 0042 "}, "0042"), ({"PatientID": ""}, None), ({}, None)],
)
def test_patient(tmp_path, write_series, tags, patient) -> None:
    files = write_series(tmp_path / "S1", np.zeros((3, 4, 5), np.int16), **tags)
    assert patient_of(tmp_path / "S1") == patient
    assert patient_of(files[1]) == patient


def test_what_is_not_dicom_is_no_scout_and_nobodys(tmp_path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    for path in (tmp_path, tmp_path / "a.nii.gz"):
        assert not is_scout(path)
        assert patient_of(path) is None
