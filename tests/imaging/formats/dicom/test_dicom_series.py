"""Which series there are, which is meant, which are scouts, and whose they are."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from ctsr.cli import run_cli
from ctsr.errors import UserError
from ctsr.imaging.formats.dicom.series import find_series, is_scout, patient_of
from ctsr.imaging.formats.readers import read_volume

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


LUNG, STD, THIN = "Thorax LUNG 1.0 (B60f), iDose [3]", "Thorax  STD 1.0", "Thorax LUNG 1.0 (B60f), iDose [3] thin"


@pytest.fixture
def three(tmp_path, write_series):
    """Series 3, 4 and 5, of 3, 4 and 5 slices; the description of 3 is part of that of 5."""
    for number, description in ((3, LUNG), (4, STD), (5, THIN)):
        stored = np.full((number, 4, 5), number, np.int16)
        names = [f"{number}-{z}" for z in range(number)]
        tags = {"SeriesNumber": number, "SeriesDescription": description}
        write_series(tmp_path, stored, uid=f"1.2.{number}", names=names, **tags)
    return tmp_path


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        ("3", 3),
        ("1.2.4", 4),
        (LUNG, 3),  # the whole description wins over part of another
        (LUNG.lower(), 3),
        (THIN, 5),
        ("thin", 5),
        ("Thorax  STD 1.0", 4),
        ("Thorax STD 1.0", 4),  # as a terminal shows it
        ("std", 4),
        (" 5 ", 5),
    ],
)
def test_one_is_picked(three, wanted, number) -> None:
    assert (read_volume(three, series=wanted).array == number).all()


@pytest.mark.parametrize("number", [3, 4, 5])
def test_what_is_listed_can_be_pasted(three, number, capsys) -> None:
    listed = told_of(three, capsys)
    (wanted,) = [text for text in listed if text.startswith(f"{number} ")]
    for text in (wanted, wanted.rpartition(" (")[0]):
        assert (read_volume(three, series=text).array == number).all()


@pytest.mark.parametrize(
    "blanks", ["Thorax  Routine  8.0.0", "  Thorax Routine", "Thorax Routine  ", "Thorax\tRoutine"]
)
def test_blanks_in_a_description_do_not_hinder(tmp_path, write_series, capsys, blanks) -> None:
    for number, description in ((3, blanks), (4, "Thorax Bone")):
        names, tags = [f"{number}-{z}" for z in range(3)], {"SeriesNumber": number, "SeriesDescription": description}
        write_series(tmp_path, np.full((3, 4, 5), number, np.int16), uid=f"1.2.{number}", names=names, **tags)
    first, _ = told_of(tmp_path, capsys)
    assert first == f"3 '{blanks.strip()}' (3 slices)"
    for text in (first, first.split("'")[1], blanks):
        assert (read_volume(tmp_path, series=text).array == 3).all()


def told_of(folder, capsys) -> list[str]:
    """The series that the program lists where none is picked."""
    assert run_cli(lambda: read_volume(folder)) == 2
    line, *others = capsys.readouterr().err.splitlines()
    assert others == []
    return line.partition(", of ")[2].split("; ")


@pytest.mark.parametrize(("wanted", "count"), [("Thorax", 3), ("LUNG 1.0", 2), ("bone", "no")])
def test_no_one_is_picked_by_what_several_or_none_have(three, wanted, count) -> None:
    with pytest.raises(UserError, match=rf"holds {count} series that match series={wanted}: .*; 4 'Thorax  STD 1\.0'"):
        read_volume(three, series=wanted)


def test_a_scout_within_a_series_is_told_apart(tmp_path, write_series, capsys) -> None:
    stored = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    write_series(tmp_path, stored, uid="1.2.3", SeriesNumber=2, **AXIAL)
    write_series(tmp_path, stored[:1, :3], uid="1.2.3", SeriesNumber=2, names=["a.dcm"], **LOCALIZER)
    assert [str(series) for series in find_series(tmp_path)] == ["2 (1 slices, scout)", "2 (4 slices)"]
    for wanted in (None, "2", "1.2.3"):
        np.testing.assert_array_equal(read_volume(tmp_path, series=wanted).array, stored)
    assert "read 2 (4 slices), passed over 2 (1 slices, scout)" in capsys.readouterr().err


def test_a_scout_can_be_asked_for(tmp_path, write_series) -> None:
    write_series(tmp_path, np.zeros((4, 5, 6), np.int16), SeriesNumber=2, **AXIAL)
    scout = np.ones((1, 3, 6), np.int16)
    write_series(tmp_path, scout, SeriesNumber=1, names=["a.dcm"], **LOCALIZER)
    np.testing.assert_array_equal(read_volume(tmp_path, series="1").array, scout)


def test_of_a_damaged_file_the_reader_tells(tmp_path, write_series) -> None:
    file = write_series(tmp_path, np.zeros((1, 4, 5), np.int16), PatientID="17", **LOCALIZER)[0]
    file.write_bytes(file.read_bytes()[:600])
    assert not is_scout(tmp_path)
    assert patient_of(tmp_path) is None
    with pytest.raises(UserError, match=r"slice0\.dcm is cut off within its header"):
        read_volume(tmp_path)


def test_series_of_one_name_are_listed_with_what_tells_them_apart(tmp_path, write_series) -> None:
    tags = {"SeriesNumber": 5, "SeriesDescription": "chest"}
    for grey, uid in enumerate(("1.2.3", "1.2.4")):
        names = [f"{uid}-{z}.dcm" for z in range(4)]
        write_series(tmp_path, np.full((4, 4, 5), grey, np.int16), uid=uid, names=names, **tags)
    for wanted in (None, "5", "chest"):
        with pytest.raises(UserError) as refused:
            read_volume(tmp_path, series=wanted)
        *_, one, other = str(refused.value).replace(", of ", "; ").split("; ")
        assert "1.2.3" in one
        assert "1.2.4" in other
    for grey, listed in enumerate((one, other)):
        assert (read_volume(tmp_path, series=listed).array == grey).all()


def test_two_patients_are_never_one_series(tmp_path, write_series) -> None:
    """Slices between each other's, under one UID: as one volume they would be regular."""
    for patient in (0, 1):
        names = [f"{patient}-{z}.dcm" for z in range(4)]
        greys = np.full((4, 4, 5), patient, np.int16)
        write_series(
            tmp_path, greys, first=(0.0, 0.0, 1.0 * patient), uid="1.2.3", names=names, PatientID=f"P{patient}"
        )
    with pytest.raises(UserError, match="holds 2 DICOM series"):
        read_volume(tmp_path)


def test_many_series_are_not_listed_all(tmp_path, write_series) -> None:
    """As where a UID was made for each file."""
    for z in range(40):
        write_series(tmp_path, np.zeros((1, 4, 5), np.int16), uid=f"1.2.{z}", names=[f"{z}.dcm"])
    with pytest.raises(UserError, match=r"holds 40 DICOM series.*\(40 in all\)") as refused:
        read_volume(tmp_path)
    assert len(str(refused.value)) < 1000
