"""Volumes written slice by slice, read back by other libraries."""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Iterable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from ctsr.imaging.orientation import Orientation, find_orientation
from ctsr.inference import nifti_stream as module
from ctsr.inference.nifti_stream import RAW, nifti_stream
from tests.memory import anonymous

AFFINE = np.array([[0, 0, -0.5, 10], [0, -0.5, 0, 20], [2.0, 0, 0, 30], [0, 0, 0, 1.0]])
UNTURNED = find_orientation(AFFINE, 0)
SHAPE = (4, 5, 6)
VOXELS = np.random.default_rng(0).normal(0, 1000, SHAPE).astype(np.float32)
TURNED = {
    "following": Orientation((0, 1, 2), (1, 1, 1)),
    "reversed": Orientation((0, 2, 1), (-1, 1, -1)),
    "along rows": Orientation((1, 0, 2), (1, -1, 1)),
    "along columns": Orientation((2, 1, 0), (1, 1, 1)),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where volumes are worked on."""
    (tmp_path / "partial").mkdir()
    return tmp_path / "partial"


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume of a few voxels is compressed in many pieces."""
    monkeypatch.setattr(module, "CHUNK", 40)


def fill(
    output: Path,
    folder: Path,
    orientation: Orientation = UNTURNED,
    written: Iterable[int] = range(SHAPE[0]),
    kept: Iterable[int] = (),
    level: int = 1,
) -> None:
    """Write a volume's slices; those that are kept, an earlier call has written."""
    with nifti_stream(output, folder, SHAPE, AFFINE, orientation, level) as stream:
        for z in kept:
            stream.keep(z)
        for z in written:
            stream.write(z, VOXELS[z].copy())


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz", "X.NII.GZ"])
def test_other_libraries_read_it(tmp_path: Path, folder: Path, name: str) -> None:
    voxels = VOXELS.copy()
    voxels[0, 0, :2] = [1e6, -1e6]
    with nifti_stream(tmp_path / name, folder, SHAPE, AFFINE, UNTURNED) as stream:
        for z, plane in enumerate(voxels):
            stream.write(z, plane.copy())
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


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize("turn", TURNED)
def test_what_is_compressed_is_what_is_written(tmp_path: Path, folder: Path, turn: str, level: int) -> None:
    fill(tmp_path / "a.nii", folder, TURNED[turn])
    fill(tmp_path / "a.nii.gz", folder, TURNED[turn], level=level)
    with gzip.open(tmp_path / "a.nii.gz") as packed:
        assert packed.read() == (tmp_path / "a.nii").read_bytes()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("turn", TURNED)
@pytest.mark.parametrize("before", [(0, 1), (3, 2), (2,), (1, 3, 0), (0, 1, 2, 3)])
def test_the_bytes_do_not_tell_in_how_many_sessions_it_was_filled(
    tmp_path: Path, folder: Path, turn: str, before: tuple[int, ...]
) -> None:
    orientation = TURNED[turn]
    for name in ("once.nii.gz", "again.nii.gz"):
        fill(tmp_path / name, folder, orientation)
    missing = [z for z in range(SHAPE[0]) if z not in before]
    with pytest.raises(IndexError):  # after those before
        fill(tmp_path / "twice.nii.gz", folder, orientation, written=[*before, SHAPE[0]])
    assert not (tmp_path / "twice.nii.gz").exists()
    fill(tmp_path / "twice.nii.gz", folder, orientation, written=missing, kept=before)
    once, again, twice = ((tmp_path / f"{name}.nii.gz").read_bytes() for name in ("once", "again", "twice"))
    assert once == again == twice


@pytest.mark.parametrize("turn", TURNED)
def test_a_checksum_is_of_the_slice_in_the_file(tmp_path: Path, folder: Path, turn: str) -> None:
    with nifti_stream(tmp_path / "x.nii", folder, SHAPE, AFFINE, TURNED[turn]) as stream:
        written = [stream.write(z, VOXELS[z].copy()) for z in range(SHAPE[0])]
    (tmp_path / "x.nii").rename(folder / RAW)
    with nifti_stream(tmp_path / "x.nii", folder, SHAPE, AFFINE, TURNED[turn]) as stream:
        assert [stream.checksum(z) for z in range(SHAPE[0])] == written
        stream.write(2, VOXELS[2] + 100)
        changed = [stream.checksum(z) != before for z, before in enumerate(written)]
        assert changed == [False, False, True, False]


def test_a_failed_run_keeps_what_was(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "x.nii.gz").write_text("older result")
    with pytest.raises(IndexError):
        fill(tmp_path / "x.nii.gz", folder, written=[0, SHAPE[0]])
    assert (tmp_path / "x.nii.gz").read_text() == "older result"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["partial", "x.nii.gz"]


def test_memory_does_not_grow_with_slices(tmp_path: Path, folder: Path) -> None:
    plane = np.ones((512, 512), np.float32)
    with nifti_stream(tmp_path / "x.nii.gz", folder, (300, 512, 512), AFFINE, UNTURNED) as stream:
        for z in range(8):
            stream.write(z, plane)
        before = anonymous()
        for z in range(8, 300):
            stream.write(z, plane)
        assert anonymous() - before < 16e6  # of 157 MB written


def test_a_full_disk_is_an_error_that_names_the_output(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"No space left.*x\.nii\.gz"):
        fill(tmp_path / "x.nii.gz", folder)


def test_a_disk_that_fills_while_it_compresses_is_an_error_that_names_the_output(tmp_path: Path, folder: Path) -> None:
    (folder / "voxels.nii.gz").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left.*x\.nii\.gz"):
        fill(tmp_path / "x.nii.gz", folder)
    assert not (tmp_path / "x.nii.gz").exists()
