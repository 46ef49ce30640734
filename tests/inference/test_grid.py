"""The grids of a run, against the geometry worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ctsr.imaging.volume import Volume
from ctsr.inference.grid import crop, plan

AFFINE = np.array([[0, 0, -0.7, 10], [0, -0.7, 0, 20], [1.25, 0, 0, 30], [0, 0, 0, 1.0]])
SHAPE = (5, 12, 20)


def corner(affine: np.ndarray, index: tuple[float, float, float]) -> np.ndarray:
    """World position of the voxel corner before the index."""
    return affine @ np.array([index[0], index[1] - 0.5, index[2] - 0.5, 1.0])


def test_within_tolerance_nothing_is_resampled() -> None:
    steps = plan(SHAPE, AFFINE, (0.65, 0.65), 0.1, "input")
    assert not steps.resampled
    assert steps.output_shape == (5, 96, 160)
    image = np.zeros((12, 20), np.float32)
    assert steps.to_network(image) is image
    # The first centre moves by -7/16 of an input voxel along both in-plane axes.
    assert steps.output_affine[:3, 3] == pytest.approx([10 + 0.7 * 7 / 16, 20 + 0.7 * 7 / 16, 30])
    assert np.allclose(steps.output_affine[:3, :3], AFFINE[:3, :3] / [[1, 8, 8]])
    assert np.allclose(corner(steps.output_affine, (0, 0, 0)), corner(AFFINE, (0, 0, 0)), atol=1e-9)
    assert np.allclose(corner(steps.output_affine, (4, 96, 160)), corner(AFFINE, (4, 12, 20)), atol=1e-9)


def test_beyond_tolerance_the_input_grid_comes_back() -> None:
    steps = plan(SHAPE, AFFINE, (0.625, 0.625), 0.1, "input")
    assert steps.resampled
    assert steps.network_shape == (14, 23)  # 8.4 mm and 14 mm, covered
    assert steps.to_network(np.zeros((12, 20), np.float32)).shape == (14, 23)
    assert steps.output_shape == (5, 96, 160)
    assert steps.to_output(np.zeros((112, 184), np.float32)).shape == (96, 160)
    assert np.allclose(corner(steps.output_affine, (4, 96, 160)), corner(AFFINE, (4, 12, 20)), atol=1e-9)


def test_the_model_grid_keeps_the_first_outer_edge() -> None:
    steps = plan(SHAPE, AFFINE, (0.625, 0.625), 0.1, "model")
    assert steps.output_shape == (5, 112, 184)
    assert steps.output_plane == (0.078125, 0.078125)
    assert np.allclose(corner(steps.output_affine, (0, 0, 0)), corner(AFFINE, (0, 0, 0)), atol=1e-9)


def test_a_ramp_stays_where_it_is() -> None:
    # There and back by interpolation alone: pixel k of the scan is centred at (k + 1/2) spacings from the edge.
    steps = plan((1, 40, 40), AFFINE, (0.5, 0.5), 0.1, "input")
    ramp = np.tile((np.arange(40, dtype=np.float32) + 0.5) * 0.7, (40, 1))
    on_network = steps.to_network(ramp)
    assert np.allclose(on_network[20, 8:-8], ((np.arange(56) + 0.5) * 0.5)[8:-8], atol=1e-4)
    fine = np.tile((np.arange(448, dtype=np.float32) + 0.5) * 0.5 / 8, (448, 1))
    assert np.allclose(steps.to_output(fine)[160, 32:-32], ((np.arange(320) + 0.5) * 0.7 / 8)[32:-32], atol=1e-4)


def test_a_cropped_voxel_stays_where_it_is() -> None:
    volume = Volume(np.arange(np.prod(SHAPE)).reshape(SHAPE), AFFINE, np.zeros(SHAPE, bool))
    part = crop(volume, (1, 3, 2, 12, 5, 9))
    assert part.array.shape == (2, 10, 4)
    assert part.outside is not None
    assert part.outside.shape == (2, 10, 4)
    assert part.array[1, 3, 2] == volume.array[2, 5, 7]
    assert np.allclose(part.affine @ [1, 3, 2, 1], AFFINE @ [2, 5, 7, 1])
