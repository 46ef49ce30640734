from __future__ import annotations

import numpy as np
import pytest
import tifffile

from ctsr.errors import UserError
from ctsr.imaging.readers import probe, read_volume


@pytest.fixture
def greys() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 60000, (12, 5, 7), dtype=np.uint16)


def test_slices_are_sorted_by_number(tmp_path, greys) -> None:
    for index, page in enumerate(greys):
        tifffile.imwrite(tmp_path / f"Scan_{index}.tif", page)  # Scan_10 would sort before Scan_2
    (tmp_path / "SOURCES.md").write_text("notes")
    volume = read_volume(tmp_path, spacing=0.05)
    np.testing.assert_array_equal(volume.array, greys)
    assert volume.array.dtype == np.uint16
    assert (volume.spacing, volume.slice_axis) == (pytest.approx((0.05, 0.05, 0.05)), 0)


def test_multi_page_file(tmp_path, greys) -> None:
    tifffile.imwrite(tmp_path / "scan.tiff", greys, photometric="minisblack")
    volume = read_volume(tmp_path / "scan.tiff", spacing=[0.06, 0.05, 0.04])
    np.testing.assert_array_equal(volume.array, greys)
    assert volume.spacing == pytest.approx((0.06, 0.05, 0.04))
    header = probe(tmp_path / "scan.tiff", spacing=[0.06, 0.05, 0.04])
    assert (header.shape, header.format) == (greys.shape, "tiff")
    np.testing.assert_array_equal(header.affine, volume.affine)


def test_axes_point_up_back_and_left(tmp_path, greys) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", greys)
    affine = read_volume(tmp_path / "scan.tif", spacing=0.05).affine
    np.testing.assert_allclose(affine @ [1, 0, 0, 0], [0, 0, 0.05, 0])
    np.testing.assert_allclose(affine @ [0, 1, 0, 0], [0, -0.05, 0, 0])
    np.testing.assert_allclose(affine @ [0, 0, 1, 0], [-0.05, 0, 0, 0])


def test_floats_become_float32(tmp_path, greys) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", greys.astype(np.float64))
    assert read_volume(tmp_path / "scan.tif", spacing=0.05).array.dtype == np.float32


@pytest.mark.parametrize("spacing", [None, 0.0, [0.05, 0.05], [0.05, -1.0, 0.05]])
def test_spacing_is_asked_for(tmp_path, greys, spacing) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", greys)
    with pytest.raises(UserError, match=r"file_spacing="):
        probe(tmp_path / "scan.tif", spacing)


def test_unlike_slices_colour_and_broken_files_are_refused(tmp_path, greys) -> None:
    for name, page in [("0.tif", greys[0]), ("1.tif", greys[1, :4])]:
        tifffile.imwrite(tmp_path / name, page)
    with pytest.raises(UserError, match=r"1\.tif is \(4, 7\)"):
        read_volume(tmp_path, spacing=0.05)
    tifffile.imwrite(tmp_path / "0.tif", np.arange(105, dtype=np.uint8).reshape(5, 7, 3), photometric="rgb")
    for path in (tmp_path, tmp_path / "0.tif"):
        with pytest.raises(UserError, match=r"0\.tif is a colour image"):
            read_volume(path, spacing=0.05)
    (tmp_path / "0.tif").write_text("no scan")
    with pytest.raises(UserError, match=r"0\.tif is not a readable TIFF"):
        read_volume(tmp_path, spacing=0.05)


@pytest.mark.realdata
def test_real_stacks(shared_data) -> None:
    bone = read_volume(shared_data / "micro" / "lhdl-3155-trabecular", spacing=0.0195)
    assert (bone.array.shape, bone.array.dtype) == ((200, 200, 200), np.uint8)
    weave = read_volume(shared_data / "micro" / "puma-fiberform" / "small_weave.tif", spacing=0.001)
    assert weave.array.shape == (150, 150, 150)
