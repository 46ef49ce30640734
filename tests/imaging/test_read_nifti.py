from __future__ import annotations

import nibabel
import numpy as np
import pytest

from ctsr.errors import UserError
from ctsr.imaging.padding import PADDING_BELOW_HU
from ctsr.imaging.readers import probe, read_volume

AFFINE = np.array([[-0.6, 0.1, 0.0, 12.0], [0.1, 0.6, 0.05, -7.0], [0.0, -0.05, 1.5, 3.0], [0, 0, 0, 1.0]])


@pytest.fixture
def greys() -> np.ndarray:
    return np.random.default_rng(1).integers(-1000, 1000, (4, 5, 6), dtype=np.int16)  # (x, y, z) as in the file


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "Scan.2.NII.GZ"])
def test_axes_are_reversed_and_every_voxel_stays_in_place(tmp_path, greys, name) -> None:
    image = nibabel.Nifti1Image(greys, AFFINE)
    nibabel.save(image, tmp_path / name)
    volume = read_volume(tmp_path / name)
    assert volume.array.dtype == np.int16
    assert volume.slice_axis is None
    for x, y, z in [(0, 0, 0), (3, 4, 5), (1, 2, 3)]:
        assert volume.array[z, y, x] == greys[x, y, z]
        np.testing.assert_allclose(volume.affine @ [z, y, x, 1], image.affine @ [x, y, z, 1], atol=1e-5)
    header = probe(tmp_path / name)
    assert header.shape == (6, 5, 4)
    np.testing.assert_array_equal(header.affine, volume.affine)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", ">i2", "int32", "float32", "float64"])
def test_values_equal_nibabel(tmp_path, greys, dtype) -> None:
    nibabel.save(nibabel.Nifti1Image((greys // 16 + 64).astype(dtype), AFFINE, dtype=dtype), tmp_path / "scan.nii")
    array = read_volume(tmp_path / "scan.nii").array
    assert array.dtype.isnative
    assert array.dtype == (np.float32 if "f" in dtype else np.dtype(dtype).newbyteorder("="))
    np.testing.assert_array_equal(array, nibabel.load(tmp_path / "scan.nii").get_fdata().T)


def test_slope_and_intercept_are_applied(tmp_path, greys) -> None:
    image = nibabel.Nifti1Image(greys, AFFINE)
    image.header.set_slope_inter(0.5, -3.0)
    nibabel.save(image, tmp_path / "scan.nii")
    array = read_volume(tmp_path / "scan.nii").array
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, 0.5 * greys.T - 3.0)


def test_micrometres_become_millimetres(tmp_path, greys) -> None:
    image = nibabel.Nifti1Image(greys, np.diag([50.0, 50.0, 60.0, 1.0]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "scan.nii")
    assert read_volume(tmp_path / "scan.nii").spacing == pytest.approx((0.06, 0.05, 0.05))


def test_padding_is_marked_only_where_asked_for(tmp_path, greys) -> None:
    greys[0] = -3024
    nibabel.save(nibabel.Nifti1Image(greys, AFFINE), tmp_path / "scan.nii")
    assert read_volume(tmp_path / "scan.nii").outside is None
    volume = read_volume(tmp_path / "scan.nii", padding_below=PADDING_BELOW_HU)
    np.testing.assert_array_equal(volume.outside, greys.T == -3024)
    assert volume.array.min() == -1024


def test_a_last_axis_of_one_is_dropped(tmp_path, greys) -> None:
    nibabel.save(nibabel.Nifti1Image(greys[..., None], AFFINE), tmp_path / "scan.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "scan.nii").array, greys.T)


def test_other_shapes_are_refused(tmp_path, greys) -> None:
    for name, array in [("series.nii", np.stack([greys, greys], axis=-1)), ("slice.nii", greys[:, :, 0])]:
        nibabel.save(nibabel.Nifti1Image(array, AFFINE), tmp_path / name)
        with pytest.raises(UserError, match=f"{name} has the shape"):
            probe(tmp_path / name)


def test_not_a_number_is_refused(tmp_path, greys) -> None:
    floats = greys.astype(np.float32)
    floats[1, 1, 1] = np.nan
    nibabel.save(nibabel.Nifti1Image(floats, AFFINE), tmp_path / "scan.nii")
    with pytest.raises(UserError, match="NaN"):
        read_volume(tmp_path / "scan.nii")


def test_broken_files_are_refused(tmp_path, greys) -> None:
    (tmp_path / "text.nii").write_text("no scan")
    with pytest.raises(UserError, match=r"text\.nii"):
        read_volume(tmp_path / "text.nii")
    for name in ("cut.nii", "cut.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(np.tile(greys, (8, 8, 8)), AFFINE), tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match=name):
            read_volume(tmp_path / name)


def test_a_singular_affine_is_refused(tmp_path, greys) -> None:
    image = nibabel.Nifti1Image(greys, None)
    image.header.set_sform(np.diag([1.0, 1.0, 0.0, 1.0]), code=1)
    nibabel.save(image, tmp_path / "flat.nii")
    with pytest.raises(UserError, match="singular"):
        probe(tmp_path / "flat.nii")


def test_unknown_paths_name_the_formats(tmp_path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.nii does not exist"):
        read_volume(tmp_path / "nowhere.nii")
    (tmp_path / "notes.txt").write_text("no scan")
    with pytest.raises(UserError, match=r"notes\.txt .*\.nii\.gz"):
        read_volume(tmp_path / "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no scan .*DICOM"):
        read_volume(tmp_path / "empty")
    (tmp_path / "one.dcm").write_bytes(b"")
    with pytest.raises(UserError, match=r"one\.dcm is not a scan"):
        read_volume(tmp_path / "one.dcm")
