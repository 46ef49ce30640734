from __future__ import annotations

import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK

from ctsr.errors import UserError
from ctsr.imaging.formats.readers import probe, read_volume

OBLIQUE = tuple(map(tuple, np.linalg.qr([[0.9, 0.2, 0.1], [-0.3, 0.8, 0.2], [0.1, -0.4, 1.0]])[0][:, :2].T.tolist()))


@pytest.fixture
def stored() -> np.ndarray:
    return np.random.default_rng(0).integers(-200, 3000, (5, 6, 7), dtype=np.int16)


def test_oblique_series_with_shuffled_names_is_read_in_world_geometry(tmp_path, write_series, stored) -> None:
    names = ["c.dcm", "a.dcm", "e.dcm", "b.dcm", "d.dcm"]
    rescale = {"RescaleSlope": 2, "RescaleIntercept": -1024}
    files = write_series(tmp_path, stored, OBLIQUE, (10.0, -20.0, 30.0), names=names, **rescale)

    volume = read_volume(tmp_path)

    assert volume.spacing == pytest.approx((2.0, 0.5, 0.7))
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, 2 * stored.astype(int) - 1024)
    # DICOM PS3.3 C.7.6.2.1.1: position of pixel (row, column), in LPS
    header = pydicom.dcmread(files[3])
    right, down = np.array(header.ImageOrientationPatient).reshape(2, 3)
    point = np.array(header.ImagePositionPatient) + 5 * 0.7 * right + 4 * 0.5 * down
    np.testing.assert_allclose(volume.affine @ [3, 4, 5, 1], [-point[0], -point[1], point[2], 1], atol=1e-6)


def test_agrees_with_itk_on_geometry(tmp_path, write_series, stored) -> None:
    write_series(tmp_path, stored, OBLIQUE, (10.0, -20.0, 30.0))
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    volume = read_volume(tmp_path)
    for z, y, x in [(0, 0, 0), (4, 5, 6), (2, 1, 3)]:
        point = image.TransformIndexToPhysicalPoint((x, y, z))
        np.testing.assert_allclose((volume.affine @ [z, y, x, 1])[:3] * [-1, -1, 1], point, atol=1e-4)


def test_probe_equals_what_is_read(tmp_path, write_series, stored) -> None:
    write_series(tmp_path, stored, OBLIQUE)
    header, volume = probe(tmp_path), read_volume(tmp_path)
    assert (header.shape, header.format, header.slice_axis) == (volume.array.shape, "dicom", volume.slice_axis)
    np.testing.assert_array_equal(header.affine, volume.affine)


def test_slope_may_change_from_slice_to_slice(tmp_path, write_series, stored) -> None:
    files = write_series(tmp_path, stored)
    header = pydicom.dcmread(files[2])
    header.RescaleSlope, header.RescaleIntercept = 0.5, 10
    header.save_as(files[2])
    expected = stored.astype(np.float32)
    expected[2] = 0.5 * expected[2] + 10
    np.testing.assert_allclose(read_volume(tmp_path).array, expected)


@pytest.mark.parametrize(("tags", "value"), [({"PixelPaddingValue": -1100}, -1100), ({}, -2048), ({}, -3024)])
def test_padding_is_marked_and_becomes_air(tmp_path, write_series, stored, tags, value) -> None:
    stored[:, 0, :3] = value
    write_series(tmp_path, stored, **tags)
    volume = read_volume(tmp_path)
    expected = np.zeros(stored.shape, dtype=bool)
    expected[:, 0, :3] = True
    np.testing.assert_array_equal(volume.outside, expected)
    assert (volume.array[expected] == -1024).all()
    assert volume.padding == value
    np.testing.assert_array_equal(volume.array[~expected], stored[~expected])


def test_padding_tag_within_tissue_is_not_believed(tmp_path, write_series, stored) -> None:
    stored[1] = 0
    write_series(tmp_path, stored, PixelPaddingValue=0)
    assert read_volume(tmp_path).outside is None


def test_one_slice_has_its_thickness(tmp_path, write_series, stored) -> None:
    write_series(tmp_path, stored[:1], SliceThickness=1.25)
    assert read_volume(tmp_path).spacing == pytest.approx((1.25, 0.5, 0.7))


def test_the_thickness_of_overlapping_slices_is_told(tmp_path, write_series, stored) -> None:
    write_series(tmp_path, stored, SliceThickness=3.25)
    assert read_volume(tmp_path).thickness == probe(tmp_path).thickness == 3.25
    assert read_volume(tmp_path).spacing[0] == 2


def test_missing_slice_is_named(tmp_path, write_series, stored) -> None:
    write_series(tmp_path, stored)[2].unlink()
    with pytest.raises(UserError, match=r"4 mm between slice1.dcm and slice3.dcm, where 2 mm is usual"):
        read_volume(tmp_path)


def test_duplicate_slice_is_named(tmp_path, write_series, stored) -> None:
    files = write_series(tmp_path, stored)
    shutil.copy(files[2], tmp_path / "again.dcm")
    with pytest.raises(UserError, match=r"again\.dcm") as caught:
        probe(tmp_path)
    assert "slice2.dcm" in str(caught.value)


def test_several_series_are_listed(tmp_path, write_series, stored) -> None:
    write_series(tmp_path, stored, uid="1.2.3")
    names = ["x.dcm", "y.dcm", "z.dcm"]
    write_series(tmp_path, stored[:3], uid="1.2.4", names=names, SeriesNumber=7, SeriesDescription="LUNG 1.25")
    with pytest.raises(UserError, match=r"series=.* of 1\.2\.3 \(5 slices\); 7 'LUNG 1\.25' \(3 slices\)"):
        read_volume(tmp_path)


@pytest.mark.parametrize(("series", "slices"), [("1.2.3", 5), ("1.2.4", 3), ("7", 3), ("lung", 3), ("8", 4)])
def test_one_of_several_series_is_picked(tmp_path, write_series, stored, series, slices) -> None:
    write_series(tmp_path, stored, uid="1.2.3", SeriesNumber=6, SeriesDescription="soft 2.5")
    names = [f"x{k}.dcm" for k in range(4)]
    write_series(tmp_path, stored[:3], uid="1.2.4", names=names, SeriesNumber=7, SeriesDescription="LUNG 1.25")
    names = [f"y{k}.dcm" for k in range(4)]
    write_series(tmp_path, stored[:4], uid="1.2.5", names=names, SeriesNumber=8, SeriesDescription="Soft 1.25")
    np.testing.assert_array_equal(read_volume(tmp_path, series=series).array, stored[:slices])
    assert probe(tmp_path, series=series).shape[0] == slices


@pytest.mark.parametrize(("series", "count"), [("soft", "2 series"), ("bone", "no series")])
def test_a_pick_that_is_none_is_refused(tmp_path, write_series, stored, series, count) -> None:
    write_series(tmp_path, stored, uid="1.2.3", SeriesDescription="soft 2.5")
    write_series(tmp_path, stored, uid="1.2.4", names=[f"x{k}.dcm" for k in range(5)], SeriesDescription="Soft 1.25")
    with pytest.raises(UserError, match=rf"holds {count} that match series={series}"):
        read_volume(tmp_path, series=series)


@pytest.mark.parametrize("tags", [{}, {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}])
def test_scouts_beside_the_one_scan_are_passed_over(tmp_path, write_series, stored, tags) -> None:
    write_series(tmp_path, stored, uid="1.2.3")
    scouts = stored[:4] if tags else stored[:2]
    write_series(tmp_path, scouts, uid="1.2.4", names=["a.dcm", "b.dcm", "c.dcm", "d.dcm"], **tags)
    np.testing.assert_array_equal(read_volume(tmp_path).array, stored)


def test_slices_of_another_size_are_refused(tmp_path, write_series, stored) -> None:
    write_series(tmp_path, stored, uid="1.2.3")
    write_series(tmp_path, stored[:1, :4], uid="1.2.3", first=(0, 0, 50), names=["scout.dcm"])
    with pytest.raises(UserError, match=r"scout\.dcm"):
        read_volume(tmp_path)


def test_slices_shifted_sideways_are_refused(tmp_path, write_series, stored) -> None:
    files = write_series(tmp_path, stored)
    header = pydicom.dcmread(files[2])
    header.ImagePositionPatient = [3.0, 0.0, 4.0]
    header.save_as(files[2])
    with pytest.raises(UserError, match=r"slice2\.dcm is shifted sideways"):
        read_volume(tmp_path)


def test_slices_without_a_position_are_refused(tmp_path, write_series, stored) -> None:
    files = write_series(tmp_path, stored)
    header = pydicom.dcmread(files[0])
    del header.ImagePositionPatient
    header.save_as(files[0])
    with pytest.raises(UserError, match=r"slice0\.dcm lacks its position"):
        read_volume(tmp_path)


@pytest.mark.realdata
def test_rider(shared_data) -> None:
    folder = shared_data / "clinical" / "rider-pilot-0117"
    volume = read_volume(folder)
    image = SimpleITK.ReadImage(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    greys = SimpleITK.GetArrayFromImage(image)
    np.testing.assert_array_equal(volume.outside, greys == -3024)
    np.testing.assert_array_equal(volume.array, np.where(greys == -3024, -1024, greys))
    assert volume.spacing == pytest.approx((0.8, 0.644531, 0.644531), abs=1e-5)
    origin = (volume.affine @ [0, 0, 0, 1])[:3] * [-1, -1, 1]
    np.testing.assert_allclose(origin, image.GetOrigin(), atol=1e-4)


@pytest.mark.realdata
def test_almost_tagless_slices(shared_data) -> None:
    volume = read_volume(shared_data / "clinical" / "lungmask-testdata")
    assert volume.array.shape == (2, 512, 512)
    assert volume.outside is not None
    assert volume.outside[0, 0, 0]
    assert not volume.outside[0, 256, 256]


def test_each_header_is_read_once_and_each_image_once(tmp_path, write_series, stored, monkeypatch) -> None:
    files = write_series(tmp_path, stored)
    read, dcmread = [], pydicom.dcmread
    monkeypatch.setattr(pydicom, "dcmread", lambda file, **how: read.append(file) or dcmread(file, **how))
    read_volume(tmp_path)
    assert sorted(read) == sorted(2 * files)
