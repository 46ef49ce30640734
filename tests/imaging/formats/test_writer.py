from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK

from ctsr.errors import UserError
from ctsr.imaging.formats.readers import read_volume
from ctsr.imaging.formats.writer import write_volume
from ctsr.imaging.volume import Volume


@pytest.fixture
def volume() -> Volume:
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0] * (2.0, 0.6, 0.5)
    affine[:3, 3] = (10, -20, 30)
    return Volume(np.random.default_rng(1).integers(-1000, 1000, (3, 4, 5)).astype(np.int16), affine)


@pytest.mark.parametrize("name", ["out.nii", "out.nii.gz"])
def test_reads_back_the_same(tmp_path, volume, name) -> None:
    write_volume(tmp_path / name, volume)
    again = read_volume(tmp_path / name)
    assert again.array.dtype == np.int16
    np.testing.assert_array_equal(again.array, volume.array)
    np.testing.assert_allclose(again.affine, volume.affine, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_simpleitk_sees_the_same_world(tmp_path, volume) -> None:
    write_volume(tmp_path / "out.nii.gz", volume)
    image = SimpleITK.ReadImage(str(tmp_path / "out.nii.gz"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), volume.array)
    point = np.array(image.TransformIndexToPhysicalPoint((4, 3, 2))) * [-1, -1, 1]
    np.testing.assert_allclose(point, (volume.affine @ [2, 3, 4, 1])[:3], atol=1e-4)


def test_a_mask_is_stored_as_bytes(tmp_path, volume) -> None:
    write_volume(tmp_path / "mask.nii", Volume(volume.array > 0, volume.affine))
    assert nibabel.load(tmp_path / "mask.nii").get_data_dtype() == np.uint8


def test_shear_goes_to_the_sform_only(tmp_path, volume) -> None:
    affine = volume.affine.copy()
    affine[:3, 0] += 0.3 * affine[:3, 1]  # a tilted gantry
    write_volume(tmp_path / "out.nii", Volume(volume.array, affine))
    assert nibabel.load(tmp_path / "out.nii").header["qform_code"] == 0
    np.testing.assert_allclose(read_volume(tmp_path / "out.nii").affine, affine, atol=1e-5)


def test_other_endings_are_refused(tmp_path, volume) -> None:
    with pytest.raises(UserError, match=r"name it \.nii"):
        write_volume(tmp_path / "out.mha", volume)
