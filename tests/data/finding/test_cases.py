from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from ctsr.data.finding.cases import find_cases, the_scan
from ctsr.errors import UserError
from tests.data import trees


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


def test_a_scan_is_none_the_less_where_label_maps_lie_or_by_their_name(tmp_path) -> None:
    expected = {
        "a_seg": trees.nifti(tmp_path / "a_seg.nii.gz", trees.chest(0)),
        "b": trees.itk(tmp_path / "masks" / "b.mha", trees.chest(1)),  # masked scans, say
        "c-label": trees.tiff(tmp_path / "c-label.tif", trees.foam(0)),
        "d": trees.dicom(tmp_path / "labels" / "d", trees.chest(2), "D"),
    }
    assert set(found(tmp_path).values()) == set(expected.values())


def test_files_names_the_scans(tmp_path) -> None:
    for name in ("a", "b"):
        nifti(tmp_path / name / "ct.nii.gz")
        nifti(tmp_path / name / "other.nii.gz")
    two_greys = trees.nifti(tmp_path / "c" / "ct.nii.gz", trees.lung(trees.chest(0)))
    chosen = find_cases(tmp_path, "clinical", files="*/ct.nii.gz")
    assert {case.name: case.path.parent.name for case in chosen} == {"a": "a", "b": "b", "c": "c"}
    assert chosen[2].path == two_greys, "what is named is believed"
    (tmp_path / "a" / "ct.txt").write_text("no scan")
    for pattern, message in (
        ("*/mr.nii.gz", "matches nothing below"),
        ("/ct.nii.gz", "is no pattern of files below"),
        ("*/ct.*", "matches .*ct.txt, which is no scan"),
    ):
        with pytest.raises(UserError, match=rf"data\.clinical\.files={re.escape(pattern)} {message}"):
            find_cases(tmp_path, "clinical", files=pattern)


def test_what_is_no_scan_alone_is_refused_with_the_reason(tmp_path) -> None:
    mask = trees.tiff(tmp_path / "micro" / "mask.tif", 255 * trees.lung(trees.chest(0)))
    with pytest.raises(UserError, match=r"mask.tif is no scan, but .* of only two greys \(0, 255\)"):
        find_cases(mask, "micro")
    with pytest.raises(UserError, match=r"holds no scan, but a label map .* of only two greys \(0, 255\) \(mask.tif\)"):
        find_cases(mask.parent, "micro")
    scout = trees.dicom(tmp_path / "scout", trees.chest(0)[:1], "P", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    with pytest.raises(UserError, match="scout is no scan, but a scout"):
        find_cases(scout, "clinical")


def test_parts_and_kinds_of_files_are_no_patients(tmp_path) -> None:
    for part in ("train", "test"):
        for name in ("P1", "P2"):
            nifti(tmp_path / part / name / f"{part}.nii.gz")
    by_name = {case.name: case.patient for case in find_cases(tmp_path, "clinical")}
    assert by_name == {"P1-train": "P1", "P1-test": "P1", "P2-train": "P2", "P2-test": "P2"}


def test_numbered_cases_are_no_channels(tmp_path) -> None:
    for k in range(3):
        nifti(tmp_path / "imagesTr" / f"case_{k:04d}.nii.gz")
    assert list(found(tmp_path)) == ["case_0000", "case_0001", "case_0002"]
    (tmp_path / "dataset.json").write_text('{"channel_names": {"0": "CT", "1": "PET", "2": "MR"}}')
    assert list(found(tmp_path)) == ["case"]


def test_an_unreadable_stack_does_not_hide_the_others(tmp_path) -> None:
    nifti(tmp_path / "a.nii")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "s1.tif").write_bytes(b"nothing")
    (tmp_path / "c.tif").write_bytes(b"nothing")
    assert list(found(tmp_path)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"Modality": "SEG"}, "a DICOM segmentation"),
        ({"Modality": "SR"}, "a DICOM report"),
        ({"Modality": "RTSTRUCT"}, "DICOM outlines"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "a DICOM screenshot"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "a DICOM colour picture"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a scout"),
    ],
)
def test_dicom_beside_scans(tmp_path, capsys, tags, reason) -> None:
    expected = trees.dicom(tmp_path / "P" / "chest", trees.chest(0), "P")
    trees.dicom(tmp_path / "P" / "other", trees.chest(1)[:1], "P", **tags)
    assert found(tmp_path) == {"P": expected}
    assert f"passed over {reason} (P/other)" in capsys.readouterr().err


def test_sources_are_scans_where_there_are_no_others(tmp_path) -> None:
    for name in ("a", "c"):
        nifti(tmp_path / "sourcedata" / name / "ct.nii")
    assert list(found(tmp_path)) == ["a", "c"]
    nifti(tmp_path / "b.nii")
    assert list(found(tmp_path)) == ["b"]


@pytest.mark.parametrize("domain", ["clinical", "micro"])
def test_pictures_beside_scans(tmp_path, capsys, domain) -> None:
    expected = {"P1": nifti(tmp_path / "P1" / "ct.nii.gz"), "P2": nifti(tmp_path / "P2" / "ct.nii.gz")}
    tifffile.imwrite(tmp_path / "P1" / "preview.tif", np.arange(20, dtype=np.uint8).reshape(4, 5))
    tifffile.imwrite(tmp_path / "P2" / "colour.tif", np.zeros((4, 5, 3), np.uint8), photometric="rgb")
    trees.pictures(tmp_path / "P2" / "shots", (trees.foam(0) // 256).astype(np.uint8))
    (tmp_path / "P1" / "shot.png").write_bytes(b"a picture by itself is no scan's format")
    assert {case.name: case.path for case in find_cases(tmp_path, domain)} == expected
    told = capsys.readouterr().err
    assert "2 x a picture (P1/preview.tif, P2/colour.tif)" in told
    assert "a folder of pictures (P2/shots)" in told


def test_stacks_of_pictures_are_scans_of_micro_ct_beside_others(tmp_path) -> None:
    stack = trees.pictures(tmp_path / "a", (trees.foam(0) // 256).astype(np.uint8))
    volume = trees.tiff(tmp_path / "b.tif", trees.foam(1))
    assert [case.path for case in find_cases(tmp_path, "micro")] == [stack, volume]
    assert [case.path for case in find_cases(tmp_path, "clinical")] == [volume]


def test_the_sessions_of_one_bids_patient(tmp_path) -> None:
    for session in ("01", "02"):
        nifti(tmp_path / "sub-07" / f"ses-{session}" / "ct" / f"sub-07_ses-{session}_ct.nii.gz")
    assert {case.patient for case in find_cases(tmp_path / "sub-07", "clinical")} == {"sub-07"}
    assert {case.patient for case in find_cases(tmp_path, "clinical")} == {"sub-07"}


def test_nnunets_cases_are_patients_at_any_depth(tmp_path) -> None:
    for k in range(2):
        nifti(tmp_path / "Dataset001" / "imagesTr" / f"lung_{k:03d}_0000.nii.gz")
    by_name = {case.name: case.patient for case in find_cases(tmp_path, "clinical")}
    assert by_name == {f"Dataset001-imagesTr-lung_{k:03d}": f"lung_{k:03d}" for k in range(2)}


def test_pictures_on_top_of_a_disc(tmp_path: Path, capsys) -> None:
    """A viewer's icons and a logo, of no scan, above the folder with slices."""
    slices = trees.dicom(tmp_path / "disc" / "DICOM" / "a", trees.chest(5), "1")
    for number, size in enumerate((16, 24, 32)):
        colours = np.random.default_rng(number).integers(0, 255, (size, size, 3), dtype=np.uint8)
        Image.fromarray(colours).save(tmp_path / "disc" / f"icon{number}.png")
        Image.fromarray(colours).save(tmp_path / "disc" / f"logo{number}.bmp")
    assert found(tmp_path / "disc") == {"DICOM": slices}
    Image.fromarray(colours).save(tmp_path / "disc" / "logo.tif")
    assert found(tmp_path / "disc") == {"DICOM": slices}
    assert "passed over a picture (logo.tif)" in capsys.readouterr().err


def test_scans_below_a_scan_are_told_of(tmp_path: Path, capsys) -> None:
    trees.dicom(tmp_path / "root" / "a", trees.chest(5), "1")
    trees.dicom(tmp_path / "root" / "a" / "prior" / "s1", trees.chest(6), "1")
    assert found(tmp_path / "root") == found(tmp_path / "root" / "a") == {"a": tmp_path / "root" / "a"}
    assert capsys.readouterr().err.count("below it are passed over, as prior/s1") == 1


def test_the_one_scan(tmp_path: Path) -> None:
    scan = tmp_path / "ct.nii.gz"
    nifti(scan)
    for given in (scan, tmp_path):
        assert the_scan(given, "input") == scan
    (tmp_path / "notes.txt").write_text("no scan")
    assert the_scan(tmp_path / "notes.txt", "input") == tmp_path / "notes.txt"
    nifti(tmp_path / "b.nii.gz")
    with pytest.raises(UserError, match=r"holds 2 scans.*b\.nii\.gz, .*ct\.nii\.gz"):
        the_scan(tmp_path, "input")


def test_links(tmp_path: Path, capsys) -> None:
    """To nothing, as in data sets whose files are not fetched; to a folder above; to scans elsewhere."""
    scan = nifti(tmp_path / "root" / "a" / "ct.nii.gz")
    (tmp_path / "root" / "b.nii.gz").symlink_to(tmp_path / "annex" / "gone")
    (tmp_path / "root" / "a" / "up").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "a" / "same").symlink_to(".")
    assert found(tmp_path / "root") == {"a": scan}
    assert f"{tmp_path / 'root' / 'b.nii.gz'} is a link to nothing" in capsys.readouterr().err
    elsewhere = nifti(tmp_path / "elsewhere" / "c" / "ct.nii.gz")
    (tmp_path / "root" / "c").symlink_to(elsewhere.parent)
    assert found(tmp_path / "root") == {"a": scan, "c": tmp_path / "root" / "c" / "ct.nii.gz"}


def test_a_folder_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    nifti(tmp_path / "ct.nii.gz")
    iterdir = Path.iterdir

    def refusing(folder: Path) -> Iterator[Path]:
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied")
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", refusing)
    with pytest.raises(UserError, match=r"closed cannot be opened: Permission denied"):
        found(tmp_path)


def test_the_one_scan_of_several_with_one_name(tmp_path: Path) -> None:
    """Names of cases are of no interest where one scan is looked for."""
    nifti(tmp_path / "ct.nii.gz")
    nifti(tmp_path / "ct.nii")
    with pytest.raises(UserError, match="holds 2 scans"):
        the_scan(tmp_path, "input")


def test_a_scout_on_top_of_a_study(tmp_path: Path, capsys) -> None:
    study = trees.dicom(tmp_path / "study", trees.chest(5)[:1], "1", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    series = trees.dicom(study / "series1", trees.chest(6), "1")
    assert found(study) == {"series1": series}
    assert "passed over a scout (I000)" in capsys.readouterr().err
    assert the_scan(study, "input") == the_scan(tmp_path, "input") == series


def test_a_scan_whose_name_is_not_utf_8_is_told(tmp_path: Path) -> None:
    """Tables and records could not hold it."""
    trees.nifti(tmp_path / "a.nii.gz", trees.chest(0))
    os.rename(tmp_path / "a.nii.gz", bytes(tmp_path) + b"/Gr\xf6\xdfe.nii.gz")
    with pytest.raises(UserError, match=r"Gr\S+e.nii.gz: the name is not written in UTF-8: rename it"):
        find_cases(tmp_path, "clinical")


def test_a_result_beside_its_scan_is_no_case(tmp_path: Path, capsys) -> None:
    for name in ("ct", "sr", "other"):
        trees.nifti(tmp_path / f"{name}.nii.gz", trees.chest(0))
    (tmp_path / "sr.json").write_text('{"notice": "Not for diagnosis."}')
    (tmp_path / "other.json").write_text('{"Modality": "CT"}')  # as BIDS has it
    assert [case.name for case in find_cases(tmp_path, "clinical")] == ["ct", "other"]
    assert "passed over a result of infer.py (sr.nii.gz)" in capsys.readouterr().err
    (tmp_path / "other.nii.gz").unlink()
    assert the_scan(tmp_path, "input") == tmp_path / "ct.nii.gz", "as before there was a result"


def test_a_patient_whose_slices_are_damaged_or_empty_is_told_of(tmp_path: Path, capsys) -> None:
    for patient in "ABC":
        trees.dicom(tmp_path / patient, trees.chest(0), patient)
    for number, file in enumerate(sorted((tmp_path / "B").iterdir())):
        file.write_bytes(bytes(100))
        file.rename(file.with_name(f"{number}.dcm"))
    for number, file in enumerate(sorted((tmp_path / "C").iterdir())):
        file.write_bytes(b"")
        file.rename(file.with_name(f"IM{number}"))
    assert [case.name for case in find_cases(tmp_path, "clinical")] == ["A"]
    told = capsys.readouterr().err
    assert f"{tmp_path / 'B'}: passed over, since they are no DICOM images: " in told
    assert f"{tmp_path / 'C' / 'IM0'} is empty, and passed over, and so are others that lack their content: IM1" in told
