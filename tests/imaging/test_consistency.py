"""What a result says beside what the scan says, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from ctsr.imaging.consistency import Consistency
from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window

WINDOW = Window(-1000, 100)
CURVE = GreyMap(np.array([-1.0, 0.0, 1.0]), np.array([-0.8, 0.4, 1.0]))


def test_greys_are_taken_back_to_hu() -> None:
    lr = np.linspace(-1, 1, 12 * 16, dtype=np.float32).reshape(12, 16)
    for factor, expected in ((0.0, 0.0), (0.1, 55.0)):  # 0.1 of a window of 1100 HU that spans 2
        sr = np.kron(CURVE.apply(np.clip(lr + factor, -1, 1)), np.ones((8, 8), dtype=np.float32))
        difference = Consistency(CURVE.inverse(), WINDOW).difference(lr, sr)
        flat = np.abs(lr) < 0.8
        # Blocks are blurred a little by f.
        assert difference[flat].mean() == pytest.approx(expected, abs=3)


def test_a_constant_result_and_a_single_row() -> None:
    for height in (1, 2, 5):
        lr = np.full((height, 6), 0.5, dtype=np.float32)
        sr = np.full((8 * height, 48), 0.25, dtype=np.float32)
        np.testing.assert_allclose(Consistency(GreyMap.identity(), WINDOW).difference(lr, sr), 137.5, rtol=1e-4)


def test_figures_against_numpy() -> None:
    rng = np.random.default_rng(0)
    difference = rng.gamma(2, 20, (3, 40, 50)).astype(np.float32)
    lung, computed = rng.random(difference.shape) < 0.3, rng.random(difference.shape) < 0.8
    consistency = Consistency(GreyMap.identity(), WINDOW)
    for planes in zip(difference, lung, computed, strict=True):
        consistency.add(*planes)
    figures = consistency.figures()
    for name, place in (("lung", lung & computed), ("elsewhere", ~lung & computed)):
        assert figures[name]["mean_hu"] == pytest.approx(difference[place].mean(), abs=0.2)
        assert figures[name]["p95_hu"] == pytest.approx(np.percentile(difference[place], 95), abs=1)


def test_what_was_not_computed_has_no_figures() -> None:
    consistency = Consistency(GreyMap.identity(), WINDOW)
    everywhere = np.ones((4, 4), dtype=bool)
    consistency.add(np.zeros((4, 4), np.float32), everywhere, everywhere)
    assert consistency.figures() == {"lung": {"mean_hu": 0.0, "p95_hu": 0.0}, "elsewhere": None}
