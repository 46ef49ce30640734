"""Every way of storing pixels is read beside its writer; what is cut off, or more than told, is refused."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pydicom
import pytest
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
from ctsr.imaging.formats.readers import probe, read_volume
from tests.imaging.formats.dicom.dicom_files import changed, compressed_by
from tests.imaging.formats.scan_files import ENCODERS

HU = {"RescaleSlope": 1, "RescaleIntercept": -1024}


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
    if syntax:
        compressed_by(syntax, file)
    content = file.read_bytes()
    pixels = content.index((0x7FE0).to_bytes(2, "little") + (0x0010).to_bytes(2, "little"))
    end = pixels - 60 if left == "header" else pixels + int(left * (len(content) - pixels))
    file.write_bytes(content[:end])
    with pytest.raises(UserError, match=r"slice2\.dcm.* (is cut off|cannot be read to its end|lacks)") as caught:
        read_volume(tmp_path)
    assert "\n" not in str(caught.value)


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


@pytest.mark.parametrize("shape", [(3, 6, 7), (3, 9, 8), (3, 1, 5)])
@pytest.mark.parametrize("syntax", [RLELossless, *ENCODERS])
def test_compressed_noise(tmp_path, write_series, shape, syntax) -> None:
    noise = np.random.default_rng(0).integers(-1000, 3000, shape)
    for file in write_series(tmp_path, noise):
        compressed_by(syntax, file)
    np.testing.assert_array_equal(read_volume(tmp_path).array, noise)


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


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("stored", [12, 13])
def test_numbers_in_the_upper_bits(tmp_path, write_series, hu, signed, stored) -> None:
    offset = 0 if signed else -1024
    numbers = ((hu - offset) << (16 - stored)).astype(np.uint16).view(np.int16)
    bits = {"BitsStored": stored, "HighBit": 15, "PixelRepresentation": signed}
    write_series(tmp_path, numbers, **bits, RescaleIntercept=offset)
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)


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


def test_eight_bits_hold_no_scan(tmp_path, write_series) -> None:
    """Without the bits above them these greys would be flat and all of them air, so that nothing looks torn."""
    halves = np.where(np.arange(36).reshape(1, 4, 9) % 9 < 4, 24, 1064) + np.arange(3)[:, None, None]
    write_series(tmp_path, halves.astype(np.int16), BitsStored=8, HighBit=7, PixelRepresentation=0)
    with pytest.raises(UserError, match=r"its numbers do not fit BitsStored 8"):
        read_volume(tmp_path)
    write_series(tmp_path, (halves % 256).astype(np.int16), BitsStored=8, HighBit=7, PixelRepresentation=0)
    np.testing.assert_array_equal(read_volume(tmp_path).array, halves % 256)
