"""Label maps are told from scans, written by the libraries that write such files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK
import tifffile

from ctsr.data.finding.label_maps import why_label_map
from tests.data.trees import chest, foam, itk, lung, nifti, pictures, tiff

LOBES = np.digitize(np.arange(48), [10, 20, 30, 40]).astype(np.uint8)[None, :, None] * lung(chest(0))
ORGANS = np.kron(np.arange(117).reshape(1, 9, 13), np.ones((4, 12, 12))).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "write", "labels"),
    [
        ("a.nii.gz", nifti, lung(chest(0))),
        ("a.nii", nifti, lung(chest(0)).astype(np.float32)),
        ("a.nii", nifti, ORGANS),
        ("a.nrrd", itk, LOBES.astype(np.int16)),
        ("a.mha", itk, LOBES.astype(np.float64)),
        ("a.mhd", itk, ORGANS.astype(np.uint16)),
        ("a.tif", tiff, 255 * lung(chest(0))),
        ("a", pictures, 255 * lung(chest(0))),
    ],
)
def test_label_maps_of_any_format(tmp_path: Path, name: str, write: Callable[..., Path], labels: np.ndarray) -> None:
    assert "a label map or segmentation of only" in str(why_label_map(write(tmp_path / name, labels)))


@pytest.mark.parametrize(
    ("name", "write", "scan"),
    [
        ("a.nii.gz", nifti, chest(0)),
        ("a_mask.nii", nifti, chest(0)),  # whatever its name
        ("a.nii", nifti, (chest(0) + 1024).astype(np.uint16)),
        ("a.nii", nifti, np.zeros((3, 4, 5), np.int16)),
        ("a.mha", itk, chest(0).astype(np.float32)),
        ("a.nrrd", itk, foam(0)),
        ("a.tif", tiff, (foam(0) // 256).astype(np.uint8)),  # 8 bits
        ("a.tif", tiff, (foam(0) // 4096).astype(np.uint8)),  # few greys, but none lies in patches
        ("a.tif", tiff, foam(0) / np.float32(65535)),
        ("a", pictures, (foam(0) // 256).astype(np.uint8)),
    ],
)
def test_scans_are_none(tmp_path: Path, name: str, write: Callable[..., Path], scan: np.ndarray) -> None:
    path = write(tmp_path / name, scan)
    assert why_label_map(path) is None
    assert why_label_map(path, expected=True) is None or not scan.any()


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("empty.nii.gz", np.zeros((3, 4, 5), np.uint8)),
        ("probabilities.nii.gz", np.exp(-(np.linspace(-9, 9, 480, dtype=np.float32) ** 2)).reshape(1, 20, 24)),
        ("many.nii.gz", np.kron(np.arange(14).reshape(1, 2, 7), np.ones((4, 12, 12))).astype(np.int16) * 1000),
    ],
)
def test_where_label_maps_lie_more_is_one(tmp_path: Path, name: str, labels: np.ndarray) -> None:
    path = nifti(tmp_path / name, labels)
    assert why_label_map(path) is None
    assert why_label_map(path, expected=True) is not None


def test_3d_slicers_segmentations_are_known_by_name_and_header(tmp_path: Path) -> None:
    for name in ("a.seg.nrrd", "b.nrrd"):
        nrrd.write(str(tmp_path / name), lung(chest(0)).T, {"Segment0_ID": "lung", "space dimension": 3})
        assert "segmentation" in str(why_label_map(tmp_path / name))


def test_a_pair_of_header_and_voxels(tmp_path: Path) -> None:
    for name, array in (("scan.hdr", chest(0)), ("labels.hdr", lung(chest(0)))):
        nibabel.save(nibabel.Nifti1Pair(array.T, np.eye(4)), tmp_path / name)
    assert why_label_map(tmp_path / "scan.hdr") is None
    assert "of only two greys" in str(why_label_map(tmp_path / "labels.hdr"))


def test_a_damaged_file_is_left_to_its_reader(tmp_path: Path) -> None:
    whole = nifti(tmp_path / "a.nii.gz", lung(chest(0))).read_bytes()
    for name, content in (("b.nii.gz", whole[:100]), ("c.nii", b"nothing"), ("d.mha", b"nothing"), ("e.tif", b"no")):
        (tmp_path / name).write_bytes(content)
        assert why_label_map(tmp_path / name) is None


def test_large_stacks_of_imagej_are_not_read_whole(tmp_path: Path, monkeypatch) -> None:
    """They have one page for all slices."""
    for name, array, is_map in (("a.tif", foam(0), False), ("b.tif", lung(chest(0)), True)):
        tifffile.imwrite(tmp_path / name, array[:, None], imagej=True, metadata={"axes": "ZCYX"}, truncate=True)
        assert len(tifffile.TiffFile(tmp_path / name).pages) == 1
        monkeypatch.setattr(tifffile.TiffFile, "asarray", None)
        assert (why_label_map(tmp_path / name) is not None) == is_map


def test_a_compressed_scan_is_known_by_its_size(tmp_path: Path, monkeypatch) -> None:
    file = itk(tmp_path / "a.nrrd", chest(0) + 1024)
    monkeypatch.setattr("ctsr.imaging.formats.itk.reader.SMALL", 0)
    monkeypatch.setattr(SimpleITK.ImageFileReader, "Execute", None)
    assert why_label_map(file) is None


def test_libraries_do_not_complain_of_damaged_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Their readers tell what is wrong, in one line."""
    tifffile.imwrite(tmp_path / "cut.tif", np.zeros((4, 40, 40), np.uint16), photometric="minisblack", metadata=None)
    whole = (tmp_path / "cut.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "bad.mha").write_text("NDims = 3\nDimSize = a b c\nElementType = MET_SHORT\nElementDataFile = LOCAL\n")
    for name in ("cut.tif", "bad.mha"):
        assert why_label_map(tmp_path / name) is None
    assert capfd.readouterr() == ("", "")
