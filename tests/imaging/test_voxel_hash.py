"""One scan has one hash, however it is stored."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from ctsr.imaging.voxel_hash import voxel_hash

SCAN = np.random.default_rng(0).normal(0, 300, (4, 5, 6)).astype(np.int16)


@pytest.mark.parametrize("kind", [np.int32, np.float32, np.float64, ">i2"])
def test_axes_and_number_types_do_not_matter(kind) -> None:
    for axes, flips in product(permutations(range(3)), product((1, -1), repeat=3)):
        turned = SCAN.transpose(axes)[tuple(slice(None, None, flip) for flip in flips)].astype(kind)
        assert voxel_hash(turned) == voxel_hash(SCAN)


def test_every_voxel_and_the_size_matter() -> None:
    for index in np.ndindex(SCAN.shape):
        other = SCAN.copy()
        other[index] += 1
        assert voxel_hash(other) != voxel_hash(SCAN)
    assert voxel_hash(SCAN.reshape(2, 10, 6)) != voxel_hash(SCAN)
    assert voxel_hash(SCAN[:3]) != voxel_hash(SCAN)


def test_the_same_greys_elsewhere_are_another_scan() -> None:
    for axis in range(3):
        assert voxel_hash(np.roll(SCAN, 1, axis)) != voxel_hash(SCAN)
    shuffled = np.random.default_rng(2).permutation(SCAN.ravel()).reshape(SCAN.shape)
    assert voxel_hash(shuffled) != voxel_hash(SCAN)
    inside = np.zeros((6, 6, 6), np.int16)
    inside[2, 3, 4] = 1
    assert voxel_hash(np.roll(inside, 1, 0)) == voxel_hash(inside), "its mirror image"
    assert voxel_hash(np.roll(inside, 2, 0)) != voxel_hash(inside)


def test_hashes_of_many_scans_differ() -> None:
    random = np.random.default_rng(1)
    assert len({voxel_hash(random.integers(0, 2, (4, 4, 4))) for _ in range(300)}) == 300
    assert len({voxel_hash(random.normal(size=(4, 4, 4))) for _ in range(300)}) == 300


def test_zero_has_no_sign() -> None:
    assert voxel_hash(np.full((2, 2, 2), -0.0)) == voxel_hash(np.zeros((2, 2, 2), np.int16))
