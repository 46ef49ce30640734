from __future__ import annotations

import numpy as np
import pytest

from ctsr.errors import UserError
from ctsr.imaging.intensity import Window, robust_window


def test_window_by_hand() -> None:
    window = Window(-1000, 100)
    normalised = window.normalise(np.array([-2000, -1000, -450, 100, 3000], dtype=np.int16))
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised, [-1, -1, 0, 1, 1], atol=1e-6)


def test_restore_is_the_inverse_inside_the_window() -> None:
    greys = np.linspace(5000, 25000, 101)
    window = Window(4000, 26000)
    np.testing.assert_allclose(window.restore(window.normalise(greys)), greys, rtol=1e-6)


def test_extremes_of_int16_do_not_wrap() -> None:
    np.testing.assert_array_equal(Window(-1000, 100).normalise(np.array([-32768, 32767], np.int16)), [-1, 1])


def test_robust_window_looks_inside_the_mask_only() -> None:
    greys = np.zeros((2, 100, 100), dtype=np.uint16)
    greys[0] = np.arange(10000).reshape(100, 100)
    mask = np.zeros(greys.shape, dtype=bool)
    mask[0] = True
    window = robust_window(greys, mask, (0.5, 99.5))
    assert window.low == pytest.approx(49.995)
    assert window.high == pytest.approx(9949.005)


def test_flat_or_empty_is_an_error() -> None:
    greys = np.zeros((2, 4, 4))
    with pytest.raises(UserError, match="empty"):
        robust_window(greys, np.zeros(greys.shape, bool))
    with pytest.raises(UserError, match="all greys"):
        robust_window(greys, np.ones(greys.shape, bool))
