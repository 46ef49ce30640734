from __future__ import annotations

import numpy as np

from ctsr.imaging.anatomy.blocks import block_for, block_means, block_spacing, to_voxels


def test_block_for_is_nearest_and_never_empty() -> None:
    assert block_for((0.625, 0.7, 5.0), 1.5) == (2, 2, 1)
    assert block_spacing((0.625, 0.7, 5.0), (2, 2, 1)) == (1.25, 1.4, 5.0)


def test_block_means_by_hand() -> None:
    """Blocks at the far ends hold what is left."""
    array = np.arange(3 * 3 * 2).reshape(3, 3, 2)
    means = block_means(array, (2, 2, 2))
    assert means.shape == (2, 2, 1)
    assert means.ravel().tolist() == [
        array[:2, :2].mean(),
        array[:2, 2:].mean(),
        array[2:, :2].mean(),
        array[2:, 2:].mean(),
    ]


def test_block_means_of_a_function() -> None:
    array = np.array([[[1, -1], [3, -3]]])
    assert block_means(array, (1, 2, 2), lambda slices: slices > 0).item() == 0.5


def test_spread_gives_each_voxel_its_block() -> None:
    coarse = np.array([[[1, 2]], [[3, 4]]])
    assert to_voxels(coarse, (2, 1, 2), (3, 1, 3)).tolist() == [[[1, 1, 2]], [[1, 1, 2]], [[3, 3, 4]]]
