"""Users' masks: where they must lie."""

from __future__ import annotations

from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest

from ctsr.data.finding.cases import Case
from ctsr.data.finding.masks import check_masks, find_masks, read_masks
from ctsr.errors import UserError
from ctsr.imaging.formats.readers import probe, read_volume
from tests.data import trees


def saved(path: Path, size: tuple[int, int, int], voxel: float, corner: tuple[float, float, float]) -> Path:
    affine = np.diag([-voxel, voxel, voxel, 1.0])
    affine[:3, 3] = corner
    nibabel.save(nibabel.Nifti1Image(np.ones(size, np.uint8), affine), path)
    return path


@pytest.mark.parametrize(
    ("corner", "fits"),
    [((0, 0, 0), True), ((-15, 5, 5), True), ((25, 0, 0), False), ((0, 0, -13), False), ((0, 21, 0), False)],
)
def test_boxes_that_do_not_meet_are_refused_before_voxels_are_read(tmp_path, corner, fits) -> None:
    """The scan fills x from -19.5 to 0.5 mm, y and z from -0.5 to 19.5; the mask is a cube of 12 mm."""
    scan = probe(saved(tmp_path / "scan.nii", (20, 20, 20), 1.0, (0, 0, 0)))
    mask = saved(tmp_path / "mask.nii", (6, 6, 6), 2.0, corner)
    if fits:
        check_masks([mask], scan)
    else:
        with pytest.raises(UserError, match=r"mask\.nii lies outside the scan"):
            check_masks([mask], scan)


def segments(path: Path, layers: np.ndarray) -> Path:
    """As 3D Slicer writes segments that overlap: (layer, z, y, x), half as many voxels as the scan along each axis."""
    z, y, x = trees.SPACING
    header = {
        "space": "left-posterior-superior",
        "kinds": ["list", "domain", "domain", "domain"],
        "space directions": np.array([[np.nan] * 3, [2 * x, 0, 0], [0, 2 * y, 0], [0, 0, 2 * z]]),
        "space origin": np.array([x / 2, y / 2, z / 2]),
        "Segment0_ID": "left",
        "Segment1_ID": "right",
    }
    nrrd.write(str(path), layers.transpose(0, 3, 2, 1).astype(np.uint8), header)
    return path


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 1, 0]])
def test_overlapping_segments_count_together(tmp_path: Path, order: list[int]) -> None:
    left, right, none = np.zeros((3, 2, 24, 24))
    left[:, 4:20, 2:14] = 1
    right[1:, 8:16, 10:22] = 2
    scan = trees.nifti(tmp_path / "case1.nii.gz", trees.chest(0))
    layers = np.stack([[left, right, none][k] for k in order])
    mask = segments(tmp_path / "case1.seg.nrrd", layers)
    assert find_masks(tmp_path, Case("case1", scan), "clinical") == (mask,)
    check_masks([mask], probe(scan))
    expected = np.repeat(np.repeat(np.repeat(layers.any(axis=0), 2, 0), 2, 1), 2, 2)
    np.testing.assert_array_equal(read_masks([mask], read_volume(scan)), expected)
    segments(tmp_path / "empty.seg.nrrd", 0 * layers)
    with pytest.raises(UserError, match=r"empty.seg.nrrd is empty"):
        read_masks([tmp_path / "empty.seg.nrrd"], read_volume(scan))


@pytest.mark.parametrize("name", ["a.nii.gz", "a_mask.nii", "a-label.nii", "a_seg.nii.gz", "sub/a.nii", "a/x.nii"])
def test_how_a_mask_is_named(tmp_path: Path, name: str) -> None:
    mask = trees.nifti(tmp_path / "masks" / name, trees.lung(trees.chest(0)))
    trees.nifti(tmp_path / "masks" / "._a.nii", trees.lung(trees.chest(0)))
    assert find_masks(tmp_path / "masks", Case("a", tmp_path / "a.nii"), "clinical") == (mask,)
    own = Case("a", tmp_path / "a.nii", masks=(tmp_path / "own.nii",))
    assert find_masks(tmp_path / "masks", own, "clinical") == own.masks
    assert find_masks(None, Case("a", tmp_path / "a.nii"), "clinical") == ()


def test_a_scan_is_no_mask(tmp_path: Path) -> None:
    scan = trees.nifti(tmp_path / "a.nii", trees.chest(0))
    with pytest.raises(UserError, match=r"holds no mask of clinical case a"):
        find_masks(tmp_path, Case("a", scan), "clinical")
    other = trees.nifti(tmp_path / "masks" / "a.nii", trees.chest(1))
    with pytest.raises(UserError, match=r"masks/a.nii goes down to -\d+: is it a scan\?"):
        read_masks([other], read_volume(scan))


def test_several_masks_are_refused_by_name(tmp_path: Path) -> None:
    for organ in ("heart", "liver"):
        trees.nifti(tmp_path / "a" / f"{organ}.nii", trees.lung(trees.chest(0)))
    with pytest.raises(UserError, match=r"holds 2 masks \(heart.nii, liver.nii"):
        find_masks(tmp_path, Case("a", tmp_path / "x.nii"), "clinical")
