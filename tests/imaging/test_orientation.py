from __future__ import annotations

from itertools import permutations, product

import nibabel
import numpy as np
import pytest

from ctsr.imaging.orientation import canonical, find_orientation, find_slice_axis
from ctsr.imaging.volume import Volume

CODES = ["".join(sides) for axes in permutations(("LR", "PA", "IS")) for sides in product(*axes)]
CANONICAL = {"S": "SPL", "I": "SPL", "A": "PIL", "P": "PIL", "L": "LIP", "R": "LIP"}  # by the axis across the slices


def volume_of(codes: str, spacing: tuple[float, float, float] = (2.0, 0.5, 0.7)) -> Volume:
    """A volume whose array axes point to the named sides, in a slightly oblique world."""
    directions = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    affine = np.eye(4)
    tilt = np.linalg.qr(np.eye(3) + 0.1 * np.random.default_rng(0).normal(size=(3, 3)))[0]
    tilt *= np.sign(np.diag(tilt))
    affine[:3, :3] = tilt @ np.array([directions[code] for code in codes]).T * spacing
    affine[:3, 3] = (5.0, -6.0, 7.0)
    array = np.zeros((4, 5, 6), dtype=np.int16)
    array[1, 3, 4] = 1
    return Volume(array, affine)


def test_there_are_48_orientations() -> None:
    assert len(set(CODES)) == 48


@pytest.mark.parametrize("codes", CODES)
def test_a_marked_voxel_stays_in_place(codes) -> None:
    volume = volume_of(codes)
    turned, orientation = canonical(volume, slice_axis=0)
    (index,) = np.argwhere(turned.array)
    np.testing.assert_allclose(turned.affine @ [*index, 1], volume.affine @ [1, 3, 4, 1], atol=1e-12)
    assert "".join(nibabel.aff2axcodes(turned.affine)) == CANONICAL[codes[0]]
    assert turned.spacing[0] == pytest.approx(2.0)  # slices stayed slices
    assert orientation.apply_shape(volume.array.shape) == turned.array.shape
    np.testing.assert_allclose(orientation.undo_affine(turned.affine, turned.array.shape), volume.affine, atol=1e-12)


@pytest.mark.parametrize("codes", CODES)
def test_undo_is_the_way_back_and_both_are_views(codes) -> None:
    volume = volume_of(codes)
    turned, orientation = canonical(volume, slice_axis=0)
    back = orientation.undo(turned.array)
    np.testing.assert_array_equal(back, volume.array)
    assert back.base is not None
    assert np.shares_memory(turned.array, volume.array)
    turned.array[0] = 7
    assert np.count_nonzero(volume.array == 7) == turned.array[0].size


def test_a_finer_volume_returns_to_the_same_place() -> None:
    """The way of a super-resolved volume: written through the turned view of a file's array."""
    volume = volume_of("IRA")
    turned, orientation = canonical(volume, slice_axis=2)
    z, y, x = turned.array.shape
    fine = np.zeros(orientation.undo(np.empty((z, 8 * y, 8 * x), bool)).shape, dtype=np.int16)
    view = orientation.apply(fine)
    assert view.shape == (z, 8 * y, 8 * x)
    view[1, 10, 20] = 5
    scale = np.diag([1, 1 / 8, 1 / 8, 1])
    scale[1:3, 3] = -7 / 16
    affine = turned.affine @ scale
    (index,) = np.argwhere(fine)
    restored = orientation.undo_affine(affine, view.shape)
    np.testing.assert_allclose(restored @ [*index, 1], affine @ [1, 10, 20, 1], atol=1e-12)


@pytest.mark.parametrize(
    ("codes", "spacing", "axis"),
    [
        ("SPL", (2.0, 0.5, 0.5), 0),  # axial, thick slices
        ("LPS", (0.5, 0.5, 2.0), 2),
        ("LSP", (0.5, 0.5, 2.0), 2),  # coronal
        ("LPS", (2.0, 0.5, 0.5), 0),  # sagittal
        ("LPS", (0.7, 0.7, 0.7), 2),  # isotropic: nearest to head-feet
        ("PIR", (0.7, 0.6, 0.5), 1),
        ("SPL", (0.4, 0.5, 0.5), 0),  # slices closer than pixels
    ],
)
def test_slice_axis_is_judged_from_spacing(codes, spacing, axis) -> None:
    assert find_slice_axis(volume_of(codes, spacing).affine) == axis


def test_slice_axis_of_the_file_wins() -> None:
    volume = volume_of("SPL", (0.5, 0.5, 2.0))
    assert canonical(volume)[0].spacing == pytest.approx((2.0, 0.5, 0.5))
    assert canonical(Volume(volume.array, volume.affine, slice_axis=0))[0].spacing == pytest.approx((0.5, 0.5, 2.0))


def test_padding_turns_along() -> None:
    volume = volume_of("IRA")
    turned, _ = canonical(Volume(volume.array, volume.affine, outside=volume.array == 1))
    np.testing.assert_array_equal(turned.outside, turned.array == 1)


def test_agrees_with_nibabel_for_a_file(tmp_path) -> None:
    """nibabel's own reorientation of the same file, axes reversed, gives the same array."""
    image = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([0.5, 0.5, 2.0, 1.0]))
    affine = image.affine[:, [2, 1, 0, 3]]
    turned, _ = canonical(Volume(image.get_fdata().T, affine))
    ornt = nibabel.orientations.axcodes2ornt("LPS")
    expected = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), ornt))
    np.testing.assert_array_equal(turned.array, expected.get_fdata().T)
    np.testing.assert_allclose(turned.affine[:, [2, 1, 0, 3]], expected.affine)


def test_orientation_can_be_a_key() -> None:
    affine = volume_of("IRA").affine
    assert len({find_orientation(affine), find_orientation(affine)}) == 1
