from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ctsr.phantom.fields import coarse_shape, smooth_field, stretch


def test_smooth_field_is_standard_normal_and_as_smooth_as_asked() -> None:
    field = smooth_field((60, 60, 60), 2.0, np.random.default_rng(0))
    assert field.mean() == pytest.approx(0, abs=0.1)
    assert field.std() == pytest.approx(1, abs=0.1)
    # White noise under a Gaussian of σ has the autocorrelation exp(-d² / (4 σ²)).
    assert (field[:, :, 3:] * field[:, :, :-3]).mean() == pytest.approx(np.exp(-9 / 16), abs=0.1)


def test_stretch_is_linear_interpolation() -> None:
    shape, step = (9, 17, 12), 4
    coarse = np.random.default_rng(0).random(coarse_shape(shape, step), dtype=np.float32)
    expected = ndimage.map_coordinates(coarse, np.indices(shape) / step, order=1)
    np.testing.assert_allclose(stretch(coarse, shape, step), expected, atol=1e-6)
