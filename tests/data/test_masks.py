"""Users' masks: where they must lie."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from ctsr.data.masks import check_masks
from ctsr.errors import UserError
from ctsr.imaging.readers import probe


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
