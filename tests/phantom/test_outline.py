from __future__ import annotations

import numpy as np
import pytest

from ctsr.phantom.outline import Outline


def test_depth_of_a_circle() -> None:
    outline = Outline(centre=(4.0, 5.0), half=3.0, power=2.0, waves=np.zeros((0, 3), np.float32))
    depth = outline.depth((3, 80, 100), 0.1)
    y, x = (np.arange(80) + 0.5) * 0.1 - 4, (np.arange(100) + 0.5) * 0.1 - 5
    expected = 3 - np.hypot(y[:, None], x[None, :])
    near = np.abs(expected) < 1.5  # between the points of the coarse grid the middle of the circle is blunt
    np.testing.assert_allclose(depth[1][near], expected[near], atol=0.06)


def test_waves_stay_within_their_amplitude() -> None:
    outline = Outline.random((10.0, 10.0), 8.0, 2.0, 0.05, np.random.default_rng(0))
    angle = np.linspace(0, 2 * np.pi, 360)
    depth = outline.depth_at(0.0, 10 + 8 * np.sin(angle), 10 + 8 * np.cos(angle))
    assert 0 < np.abs(depth).max() <= 8 * np.abs(outline.waves[:, 0]).sum()
    assert depth.mean() == pytest.approx(0, abs=0.05)
