"""Volumes written slice by slice, read back by other libraries."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from ctsr.imaging.orientation import find_orientation
from ctsr.inference.nifti_stream import nifti_stream

AFFINE = np.array([[0, 0, -0.5, 10], [0, -0.5, 0, 20], [2.0, 0, 0, 30], [0, 0, 0, 1.0]])
UNTURNED = find_orientation(AFFINE, 0)


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz", "X.NII.GZ"])
def test_other_libraries_read_it(tmp_path: Path, name: str) -> None:
    voxels = np.random.default_rng(0).normal(0, 1000, (4, 5, 6)).astype(np.float32)
    voxels[0, 0, :2] = [1e6, -1e6]
    with nifti_stream(tmp_path / name, (4, 5, 6), AFFINE, UNTURNED) as stream:
        for z, plane in enumerate(voxels):
            stream[z] = plane
        assert np.array_equal(stream[2, 1:3, 2:4], np.rint(voxels[2, 1:3, 2:4]))
    expected = np.clip(np.rint(voxels), -32768, 32767)
    image = nibabel.load(tmp_path / name)
    assert np.array_equal(np.asarray(image.dataobj), expected.T)
    assert image.get_data_dtype() == np.int16
    assert (image.dataobj.slope, image.dataobj.inter) == (1.0, 0.0)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert np.allclose(image.affine, AFFINE[:, [2, 1, 0, 3]])
    other = SimpleITK.ReadImage(str((tmp_path / name).rename(tmp_path / name.lower())))
    assert np.array_equal(SimpleITK.GetArrayFromImage(other), expected)
    assert [file.name for file in tmp_path.iterdir()] == [name.lower()]


def test_the_same_volume_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        with nifti_stream(tmp_path / name, (2, 3, 4), AFFINE, UNTURNED) as stream:
            stream[1] = np.ones((3, 4), np.float32)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_an_interrupted_run_leaves_nothing_and_keeps_what_was(tmp_path: Path) -> None:
    (tmp_path / "x.nii.gz").write_text("older result")

    def interrupted() -> None:
        with nifti_stream(tmp_path / "x.nii.gz", (2, 3, 4), AFFINE, UNTURNED) as stream:
            stream[0] = np.ones((3, 4), np.float32)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [file.name for file in tmp_path.iterdir()] == ["x.nii.gz"]
    assert (tmp_path / "x.nii.gz").read_text() == "older result"


def test_memory_does_not_grow_with_slices(tmp_path: Path) -> None:
    status = Path("/proc/self/statm")
    if not status.exists():
        pytest.skip("no /proc here to read the memory in use from")
    plane = np.ones((512, 512), np.float32)

    def resident() -> int:
        return int(status.read_text().split()[1]) * 4096

    with nifti_stream(tmp_path / "x.nii", (300, 512, 512), AFFINE, UNTURNED) as stream:
        stream[0] = plane
        before = resident()
        for z in range(300):
            stream[z] = plane
        assert resident() - before < 16e6  # of 157 MB written
