from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from ctsr.data.finding.cases import find_cases
from ctsr.errors import UserError
from ctsr.imaging.formats.readers import probe, read_volume


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


def test_a_missing_slice_is_named(tmp_path, greys) -> None:
    for index, page in enumerate(greys):
        tifffile.imwrite(tmp_path / f"rec_{index:04d}.tif", page)
    (tmp_path / "rec_0007.tif").unlink()
    for look in (probe, read_volume):
        with pytest.raises(UserError, match=r"after rec_0006\.tif: .* go up by 1, but 7 is missing"):
            look(tmp_path, 0.05)


@pytest.mark.parametrize("preview", [np.s_[:, :], np.s_[::2, ::2]])
@pytest.mark.parametrize("name", ["rec_spr.tif", "a_thumbnail.tif"])
def test_a_preview_among_slices_is_passed_over(tmp_path, greys, name, preview, capsys) -> None:
    for index, page in enumerate(greys):
        tifffile.imwrite(tmp_path / f"rec_{index}.tif", page)
    tifffile.imwrite(tmp_path / name, greys[0][preview])
    np.testing.assert_array_equal(read_volume(tmp_path, 0.05).array, greys)
    assert f"passed over, since not named like the slices: {name}" in capsys.readouterr().err
    assert [case.path for case in find_cases(tmp_path, "micro")] == [tmp_path]


def test_pictures_beside_slices_are_passed_over(tmp_path, greys, capsys) -> None:
    for index, page in enumerate(greys):
        tifffile.imwrite(tmp_path / f"rec_{index}.tif", page)
        Image.fromarray((page >> 8).astype(np.uint8)).save(tmp_path / f"screen_{index}.png")
    np.testing.assert_array_equal(read_volume(tmp_path, 0.05).array, greys)
    assert "passed over beside TIFF: 12 pictures" in capsys.readouterr().err


def test_more_pictures_than_tiff_are_the_users_choice(tmp_path, greys) -> None:
    """As slices saved as PNG with a preview as TIFF."""
    tifffile.imwrite(tmp_path / "rec_spr.tif", greys[0])
    for index, page in enumerate(greys):
        Image.fromarray(page).save(tmp_path / f"rec_{index}.png")
    with pytest.raises(UserError, match="holds 1 TIFF files and 12 pictures: keep the slices alone"):
        probe(tmp_path, 0.05)


@pytest.mark.parametrize("pages", [2, 4])
def test_a_folder_of_volumes_is_a_list_of_cases(tmp_path, greys, pages) -> None:
    """Of two pages, too: what is no slice is not put together with others."""
    for index in range(1, 9, 3):
        tifffile.imwrite(tmp_path / f"lung{index}.tif", greys[index : index + pages], photometric="minisblack")
    assert [case.name for case in find_cases(tmp_path, "micro")] == ["lung1", "lung4", "lung7"]
    with pytest.raises(UserError, match="holds 3 TIFF files, not all of them slices: give one file, or only slices"):
        probe(tmp_path, 0.05)


def test_a_folder_with_one_file_is_that_file(tmp_path, greys) -> None:
    tifffile.imwrite(tmp_path / "lung.1.tif", greys[0])
    np.testing.assert_array_equal(read_volume(tmp_path, 0.05).array, greys[:1])
    tifffile.imwrite(tmp_path / "lung.1.tif", greys, photometric="minisblack")
    np.testing.assert_array_equal(read_volume(tmp_path, 0.05).array, greys)


@pytest.mark.realdata
def test_real_stacks(shared_data) -> None:
    bone = read_volume(shared_data / "micro" / "lhdl-3155-trabecular", spacing=0.0195)
    assert (bone.array.shape, bone.array.dtype) == ((200, 200, 200), np.uint8)
    weave = read_volume(shared_data / "micro" / "puma-fiberform" / "small_weave.tif", spacing=0.001)
    assert weave.array.shape == (150, 150, 150)
