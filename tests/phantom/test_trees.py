from __future__ import annotations

import numpy as np
import pytest

from ctsr.phantom.trees import Tree, Tubes, beside, draw, grow, vessels


def tree_of(count: int) -> tuple[np.ndarray, Tree]:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 30, (count, 3)).astype(np.float32)
    return points, grow(points, np.array([-5, 15, 15], np.float32), rng)


def test_every_point_is_reached_once_and_supply_adds_up() -> None:
    points, tree = tree_of(100)
    tips = tree.end[tree.leaves == 1]
    np.testing.assert_allclose(tips[np.lexsort(tips.T)], points[np.lexsort(points.T)], atol=1e-4)
    assert tree.leaves[0] == 100
    below = np.bincount(tree.parent[1:], weights=tree.leaves[1:], minlength=len(tree.leaves))
    inner = tree.leaves > 1
    np.testing.assert_array_equal(below[inner], tree.leaves[inner])
    np.testing.assert_array_equal(tree.start[1:], tree.end[tree.parent[1:]])


def test_branches_leave_in_their_parents_direction() -> None:
    _, tree = tree_of(50)
    leaving, arriving = tree.bend - tree.start, (tree.end - tree.bend)[tree.parent]
    cosine = (leaving * arriving).sum(axis=1) / np.linalg.norm(leaving, axis=1) / np.linalg.norm(arriving, axis=1)
    np.testing.assert_allclose(cosine[1:], 1, atol=1e-3)


def test_companion_keeps_its_distance() -> None:
    _, tree = tree_of(50)
    every = np.ones(len(tree.leaves), bool)
    thin = np.full(len(tree.leaves), 0.1, np.float32)
    apart = beside(tree, thin, 20 * thin, every).start - vessels(tree, thin).start
    np.testing.assert_allclose(np.linalg.norm(apart, axis=1), 2, atol=1e-4)


def test_drawn_volume_of_a_slanted_tube() -> None:
    start, end, radius, voxel = [1.0, 1.2, 1.1], [3.0, 3.1, 2.9], 0.5, 0.05
    tube = Tubes(*(np.array([a], np.float32) for a in (start, end, [radius, radius])))
    image = draw(tube, (80, 80, 80), voxel)
    length = np.linalg.norm(np.subtract(end, start))
    expected = np.pi * radius**2 * length + 4 / 3 * np.pi * radius**3  # with its two rounded ends
    assert image.sum() * voxel**3 == pytest.approx(expected, rel=0.01)
