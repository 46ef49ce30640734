"""Which files are DICOM slices is told by what is in them, beside whatever a disc or a viewer leaves there."""

from __future__ import annotations

import io
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.fileset import FileSet
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    BasicTextSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    XRayRadiationDoseSRStorage,
    generate_uid,
)

from ctsr.data.finding.cases import find_cases
from ctsr.errors import UserError
from ctsr.imaging.formats import recognise
from ctsr.imaging.formats.readers import probe, read_volume
from ctsr.imaging.formats.recognise import format_of, stem, suffix


@pytest.fixture
def greys() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6), dtype=np.int16)


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def bare(file: Path, kind: str) -> None:
    """Take away preamble, mark and, unless it is kept, what comes before the data set."""
    data = pydicom.dcmread(file)
    if kind == "with meta":
        file.write_bytes(file.read_bytes()[132:])
        return
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = kind != "big endian", kind == "implicit"
    if kind == "big endian":
        data.PixelData = np.frombuffer(data.PixelData, "<i2").astype(">i2").tobytes()
    del data.file_meta
    write_dataset(buffer, data)
    file.write_bytes(buffer.getvalue())


def document(folder: Path, kind: str, name: str, modality: str) -> None:
    """A DICOM object without pixels."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = kind
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = generate_uid(), generate_uid(), modality
    pydicom.dcmwrite(folder / name, data, enforce_file_format=True)


@pytest.mark.parametrize(
    "name", ["S%04d", "%d.dcm", "%d.IMA", "1.2.840.113619.2.55.%d", "IM.1.2.840.%d.dcm", "%d.raw1"]
)
def test_slices_of_any_name(tmp_path, write_series, greys, name) -> None:
    folder = tmp_path / "1.2.840.10008.7"
    write_series(folder, greys, names=[name % z for z in range(4)])
    assert format_of(folder) == "dicom"
    np.testing.assert_array_equal(read_volume(folder).array, greys)
    assert [case.name for case in find_cases(tmp_path, "clinical")] == ["1.2.840.10008.7"]


@pytest.mark.parametrize("kind", ["implicit", "explicit", "big endian", "with meta"])
@pytest.mark.parametrize("name", ["IM%d", "IM%d.dcm", "1.2.3.%d"])
@pytest.mark.parametrize("tags", [{}, {"SpecificCharacterSet": "ISO_IR 100"}, {"ImageType": ["ORIGINAL", "PRIMARY"]}])
def test_slices_without_preamble(tmp_path, write_series, greys, kind, name, tags) -> None:
    tags = tags | {"PixelPaddingValue": -2000}
    for file in write_series(tmp_path, greys, names=[name % z for z in range(4)], **tags):
        bare(file, kind)
    assert format_of(tmp_path) == "dicom"
    np.testing.assert_array_equal(read_volume(tmp_path).array, greys)


@pytest.mark.parametrize("place", ["A", "slice2.dcm.", "zz"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("autorun.inf", b"[autorun]\nopen=viewer.exe" * 9),
        ("viewer.exe", b"MZ\x90\x00\x03\x00\x00\x00" * 50),
        ("LICENSE", b"licence " * 40),
        ("thumbs.db", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" * 64),
        ("preview.jpeg", picture("JPEG")),
        ("preview.jpg", picture("JPEG")),
        ("preview.png", picture("PNG")),
        ("preview.tif", picture("TIFF")),
        ("broken.dcm", b"this is no DICOM" * 30),
        ("empty", b""),
        ("notes.txt", b""),
        ("Thumbs.db", b""),
        ("short", b"\0"),
        ("numbers", np.arange(300, dtype="<i2").tobytes()),
    ],
)
def test_other_files_beside_slices(tmp_path, write_series, greys, place, name, content) -> None:
    write_series(tmp_path / "scan", greys)
    for copy in ("", "2"):
        (tmp_path / "scan" / f"{place}{copy}{name}").write_bytes(content)
    assert format_of(tmp_path / "scan") == "dicom"
    np.testing.assert_array_equal(read_volume(tmp_path / "scan").array, greys)
    assert [case.path for case in find_cases(tmp_path, "clinical")] == [tmp_path / "scan"]


def test_what_is_passed_over_is_told(tmp_path, write_series, greys, capsys) -> None:
    write_series(tmp_path, greys)
    for name in ("Autorun.inf", "lost.dcm", "desktop.ini", "viewer.exe", "notes.txt", ".hidden.dcm", "._slice0.dcm"):
        (tmp_path / name).write_bytes(b"x" * 300)
    read_volume(tmp_path)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "4 files that are no DICOM images are passed over: Autorun.inf, desktop.ini, lost.dcm ..." in told


def test_a_viewers_files_alone_are_no_scan(tmp_path) -> None:
    for name in ("Autorun.inf", "viewer.exe", "a.dcm", "LICENSE"):
        (tmp_path / name).write_bytes(b"x" * 300)
    assert format_of(tmp_path) is None
    with pytest.raises(UserError, match="holds no scan that can be read"):
        probe(tmp_path)


@pytest.mark.parametrize(
    ("kind", "modality"),
    [
        (BasicTextSRStorage, "SR"),
        (XRayRadiationDoseSRStorage, "SR"),
        (KeyObjectSelectionDocumentStorage, "KO"),
        (GrayscaleSoftcopyPresentationStateStorage, "PR"),
        (RTStructureSetStorage, "RTSTRUCT"),
        (EncapsulatedPDFStorage, "DOC"),
    ],
)
@pytest.mark.parametrize("name", ["A.dcm", "zz"])
def test_documents_are_no_slices(tmp_path, write_series, greys, kind, modality, name) -> None:
    write_series(tmp_path / "scan", greys)
    document(tmp_path / "scan", kind, name, modality)
    np.testing.assert_array_equal(read_volume(tmp_path / "scan").array, greys)
    (tmp_path / "report").mkdir()
    document(tmp_path / "report", kind, name, modality)
    assert format_of(tmp_path / "report") is None
    assert [case.path for case in find_cases(tmp_path, "clinical")] == [tmp_path / "scan"]


@pytest.mark.parametrize(
    "tags",
    [
        {"Modality": "SEG", "SOPClassUID": SegmentationStorage},
        {"Modality": "RTDOSE"},
        {"Modality": "OT", "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"SOPClassUID": SecondaryCaptureImageStorage},
    ],
)
def test_what_was_made_of_a_scan_is_passed_over_and_told(tmp_path, write_series, greys, tags, capsys) -> None:
    write_series(tmp_path, greys, uid="1.2.3")
    write_series(tmp_path, greys, uid="1.2.4", names=[f"b{z}.dcm" for z in range(4)], **tags)
    np.testing.assert_array_equal(read_volume(tmp_path).array, greys)
    assert "passed over 1.2.4 (4 slices, " in capsys.readouterr().err


@pytest.mark.parametrize(
    "tags",
    [
        {"Modality": "SEG", "SOPClassUID": SegmentationStorage},
        {"Modality": "OT", "SOPClassUID": SecondaryCaptureImageStorage},
        {"Modality": "RTDOSE"},
    ],
)
def test_what_was_made_of_a_scan_is_read_where_it_is_alone(tmp_path, write_series, greys, tags) -> None:
    write_series(tmp_path, greys, **tags)
    np.testing.assert_array_equal(read_volume(tmp_path).array, greys)


@pytest.mark.parametrize(("slices", "pictures", "expected"), [(4, 4, "dicom"), (4, 1, "dicom"), (1, 4, "tiff")])
def test_tiff_beside_dicom(tmp_path, write_series, greys, slices, pictures, expected) -> None:
    """A preview of each slice, or a scout beside a stack of TIFF."""
    write_series(tmp_path, greys[:slices])
    for z in range(pictures):
        (tmp_path / f"slice{z}.tif").write_bytes(picture("TIFF"))
    assert format_of(tmp_path) == expected


def test_a_disc_with_its_directory(tmp_path, write_series, greys) -> None:
    disc = FileSet()
    patient = {"PatientID": "17", "PatientName": "X", "StudyDate": "20000101", "StudyTime": "000000", "StudyID": "1"}
    for number, uid in enumerate(("1.2.3", "1.2.4")):
        tags = patient | {"SeriesNumber": number, "StudyInstanceUID": "1.2"}
        for z, file in enumerate(write_series(tmp_path / "from", greys + number, uid=uid, **tags)):
            data = pydicom.dcmread(file)
            data.InstanceNumber = z + 1
            disc.add(data)
    disc.write(tmp_path / "disc")
    (tmp_path / "disc" / "AUTORUN.INF").write_text("x" * 300)
    assert (tmp_path / "disc" / "DICOMDIR").is_file()
    assert format_of(tmp_path / "disc") is None
    scans = [read_volume(case.path).array for case in find_cases(tmp_path / "disc", "clinical")]
    assert sorted(int((scan - greys).mean()) for scan in scans) == [0, 1]
    for scan in scans:
        assert (scan - greys == (scan - greys)[0, 0, 0]).all()


def test_a_directory_beside_slices(tmp_path, write_series, greys) -> None:
    write_series(tmp_path, greys)
    document(tmp_path, "1.2.840.10008.1.3.10", "DICOMDIR", "")
    np.testing.assert_array_equal(read_volume(tmp_path).array, greys)


@pytest.mark.parametrize("name", ["DICOMDIR", "dicomdir"])
def test_a_directory_that_is_damaged_hides_no_scan(name, tmp_path, write_series, greys) -> None:
    write_series(tmp_path / "PAT0" / "SER0", greys)
    (tmp_path / name).write_bytes(bytes(128) + b"DICM" + bytes(300))
    (case,) = find_cases(tmp_path, "clinical")
    np.testing.assert_array_equal(read_volume(case.path).array, greys)


@pytest.mark.parametrize(
    ("name", "ending", "case"),
    [
        ("case.1.2.nii.gz", ".nii.gz", "case.1.2"),
        ("case.1.2.NII", ".nii", "case.1.2"),
        ("1.2.840.10008.1.2.3", "", "1.2.840.10008.1.2.3"),
        ("IM.1.2.840.113.dcm", ".dcm", "IM.1.2.840.113"),
        ("2021.03.04", "", "2021.03.04"),
        ("scan.v2.ome.zarr", ".ome.zarr", "scan.v2"),
        ("stack.7.tiff", ".tiff", "stack.7"),
    ],
)
def test_dots_in_names(name, ending, case) -> None:
    assert suffix(Path("folder.1") / name) == ending
    assert stem(Path("folder.1") / name) == case


def test_folders_named_by_uids_are_cases_of_their_own(tmp_path, write_series, greys) -> None:
    for name in ("1.2.840.1", "1.2.840.2"):
        write_series(tmp_path / name, greys)
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4)), tmp_path / "case.1.2.nii.gz")
    assert [case.name for case in find_cases(tmp_path, "clinical")] == ["1.2.840.1", "1.2.840.2", "case.1.2"]


@pytest.mark.parametrize("others", [0, 50])
def test_telling_opens_few_files(tmp_path, write_series, greys, others, monkeypatch) -> None:
    """No more than up to the first slice; a folder of thousands is told at once."""
    write_series(tmp_path, np.repeat(greys, 25, axis=0))
    for number in range(others):
        (tmp_path / f"a{number}").write_bytes(b"x" * 300)
    opened = []
    monkeypatch.setattr(recognise, "is_dicom", lambda file, tell=recognise.is_dicom: opened.append(file) or tell(file))
    assert format_of(tmp_path) == "dicom"
    assert len(opened) == others + 1


def test_a_file_that_may_not_be_opened_is_named(tmp_path, write_series, greys, monkeypatch) -> None:
    file = write_series(tmp_path, greys)[0]

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(UserError, match=r"slice0\.dcm cannot be opened: Permission denied"):
        format_of(file)
