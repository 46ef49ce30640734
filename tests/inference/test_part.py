"""Which part of a scan is meant, against the places that another library gives its voxels."""

from __future__ import annotations

import itertools
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK

from ctsr.errors import UserError
from ctsr.imaging.orientation import canonical
from ctsr.imaging.volume import LPS_TO_RAS, Volume
from ctsr.inference.part import part_of
from ctsr.records.scan_settings import ScanSettings
from tests.inference.test_scan import AFFINES

SHAPE = (5, 12, 20)
AFFINE = np.array([[0, 0, -0.7, 10], [0, -0.7, 0, 20], [1.25, 0, 0, 30], [0, 0, 0, 1.0]])  # an axial scan


def scan_of(matrix: np.ndarray) -> tuple[Volume, np.ndarray]:
    """A scan in its canonical orientation, and the LPS millimetres of its voxels' centres, which SimpleITK tells."""
    size = (9, 8, 7)
    image = SimpleITK.Image(size, SimpleITK.sitkInt16)
    spacing = np.linalg.norm(matrix, axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((LPS_TO_RAS @ (matrix / spacing)).ravel().tolist())
    image.SetOrigin((-11.0, 23.0, 40.0))
    affine = nibabel.affines.from_matvec(matrix, LPS_TO_RAS @ image.GetOrigin())
    places = np.empty((*size, 3))
    for index in np.ndindex(size):
        places[index] = image.TransformContinuousIndexToPhysicalPoint([float(one) for one in index])
    scan, orientation = canonical(Volume(np.zeros(size), affine))
    turned = np.stack([orientation.apply(places[..., axis]) for axis in range(3)], axis=-1)
    return scan, turned


def around(voxels: np.ndarray) -> tuple[int, ...]:
    """The least bounds about the voxels that are true."""
    found = np.argwhere(voxels)
    return tuple(itertools.chain.from_iterable(zip(found.min(axis=0), found.max(axis=0) + 1, strict=True)))


@pytest.mark.parametrize("name", AFFINES)
def test_a_box_holds_the_voxels_whose_centres_lie_in_it(name: str) -> None:
    scan, places = scan_of(AFFINES[name])
    rng = np.random.default_rng(0)
    low, high = places.min(axis=(0, 1, 2)), places.max(axis=(0, 1, 2))
    seen = set()
    for _ in range(60):
        ends = np.sort(rng.uniform(low - 1, high + 1, (2, 3)), axis=0)
        ends[:, rng.random(3) < 0.2] += np.array([[-100], [100]])  # beyond the scan: all of it
        inside = ((places >= ends[0]) & (places <= ends[1])).all(axis=-1)
        settings = ScanSettings(box_mm=tuple(ends.T.ravel().tolist()))
        if inside.any():
            bounds = part_of(scan.shape, scan.affine, settings)
            assert bounds == around(inside)
            seen.add(bounds)
        else:
            with pytest.raises(UserError, match="holds no voxel"):
                part_of(scan.shape, scan.affine, settings)
    assert len(seen) > 15


@pytest.mark.parametrize("place", range(6))
def test_a_box_has_no_limit_where_none_is_given(place: int) -> None:
    scan, places = scan_of(AFFINES["oblique"])
    box: list[float | None] = [None] * 6
    middle = float(np.median(places[..., place // 2]))
    box[place] = middle
    axis = places[..., place // 2]
    inside = axis <= middle if place % 2 else axis >= middle
    assert part_of(scan.shape, scan.affine, ScanSettings(box_mm=tuple(box))) == around(inside)


@pytest.mark.parametrize("name", ["axial", "axial flipped", "coronal"])
def test_the_centre_of_a_voxel_on_a_face_lies_in_the_box(name: str) -> None:
    """Also as a viewer shows it, with four decimals."""
    scan, places = scan_of(AFFINES[name])
    part = places[2:5, 1:6, 3:5].reshape(-1, 3)
    for digits in (4, 12):
        box = np.column_stack([part.min(axis=0), part.max(axis=0)]).round(digits).ravel()
        assert part_of(scan.shape, scan.affine, ScanSettings(box_mm=tuple(box.tolist()))) == (2, 5, 1, 6, 3, 5)


@pytest.mark.parametrize(
    ("settings", "bounds"),
    [
        ({}, None),
        ({"roi": [1, 3, 2, 12, 5, 9]}, (1, 3, 2, 12, 5, 9)),
        ({"roi": [None, None, 10, 11, None, 3]}, (0, 5, 10, 11, 0, 3)),
        ({"roi": [4, None, None, 1, 19, None]}, (4, 5, 0, 1, 19, 20)),
        ({"roi": [None] * 6}, (0, *SHAPE[:1], 0, SHAPE[1], 0, SHAPE[2])),
        ({"slices": [1, 3]}, (1, 3, 0, 12, 0, 20)),
        ({"slices": [None, 3]}, (0, 3, 0, 12, 0, 20)),
        ({"slices": [2, None]}, (2, 5, 0, 12, 0, 20)),
        ({"box_mm": [None] * 6}, (0, 5, 0, 12, 0, 20)),
        ({"box_mm": [None, None, None, None, 31, 32.6]}, (1, 3, 0, 12, 0, 20)),
    ],
)
def test_limits_that_are_given_and_not(settings: dict[str, Any], bounds: tuple[int, ...] | None) -> None:
    assert part_of(SHAPE, AFFINE, ScanSettings(**settings)) == bounds


ROI = "give [z0,z1,y0,y1,x0,x1], indices from 0, the second of each pair one past the last, null for no limit"
SLICES = "give [z0,z1], indices from 0, the second of each pair one past the last, null for no limit"
BOX = (  # 20 columns and 12 rows of 0.7 mm, 5 slices of 1.25 mm; the first centre is at x=-10, y=-20, z=30
    "holds no voxel of the scan, which takes up [-10.4, 3.7, -20.4, -11.9, 29.3, 35.7]: "
    "give [x0,x1,y0,y1,z0,z1] in LPS mm, the smaller of each pair first, null for no limit"
)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"roi": [0, 6, 0, 12, 0, 20]}, f"roi=[0, 6, 0, 12, 0, 20] is no part of a scan of 5x12x20 voxels: {ROI}"),
        ({"roi": [3, 3, 0, 12, 0, 20]}, f"roi=[3, 3, 0, 12, 0, 20] is no part of a scan of 5x12x20 voxels: {ROI}"),
        ({"roi": [-1, 2, 0, 12, 0, 20]}, f"roi=[-1, 2, 0, 12, 0, 20] is no part of a scan of 5x12x20 voxels: {ROI}"),
        (
            {"roi": [None, None, 12, None, 0, 1]},
            f"roi=[null, null, 12, null, 0, 1] is no part of a scan of 5x12x20 voxels: {ROI}",
        ),
        ({"slices": [4, 6]}, f"slices=[4, 6] is no part of a scan of 5x12x20 voxels: {SLICES}"),
        ({"slices": [None, 0]}, f"slices=[null, 0] is no part of a scan of 5x12x20 voxels: {SLICES}"),
        ({"box_mm": [0, -5, None, None, None, None]}, f"box_mm=[0, -5, null, null, null, null] {BOX}"),
        ({"box_mm": [0, 1, None, None, 30, 30]}, f"box_mm=[0, 1, null, null, 30, 30] {BOX}"),
        ({"box_mm": [0, 1, 5, 6.5, None, None]}, f"box_mm=[0, 1, 5, 6.5, null, null] {BOX}"),
        ({"box_mm": [None, None, None, None, 30.1, 31]}, f"box_mm=[null, null, null, null, 30.1, 31] {BOX}"),
    ],
)
def test_no_part_of_the_scan(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as refused:
        part_of(SHAPE, AFFINE, ScanSettings(**settings))
    assert str(refused.value) == line
