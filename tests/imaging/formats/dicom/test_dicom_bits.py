"""Bits and signs that the header tells wrongly are seen from the numbers: read right and told, or refused."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from ctsr.errors import UserError
from ctsr.imaging.formats.readers import read_volume


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
