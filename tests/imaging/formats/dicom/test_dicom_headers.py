"""Headers as they come: a tag that cannot be read is named in one line, and what is not needed does no harm."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest

from ctsr.errors import UserError
from ctsr.imaging.formats.dicom.series import is_scout, patient_of
from ctsr.imaging.formats.readers import read_volume


@pytest.fixture
def greys() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6), dtype=np.int16)


def put(file: Path, keyword: str, kind: bytes, value: bytes) -> None:
    """Write a tag byte for byte, whatever it should be."""
    data = pydicom.dcmread(file)
    data.pop(keyword, None)
    marked = pydicom.DataElement(keyword, "UI", "9.9.9.9.9.9")  # 11 and a padding byte
    with pydicom.config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.add(marked)
        data.save_as(file)
    tag = pydicom.tag.Tag(keyword)
    head = tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little")
    old = head + b"UI\x0c\x00" + b"9.9.9.9.9.9\0"
    content = file.read_bytes()
    assert content.count(old) == 1
    value += b" " * (len(value) % 2)
    length = bytes(2) + len(value).to_bytes(4, "little") if kind in (b"UN", b"SQ") else len(value).to_bytes(2, "little")
    file.write_bytes(content.replace(old, head + kind + length + value))


@pytest.mark.parametrize(
    ("keyword", "kind", "value"),
    [
        ("PixelSpacing", b"DS", b"0,7\\0,7"),
        ("PixelSpacing", b"DS", b"0.7 mm\\0.7 mm"),
        ("PixelSpacing", b"FD", b"12345"),
        ("PixelSpacing", b"SQ", b"xx"),
        ("PixelSpacing", b"ZZ", b"0.7\\0.7"),
        ("ImagePositionPatient", b"DS", b"a\\b\\c"),
        ("ImagePositionPatient", b"DS", b"1e999\\0\\0"),
        ("ImageOrientationPatient", b"DS", b"1\\0\\0\\0\\1\\x"),
        ("SliceThickness", b"DS", b"1,5"),
        ("RescaleIntercept", b"DS", b"-1024,0"),
        ("NumberOfFrames", b"IS", b"many"),
        ("NumberOfFrames", b"IS", b"-3"),
        ("NumberOfFrames", b"DS", b"nan"),
        ("ModalityLUTSequence", b"LO", b"table"),
        ("PerFrameFunctionalGroupsSequence", b"LO", b"frames"),
        ("SamplesPerPixel", b"US", b"\x01"),
        ("Rows", b"US", b"\0\0"),
        ("Columns", b"US", b""),
    ],
)
def test_a_damaged_tag_is_named(tmp_path, write_series, greys, keyword, kind, value) -> None:
    put(write_series(tmp_path, greys)[2], keyword, kind, value)
    with pytest.raises(UserError, match=r"slice2\.dcm") as caught:
        read_volume(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("keyword", "kind", "value"),
    [
        ("PixelSpacing", b"DS", b" 0.5 \\0.7 "),
        ("PixelSpacing", b"FD", np.array([0.5, 0.7], "<f8").tobytes()),
        ("PixelSpacing", b"LO", b"0.5\\0.7"),
        ("PixelSpacing", b"UN", b"0.5\\0.7"),
        ("SliceThickness", b"DS", b""),
        ("SliceThickness", b"DS", b"\\"),
        ("NumberOfFrames", b"IS", b""),
        ("NumberOfFrames", b"IS", b"1 "),
        ("NumberOfFrames", b"IS", b"0"),
        ("PixelPaddingValue", b"US", b""),
        ("SeriesNumber", b"IS", b"seven"),
        ("SeriesNumber", b"IS", b"3.5"),
        ("SeriesDescription", b"LO", b"\xff\xfe\x80 m\xfcde"),
        ("SpecificCharacterSet", b"CS", b"NOTHING 7"),
        ("ImageType", b"CS", b""),
        ("PatientID", b"LO", b"\xe4\xf6"),
        ("AcquisitionNumber", b"IS", b"x"),
        ("StudyDate", b"DA", b"31.12.99"),
        ("WindowCenter", b"DS", b"-600\\abc"),
        ("InstanceNumber", b"IS", b"1,5"),
    ],
)
def test_a_tag_that_is_odd_or_not_needed(tmp_path, write_series, greys, keyword, kind, value, recwarn) -> None:
    for file in write_series(tmp_path, greys):
        put(file, keyword, kind, value)
    np.testing.assert_array_equal(read_volume(tmp_path).array, greys)
    assert read_volume(tmp_path).spacing == pytest.approx((2.0, 0.5, 0.7))
    assert not is_scout(tmp_path)
    patient_of(tmp_path)
    assert [str(w.message) for w in recwarn if "pydicom" in str(w.filename)] == []


def refusal(folder: Path) -> str:
    """Why a folder is refused; empty where it is read."""
    try:
        read_volume(folder)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("end", range(132, 860, 17))
def test_a_file_that_ends_anywhere(tmp_path, write_series, greys, end, capsys) -> None:
    """Refused, or, where nothing tells that it was a slice, passed over and told."""
    file = write_series(tmp_path, greys)[3]
    content = file.read_bytes()
    assert end < len(content)
    file.write_bytes(content[:end])
    message = refusal(tmp_path)
    assert "\n" not in message
    assert "slice3.dcm" in message + capsys.readouterr().err


@pytest.mark.parametrize("seed", range(30))
def test_a_file_with_wrong_bytes_is_at_worst_refused(tmp_path, write_series, greys, seed) -> None:
    rng = np.random.default_rng(seed)
    file = write_series(tmp_path, greys)[1]
    content = bytearray(file.read_bytes())
    for place in rng.integers(132, len(content) - greys[0].nbytes - 12, 5):
        content[place] = rng.integers(0, 256)
    file.write_bytes(bytes(content))
    assert "\n" not in refusal(tmp_path)


def test_private_tags_do_no_harm(tmp_path, write_series, greys) -> None:
    for file in write_series(tmp_path, greys):
        data = pydicom.dcmread(file)
        block = data.private_block(0x0043, "GEMS_PARM_01", create=True)
        block.add_new(0x27, "SH", "/1.0:1")
        block.add_new(0x40, "FL", [1.0, 2.0])
        data.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", bytes(999) + b"\0")
        data.save_as(file)
    np.testing.assert_array_equal(read_volume(tmp_path).array, greys)
