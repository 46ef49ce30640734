"""Distances between sets of images, against SciPy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import wasserstein_distance

from ctsr.evaluation.measures.synthesis_distance import (
    DISTANCES,
    SynthesisDistance,
    grey_wasserstein,
    sliced_wasserstein,
    spectrum_distance,
)


def images(seed: int, count: int = 24, blur: float = 0.0, gain: float = 1.0, offset: float = 0.0) -> torch.Tensor:
    noise = np.random.default_rng(seed).normal(0, 0.2, (count, 1, 32, 32))
    noise = gaussian_filter(noise, (0, 0, blur, blur), mode="wrap") if blur else noise
    return torch.from_numpy((gain * noise + offset).astype(np.float32))


@pytest.mark.parametrize("name", DISTANCES)
def test_zero_for_equal_sets_in_any_order(name) -> None:
    a = images(0)
    assert float(DISTANCES[name](a, a.flip(0))) == pytest.approx(0, abs=1e-6)


def test_greys_as_scipy_has_them() -> None:
    a, b = images(0), images(1, gain=1.5, offset=0.3)
    expected = wasserstein_distance(a.numpy().ravel(), b.numpy().ravel())
    assert float(grey_wasserstein(a, b)) == pytest.approx(expected, rel=0.01)


def test_sliced_distance_of_shifted_greys_is_the_shift_seen_in_each_direction() -> None:
    """A constant c added to every pixel moves a projection by c times the sum of the direction, |N(0, 1)| large."""
    a = images(0, count=60)
    assert float(sliced_wasserstein(a, a + 0.1)) == pytest.approx(0.1 * np.sqrt(2 / np.pi), rel=0.15)


def test_sliced_distance_of_white_noise_of_another_width_is_known() -> None:
    """Every projection of white noise is normal with its deviation; W1 of two centred normals is |s - t| E|z|."""
    a, b = images(0, count=80), images(1, count=80, gain=2)
    assert float(sliced_wasserstein(a, b)) == pytest.approx(0.2 * np.sqrt(2 / np.pi), rel=0.05)


def test_spectrum_in_decibels() -> None:
    """Twice the amplitude is 6.02 dB in every ring; an offset is none."""
    a = images(0)
    assert float(spectrum_distance(a, 2 * a + 0.5)) == pytest.approx(20 * np.log10(2), abs=1e-3)


def test_blur_shows_in_spectrum_and_patches_where_greys_are_matched() -> None:
    sharp, blurred = images(0, count=40), images(1, count=40, blur=1.0)
    blurred = blurred * (sharp.std() / blurred.std())  # the same histogram, both being normal
    again = images(2, count=40)
    assert float(grey_wasserstein(sharp, blurred)) < 0.01
    assert float(spectrum_distance(sharp, blurred)) > 5 > 3 * float(spectrum_distance(sharp, again))
    assert float(sliced_wasserstein(sharp, blurred)) > 3 * float(sliced_wasserstein(sharp, again))


def test_sets_may_differ_in_number() -> None:
    for distance in DISTANCES.values():
        assert torch.isfinite(distance(images(0, count=5), images(1, count=9)))


def test_metric_gathers_batches() -> None:
    metric = SynthesisDistance()
    made, before, real = images(0, blur=0.7), images(1, blur=1.5), images(2)
    for part in (slice(10), slice(10, None)):
        metric.update(made[part], before[part], real[part])
    computed = metric.compute()
    for name, distance in DISTANCES.items():
        assert float(computed[name]) == pytest.approx(float(distance(made, real)), rel=1e-5)
        assert float(computed[f"fx_{name}"]) == pytest.approx(float(distance(before, real)), rel=1e-5)
        assert computed[f"real_{name}"] < computed[f"fx_{name}"]
