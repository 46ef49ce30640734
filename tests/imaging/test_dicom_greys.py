"""Greys are stored * slope + intercept, whatever else a header says; else they are refused, or told of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLSLossless,
    RLELossless,
)

from ctsr.errors import UserError
from ctsr.imaging.readers import probe, read_volume
from tests.imaging.scan_files import ENCODERS

HU = {"RescaleSlope": 1, "RescaleIntercept": -1024}


@pytest.fixture
def hu() -> np.ndarray:
    """Smooth, as tissue is: HU from about -1000 to 1500, three slices."""
    z, y, x = np.indices((3, 8, 9))
    return np.rint(250 * np.sin(x / 3 + z) + 1200 * np.cos(y / 3) + 200).astype(np.int64)


def element(name: str, value: Any) -> DataElement:
    return DataElement(name, dictionary_VR(name).split(" or ")[-1], value)


def changed(files: list[Path], **tags: Any) -> None:
    for file in files:
        data = pydicom.dcmread(file)
        for name, value in tags.items():
            if value is None:
                del data[name]
            else:
                data[name] = value if isinstance(value, DataElement) else element(name, value)
        data.save_as(file)


def table(first: int, greys: list[int], kind: str) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(greys), first, 16])
    item.add_new("LUTData", "US", greys)
    item.ModalityLUTType = kind
    return item


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("syntax", [None, RLELossless, *ENCODERS])
def test_monochrome1_is_how_greys_are_shown_not_what_they_are(tmp_path, write_series, hu, syntax, signed) -> None:
    tags = HU | {"PhotometricInterpretation": "MONOCHROME1", "PixelRepresentation": signed}
    files = write_series(tmp_path, hu + 1024, **tags)
    for file in files if syntax else []:
        data = pydicom.dcmread(file)
        if syntax == RLELossless:
            data.compress(RLELossless)
        else:
            data.PixelData = encapsulate([ENCODERS[syntax](data.pixel_array.astype(np.uint16))])
            data["PixelData"].VR = "OB"
            data.file_meta.TransferSyntaxUID = syntax
        data.save_as(file)
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)


@pytest.mark.parametrize(
    ("tags", "missing"),
    [
        ({}, ["RescaleSlope", "RescaleIntercept"]),
        ({"RescaleIntercept": None}, []),
        ({"RescaleSlope": "", "RescaleIntercept": ""}, []),
        ({}, ["RescaleIntercept"]),
    ],
)
def test_ct_without_rescale_tags_is_told(tmp_path, write_series, hu, tags, missing, capsys) -> None:
    files = write_series(tmp_path, hu, **tags)
    changed(files, **dict.fromkeys(missing))
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)
    assert "slope or intercept is not told, greys are taken as stored and may not be HU" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("RescaleSlope", "0"),
        ("RescaleSlope", "nan"),
        ("RescaleSlope", "inf"),
        ("RescaleSlope", "1\\2"),
        ("RescaleSlope", "1,0"),
        ("RescaleSlope", "one"),
        ("RescaleIntercept", "nan"),
        ("RescaleIntercept", "-1024\\0"),
        ("RescaleIntercept", "-1024 HU"),
    ],
)
def test_senseless_rescale_tags_are_refused(tmp_path, write_series, hu, keyword, value) -> None:
    files = write_series(tmp_path, hu)
    with_raw_value(files[1], keyword, value)
    with pytest.raises(UserError, match=rf"slice1\.dcm: {keyword} .*correct it") as caught:
        probe(tmp_path)
    assert "\n" not in str(caught.value)


def with_raw_value(file: Path, keyword: str, value: str) -> None:
    """Write a value that pydicom itself would not."""
    with pydicom.config.disable_value_validation():
        data = pydicom.dcmread(file)
        del data[keyword]
        data.add(pydicom.DataElement(keyword, "LO", value))  # as text
        data.save_as(file)
    content = file.read_bytes()
    tag = pydicom.tag.Tag(keyword)
    head = tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little")
    assert content.count(head + b"LO") == 1
    file.write_bytes(content.replace(head + b"LO", head + b"DS"))


def test_rescale_tags_that_only_some_slices_have_are_refused(tmp_path, write_series, hu) -> None:
    changed(write_series(tmp_path, hu)[2:], RescaleIntercept=None)
    with pytest.raises(UserError, match=r"slice2\.dcm lacks the rescale slope or intercept that slice0\.dcm has"):
        probe(tmp_path)


@pytest.mark.parametrize(
    ("tags", "kind"),
    [({"RescaleType": "US"}, "US"), ({"RescaleType": "HU_MOD"}, "HU_MOD"), ({"RescaleType": "HU"}, "")],
)
def test_greys_that_are_not_hu_by_their_header_are_told(tmp_path, write_series, hu, tags, kind, capsys) -> None:
    write_series(tmp_path, hu, **tags)
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)
    told = capsys.readouterr().err
    assert (f"greys are in {kind} by their header, not in HU" in told) if kind else (told == "")


def test_of_mr_and_pet_nobody_expects_hu(tmp_path, write_series, hu, capsys) -> None:
    write_series(tmp_path, hu, Modality="MR", SOPClassUID=pydicom.uid.MRImageStorage, RescaleSlope="")
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("first", "kind"), [(0, "HU"), (-5, "HU"), (0, "US")])
def test_a_table_of_greys_is_applied(tmp_path, write_series, first, kind, capsys) -> None:
    greys = [10, 20, 40, 80, 160, 320]
    stored = np.arange(3 * 4 * 5).reshape(3, 4, 5) % 6 + first
    write_series(tmp_path, stored, ModalityLUTSequence=[table(first, greys, kind)])
    np.testing.assert_array_equal(read_volume(tmp_path).array, np.array(greys)[stored - first])
    assert ("not in HU" in capsys.readouterr().err) == (kind != "HU")


@pytest.mark.parametrize("intercept", [0, -1024])
def test_negative_numbers_that_the_header_denies(tmp_path, write_series, hu, intercept, capsys) -> None:
    """Two's complement under PixelRepresentation 0: none of the numbers is of middle size."""
    write_series(tmp_path, hu - intercept - 300, PixelRepresentation=0, RescaleIntercept=intercept)
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu - 300)
    assert "contradict PixelRepresentation: taken as int16" in capsys.readouterr().err


@pytest.mark.parametrize("intercept", [0, -1024, -32768])
def test_large_numbers_that_the_header_makes_negative(tmp_path, write_series, hu, intercept, capsys) -> None:
    write_series(tmp_path, (hu + 33000).astype(np.uint16).view(np.int16), RescaleIntercept=intercept)
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu + 33000 + intercept)
    assert "contradict PixelRepresentation: taken as uint16" in capsys.readouterr().err


def test_large_numbers_of_both_signs_stay(tmp_path, write_series, hu, capsys) -> None:
    """As some µCT scanners write them; -32768 is padding in many a clinical series."""
    write_series(tmp_path, hu * 15, Modality="CT")
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array[volume.array != -1024], (hu * 15)[hu >= -100])
    hu[:, 0] = -32768
    write_series(tmp_path, hu)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array[:, 1:], hu[:, 1:])
    assert (volume.array[:, 0] == -1024).all()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("saturated", [False, True])
def test_greys_of_all_sixteen_bits_stay(tmp_path, write_series, saturated, capsys) -> None:
    greys = np.linspace(0, 9000 if saturated else 65535, 3 * 4 * 5).reshape(3, 4, 5).astype(np.int64)
    greys[1, 2, 3] = 65535
    write_series(tmp_path, greys.astype(np.uint16).view(np.int16), PixelRepresentation=0)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, greys)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("signed", [0, 1])
def test_unused_bits_mean_nothing(tmp_path, write_series, hu, signed) -> None:
    stored = hu + (1024 if signed == 0 else 0)
    noise = np.random.default_rng(0).integers(0, 16, hu.shape) << 12
    dirty = ((stored & 0x0FFF) | noise).astype(np.uint16).view(np.int16)
    bits = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": signed}
    write_series(tmp_path, dirty, **bits, RescaleIntercept=0 if signed else -1024)
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)
    by_pydicom = [pydicom.dcmread(tmp_path / f"slice{z}.dcm").pixel_array for z in range(3)]
    np.testing.assert_array_equal(np.stack(by_pydicom), stored)


@pytest.mark.parametrize(
    "bits",
    [
        {"BitsStored": 10, "HighBit": 9, "PixelRepresentation": 1},  # HU of more than 10 bits
        {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0},  # negative
        {"BitsStored": 10, "HighBit": 15, "PixelRepresentation": 1},
    ],
)
def test_numbers_of_more_bits_than_told_are_refused(tmp_path, write_series, hu, bits) -> None:
    write_series(tmp_path, hu, **bits)
    with pytest.raises(UserError, match=rf"its numbers do not fit BitsStored {bits['BitsStored']}"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    "bits", [{"BitsStored": 16, "HighBit": 11}, {"BitsStored": 12, "HighBit": 15}, {"BitsStored": 12, "HighBit": 11}]
)
def test_a_high_bit_that_does_no_harm(tmp_path, write_series, hu, bits) -> None:
    write_series(tmp_path, hu, **bits)
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)


@pytest.mark.parametrize(
    ("kind", "tags"),
    [
        (np.uint8, {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}),
        (np.uint32, {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31, "PixelRepresentation": 0}),
        (np.int32, {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31, "PixelRepresentation": 1}),
    ],
)
def test_other_sizes_of_numbers(tmp_path, write_series, kind, tags) -> None:
    stored = np.random.default_rng(0).integers(0, np.iinfo(kind).max // 2, (3, 4, 6)).astype(kind)
    files = write_series(tmp_path, np.zeros(stored.shape, np.int16), **tags)
    for file, page in zip(files, stored, strict=True):
        changed([file], PixelData=page.tobytes())
    np.testing.assert_array_equal(read_volume(tmp_path).array, stored)


@pytest.mark.parametrize(("keyword", "kind"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_fractions(tmp_path, write_series, keyword, kind) -> None:
    greys = np.random.default_rng(0).normal(0, 300, (3, 4, 6)).astype(kind)
    bits = {"BitsAllocated": greys.itemsize * 8, "BitsStored": None, "HighBit": None, "PixelRepresentation": None}
    for file, page in zip(write_series(tmp_path, np.zeros(greys.shape, np.int16)), greys, strict=True):
        changed([file], **bits, **{"PixelData": None, keyword: page.tobytes()})
    np.testing.assert_allclose(read_volume(tmp_path).array, greys, rtol=1e-6)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian], ids=lambda uid: uid.name
)
@pytest.mark.parametrize("kind", ["<i2", "<u4"])
def test_numbers_plainly_stored(tmp_path, write_series, hu, syntax, kind) -> None:
    bits = 8 * np.dtype(kind).itemsize
    tags = {"BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": int("i" in kind)}
    for file, page in zip(write_series(tmp_path, hu), hu + 2000, strict=True):
        data = pydicom.dcmread(file)
        for name, value in (tags | {"RescaleIntercept": -2000}).items():
            setattr(data, name, value)
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        data.PixelData = page.astype(kind.replace("<", order)).tobytes()
        data["PixelData"].VR = "OW"
        data.file_meta.TransferSyntaxUID = syntax
        little, implicit = syntax.is_little_endian, syntax.is_implicit_VR
        pydicom.dcmwrite(file, data, implicit_vr=implicit, little_endian=little, force_encoding=True)
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)


@pytest.mark.parametrize("tags", [{"Rows": 4}, {"Columns": 8}, {"Rows": 7}, {"BitsAllocated": 8, "BitsStored": 8}])
def test_more_pixels_than_told_are_refused(tmp_path, write_series, hu, tags) -> None:
    changed(write_series(tmp_path, hu), **tags)
    with pytest.raises(UserError, match=r"slice0\.dcm cannot be read to its end: it holds \d+ bytes more than"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    "tags",
    [
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3},
        {"PhotometricInterpretation": "YBR_FULL", "SamplesPerPixel": 3},
    ],
)
def test_colour_is_refused(tmp_path, write_series, hu, tags) -> None:
    write_series(tmp_path, hu, **tags)
    with pytest.raises(UserError, match=r"slice0\.dcm is a colour image"):
        probe(tmp_path)


@pytest.mark.parametrize("syntax", [None, RLELossless, *ENCODERS])
@pytest.mark.parametrize("left", [0.9, 0.6, "header"])
def test_a_last_slice_that_is_cut_off(tmp_path, write_series, hu, syntax, left) -> None:
    file = write_series(tmp_path, hu + 1024, **HU, PixelRepresentation=0)[-1]
    if syntax == RLELossless:
        data = pydicom.dcmread(file)
        data.compress(RLELossless)
        data.save_as(file)
    elif syntax:
        compressed_by(syntax, file)
    content = file.read_bytes()
    pixels = content.index((0x7FE0).to_bytes(2, "little") + (0x0010).to_bytes(2, "little"))
    end = pixels - 60 if left == "header" else pixels + int(left * (len(content) - pixels))
    file.write_bytes(content[:end])
    with pytest.raises(UserError, match=r"slice2\.dcm.* (is cut off|cannot be read to its end|lacks)") as caught:
        read_volume(tmp_path)
    assert "\n" not in str(caught.value)


def compressed_by(syntax: str, file: Path) -> None:
    data = pydicom.dcmread(file)
    data.PixelData = encapsulate([ENCODERS[syntax](data.pixel_array)])
    data["PixelData"].VR = "OB"
    data.file_meta.TransferSyntaxUID = syntax
    data.save_as(file)


@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLSLossless, JPEG2000Lossless])
def test_a_frame_that_ends_too_early(tmp_path, write_series, hu, syntax) -> None:
    file = write_series(tmp_path, hu + 1024, **HU, PixelRepresentation=0)[1]
    compressed_by(syntax, file)
    data = pydicom.dcmread(file)
    frame = next(generate_frames(data.PixelData, number_of_frames=1))
    data.PixelData = encapsulate([frame[: len(frame) // 2]])
    data.save_as(file)
    with pytest.raises(UserError, match=r"slice1\.dcm \(JPEG.* cannot be read to its end"):
        read_volume(tmp_path)


def test_other_size_than_the_compressed_image_has(tmp_path, write_series, hu) -> None:
    files = write_series(tmp_path, hu + 1024, **HU, PixelRepresentation=0)
    for file in files:
        compressed_by(JPEGLossless, file)
    changed(files, Rows=4)
    with pytest.raises(UserError, match=r"cannot be read to its end"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    ("tags", "value"),
    [
        ({"PixelPaddingValue": DataElement("PixelPaddingValue", "US", 64236)}, -1300),  # unsigned, of signed numbers
        ({"PixelPaddingValue": -1400, "PixelPaddingRangeLimit": -1100}, -1200),
        ({"PixelPaddingValue": -1100}, -1100),
    ],
)
def test_padding_is_found_by_what_is_stored(tmp_path, write_series, hu, tags, value) -> None:
    hu[:, 0, :3] = value
    for file in write_series(tmp_path, hu):
        changed([file], **tags)
    expected = np.zeros(hu.shape, dtype=bool)
    expected[:, 0, :3] = True
    np.testing.assert_array_equal(read_volume(tmp_path).outside, expected)


def test_eight_bit_jpeg_is_read(tmp_path, write_series) -> None:
    """Baseline JPEG loses a little; beside libjpeg-turbo's own decoding."""
    y, x = np.indices((16, 16))
    page = (8 * x + 4 * y).astype(np.uint8)
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}
    encoded = imagecodecs.jpeg8_encode(page, level=95)
    for file in write_series(tmp_path, np.zeros((3, 16, 16), np.int16), **bits):
        data = pydicom.dcmread(file)
        data.PixelData = encapsulate([encoded])
        data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
        data.save_as(file)
    expected = imagecodecs.jpeg8_decode(encoded)
    assert np.abs(read_volume(tmp_path).array.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("syntax", ["1.2.840.113619.5.2", "1.2.3", "1.2.840.10008.1.2.4.999"])
def test_a_makers_own_syntax_is_named(tmp_path, write_series, hu, syntax) -> None:
    file = write_series(tmp_path, hu)[1]
    content = file.read_bytes()
    told = ExplicitVRLittleEndian.encode() + b"\0"
    assert content.count(b"UI\x14\0" + told) == 1
    other = syntax.encode() + b"\0" * (len(syntax) % 2)
    length = len(other).to_bytes(2, "little")
    group = content[140:144]  # length of what follows, to the data set
    grown = (int.from_bytes(group, "little") + len(other) - len(told)).to_bytes(4, "little")
    content = content[:140] + grown + content[144:]
    file.write_bytes(content.replace(b"UI\x14\0" + told, b"UI" + length + other))
    with pytest.raises(UserError, match=rf"slice1\.dcm cannot be read .*TransferSyntaxUID {syntax} is known to nobody"):
        read_volume(tmp_path)
