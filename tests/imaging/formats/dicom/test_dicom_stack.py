"""Slices become one regular grid, as exactly as their positions are written; else it is told why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset

from ctsr.errors import UserError
from ctsr.imaging.formats.readers import probe, read_volume
from tests.imaging.formats import scan_files
from tests.imaging.formats.scan_files import Scan


def placed(files: list[Path], positions: np.ndarray, **tags: Any) -> None:
    for file, position in zip(files, positions, strict=True):
        data = pydicom.dcmread(file)
        data.ImagePositionPatient = [str(float(v)) for v in position]
        for name, value in tags.items():
            setattr(data, name, value)
        data.save_as(file)


def along_z(distances: np.ndarray) -> np.ndarray:
    return np.stack([np.full(len(distances), -180.5), np.full(len(distances), -170.25), distances], axis=1)


def numbered(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.int16)[:, None, None] + np.zeros((1, 3, 4), np.int16)


@pytest.mark.parametrize(
    ("step", "decimals"), [(0.625, 1), (0.6, 1), (0.75, 1), (1.25, 1), (2.5, 0), (0.33, 2), (0.625, 2), (3.0, 0)]
)
@pytest.mark.parametrize("start", [0.0, -312.17])
@pytest.mark.parametrize("cut", [np.round, lambda v, d: np.trunc(v * 10**d) / 10**d])
def test_positions_with_few_decimals_are_regular(tmp_path, write_series, step, decimals, start, cut) -> None:
    files = write_series(tmp_path, numbered(25))
    placed(files, along_z(cut(start + step * np.arange(25), decimals)))
    volume = read_volume(tmp_path)
    assert volume.spacing[0] == pytest.approx(step, abs=10.0**-decimals / 24)
    assert (np.diff(volume.array[:, 0, 0]) == 1).all()


@pytest.mark.parametrize(
    ("step", "decimals"), [(0.625, 1), (0.6, 1), (1.25, 1), (2.5, 0), (1.0, 0), (1.0, 6), (0.1, 1)]
)
@pytest.mark.parametrize("missing", [1, 2, 7, 13])
def test_a_missing_slice_is_not_rounding(tmp_path, write_series, step, decimals, missing) -> None:
    files = write_series(tmp_path, numbered(14))
    distances = np.round(7.3 + step * np.delete(np.arange(15), missing), decimals)
    placed(files, along_z(distances))
    with pytest.raises(
        UserError, match=rf"between slice{missing - 1}\.dcm and slice{missing}\.dcm, .* is a slice missing"
    ):
        probe(tmp_path)


def test_a_slice_out_of_its_place_is_not_rounding(tmp_path, write_series) -> None:
    distances = np.round(0.6 * np.arange(12), 1)
    distances[5] += 0.2
    placed(write_series(tmp_path, numbered(12)), along_z(distances))
    told = r"slice5\.dcm is out of its place, 0\.8 mm from slice4\.dcm and 0\.4 mm from slice6\.dcm, where 0\.6 mm"
    with pytest.raises(UserError, match=told):
        probe(tmp_path)


def two_stacks(first: int, second: int, step: float, apart: float) -> np.ndarray:
    return np.sort(np.concatenate([step * np.arange(first), step * np.arange(second) + apart]))


@pytest.mark.parametrize(
    ("distances", "nearest"),
    [
        (two_stacks(8, 8, 2, 0.9), "0.9 to 1.1"),
        (two_stacks(8, 8, 2, 1.1), "0.9 to 1.1"),
        (two_stacks(8, 8, 2, 0.3), "0.3 to 1.7"),
        (two_stacks(8, 7, 2, 0.3), "0.3 to 1.7"),
        (two_stacks(12, 12, 2, 0.5), "0.5 to 1.5"),
        (two_stacks(10, 10, 2, 12.9), "0.9 to 2"),  # over a part of their lengths
        (two_stacks(10, 10, 2, 4.9), "0.9 to 2"),
        (np.concatenate([np.arange(10), 9 + 1.25 * np.arange(1, 8)]), "1 to 1.25"),  # one after the other
        (np.cumsum([1.0] * 40 + [1.0098] * 40), "1 to 1.01"),  # each distance alone is as usual
    ],
)
def test_overlapping_or_uneven_stacks_are_told_as_such(tmp_path, write_series, distances, nearest) -> None:
    placed(write_series(tmp_path, numbered(len(distances))), along_z(distances))
    with pytest.raises(UserError, match=rf"unevenly spaced, or one stack overlaps another: .* {nearest} mm") as refused:
        probe(tmp_path)
    assert "missing" not in str(refused.value)
    assert "sideways" not in str(refused.value)


@pytest.mark.parametrize("off", [0.11, -0.11])
def test_what_lies_off_along_the_stack_is_not_sideways(tmp_path, write_series, off) -> None:
    """Less than what rounding of positions explains, and yet not regular."""
    distances = np.round(1.0 * np.arange(16), 1)
    distances[1::2] += off
    placed(write_series(tmp_path, numbered(16)), along_z(np.round(distances, 2)))
    with pytest.raises(UserError, match="unevenly spaced, or one stack overlaps another"):
        probe(tmp_path)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_slice_shifted_sideways_is_told_as_such(tmp_path, write_series, axis) -> None:
    positions = along_z(1.0 * np.arange(9))
    positions[4, axis] += 3
    placed(write_series(tmp_path, numbered(9)), positions)
    with pytest.raises(UserError, match=r"slice4\.dcm is shifted sideways"):
        probe(tmp_path)


@pytest.mark.parametrize("missing", [[5], [3, 9], [4, 5, 6], [2, 8, 12]])
def test_missing_slices_are_told_as_such(tmp_path, write_series, missing) -> None:
    distances = np.delete(1.5 * np.arange(16), missing)
    placed(write_series(tmp_path, numbered(len(distances))), along_z(distances))
    before = missing[0] - 1
    with pytest.raises(UserError, match=rf"slice{before}\.dcm and slice{before + 1}\.dcm, where 1\.5 mm .*missing"):
        probe(tmp_path)


@pytest.mark.parametrize("decimals", [2, 3, 4, 6])
def test_directions_with_few_decimals(tmp_path, write_series, decimals) -> None:
    """Beside ITK, for which they are given exactly."""
    turn = np.reshape(SimpleITK.Euler3DTransform((0, 0, 0), 0.21, -0.13, 0.4).GetMatrix(), (3, 3))
    files = write_series(tmp_path, numbered(5), directions=(tuple(turn[:, 0]), tuple(turn[:, 1])))
    for file in files:
        data = pydicom.dcmread(file)
        data.ImageOrientationPatient = [round(float(v), decimals) for v in turn[:, :2].T.ravel()]
        data.save_as(file)
    affine = read_volume(tmp_path).affine
    exact = np.diag([-1, -1, 1]) @ turn[:, ::-1] * (2.0, 0.5, 0.7)
    np.testing.assert_allclose(affine[:3, :3], exact, atol=10.0**-decimals * 2)
    right, down = affine[:3, 2] / 0.7, affine[:3, 1] / 0.5
    np.testing.assert_allclose([right @ right, down @ down, right @ down], [1, 1, 0], atol=1e-9)


@pytest.mark.parametrize("written", ["0.703", "0.7031", "0.70", "0.7031250"])
def test_pixel_spacing_rounded_in_some_slices(tmp_path, write_series, written) -> None:
    for file in write_series(tmp_path, numbered(4), spacing=(2.0, 0.703125, 0.703125))[:2]:
        data = pydicom.dcmread(file)
        data.PixelSpacing = [written, written]
        data.save_as(file)
    assert read_volume(tmp_path).spacing == pytest.approx((2.0, 0.703125, 0.703125), abs=1e-9)


@pytest.mark.parametrize("other", [0.71, 0.7041, 0.68])
def test_another_pixel_spacing_is_refused(tmp_path, write_series, other) -> None:
    write_series(tmp_path, numbered(4), spacing=(2.0, 0.703125, 0.703125), uid="1.2.3")
    write_series(tmp_path, numbered(1), spacing=(2.0, other, other), uid="1.2.3", first=(0, 0, 8), names=["b.dcm"])
    with pytest.raises(UserError, match=r"differs from .* in size, spacing or orientation"):
        probe(tmp_path)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PixelSpacing", [0.0, 0.7]),
        ("PixelSpacing", [-0.7, 0.7]),
        ("PixelSpacing", ["nan", "0.7"]),
        ("PixelSpacing", ["0.7"]),
        ("PixelSpacing", ["0.7", "0.7", "1"]),
        ("ImagePositionPatient", ["0", "0", "nan"]),
        ("ImagePositionPatient", ["0", "0", "inf"]),
        ("ImagePositionPatient", ["0", "0"]),
        ("ImageOrientationPatient", [0, 0, 0, 0, 0, 0]),
        ("ImageOrientationPatient", [2, 0, 0, 0, 2, 0]),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("ImageOrientationPatient", [1, 0, 0, 0.2, 0.98, 0]),
        ("ImageOrientationPatient", ["1", "0", "0", "0", "nan", "0"]),
    ],
)
def test_senseless_geometry_is_refused(tmp_path, write_series, keyword, value) -> None:
    file = write_series(tmp_path, numbered(4))[1]
    with pydicom.config.disable_value_validation():
        data = pydicom.dcmread(file)
        setattr(data, keyword, value)
        data.save_as(file)
    with pytest.raises(UserError, match=rf"slice1\.dcm: {keyword} .*makes no sense"):
        probe(tmp_path)


@pytest.mark.parametrize("keyword", ["PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"])
@pytest.mark.parametrize("value", [None, "", "\\\\"])
def test_no_geometry_is_refused(tmp_path, write_series, keyword, value) -> None:
    file = write_series(tmp_path, numbered(4))[3]
    data = pydicom.dcmread(file)
    if value is None:
        del data[keyword]
    else:
        setattr(data, keyword, value)
    data.save_as(file)
    with pytest.raises(UserError, match=r"slice3\.dcm lacks its position, orientation or pixel spacing"):
        probe(tmp_path)


@pytest.mark.parametrize("thickness", [None, "", "0", "-1", "nan"])
def test_one_slice_of_unknown_thickness_is_told(tmp_path, write_series, thickness, capsys) -> None:
    (file,) = write_series(tmp_path, numbered(1))
    with pydicom.config.disable_value_validation():
        data = pydicom.dcmread(file)
        if thickness is None:
            del data.SliceThickness
        else:
            data.SliceThickness = thickness
        data.save_as(file)
    assert read_volume(tmp_path).spacing == pytest.approx((1.0, 0.5, 0.7))
    assert "the thickness of its one slice is not told, 1 mm is taken" in capsys.readouterr().err


@pytest.mark.parametrize("tags", [{"SpacingBetweenSlices": 5.0}, {"SliceThickness": 1.0}, {"SliceLocation": 7.0}])
def test_positions_win(tmp_path, write_series, tags) -> None:
    write_series(tmp_path, numbered(4), **tags)
    assert read_volume(tmp_path).spacing[0] == pytest.approx(2.0)


@pytest.fixture
def enhanced(tmp_path: Path) -> Path:
    greys = np.random.default_rng(0).integers(-1000, 1000, (6, 4, 5))
    scan = Scan(greys, (2.0, 0.5, 0.7), np.eye(3)[::-1], (1.0, 2.0, 3.0), intercept=-1024)
    return scan_files.dicom_multi_frame(scan, tmp_path / "scan")


def test_frames_may_have_slopes_of_their_own(enhanced: Path) -> None:
    data = pydicom.dcmread(enhanced)
    del data.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    places, expected = [], []
    for number, frame in enumerate(data.PerFrameFunctionalGroupsSequence):
        scale = Dataset()
        scale.RescaleSlope, scale.RescaleIntercept = 1 + number, -10 * number
        frame.PixelValueTransformationSequence = [scale]
        places.append(frame.PlanePositionSequence[0].ImagePositionPatient[2])
        expected.append((1.0 + number) * data.pixel_array[number] - 10 * number)
    data.save_as(enhanced)
    np.testing.assert_array_equal(read_volume(enhanced).array, np.array(expected)[np.argsort(places)])


def test_two_time_points_are_no_volume(enhanced: Path) -> None:
    data = pydicom.dcmread(enhanced)
    for number, frame in enumerate(data.PerFrameFunctionalGroupsSequence):
        frame.PlanePositionSequence[0].ImagePositionPatient = [1, 2, 3 + 2.0 * (number % 3)]
    data.save_as(enhanced)
    with pytest.raises(
        UserError,
        match=r"no distance between frame .* of all\.dcm and frame .*: keep one of them, and one stack of one time",
    ):
        read_volume(enhanced)


def test_two_stacks_are_no_volume(enhanced: Path) -> None:
    data = pydicom.dcmread(enhanced)
    for frame in data.PerFrameFunctionalGroupsSequence[:3]:
        frame.PlanePositionSequence[0].ImagePositionPatient[2] += 100
    data.save_as(enhanced)
    with pytest.raises(UserError, match="is a slice missing"):
        read_volume(enhanced)


def test_frames_that_do_not_tell_where_they_lie(enhanced: Path) -> None:
    data = pydicom.dcmread(enhanced)
    data.PerFrameFunctionalGroupsSequence = data.PerFrameFunctionalGroupsSequence[:4]
    data.save_as(enhanced)
    with pytest.raises(UserError, match=r"all\.dcm holds 6 frames, but tells where 4 lie"):
        read_volume(enhanced)


def test_a_volume_in_several_files_of_several_frames(enhanced: Path) -> None:
    whole, data = read_volume(enhanced), pydicom.dcmread(enhanced)
    stored, frames = data.pixel_array, data.PerFrameFunctionalGroupsSequence
    for part, name in ((slice(0, 2), "a.dcm"), (slice(2, 5), "b.dcm"), (slice(5, 6), "c.dcm")):
        data.NumberOfFrames = len(stored[part])
        data.PerFrameFunctionalGroupsSequence = frames[part]
        data.PixelData = stored[part].tobytes()
        data.save_as(enhanced.with_name(name))
    enhanced.unlink()
    volume = read_volume(enhanced.parent)
    np.testing.assert_array_equal(volume.array, whole.array)
    np.testing.assert_allclose(volume.affine, whole.affine)
