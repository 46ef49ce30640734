"""Statistics of fine detail against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from ctsr.losses.detail import bands, detail_loss


def noise(count: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 1, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_the_finest_band_is_what_one_blur_takes_away() -> None:
    wave = torch.cos(math.pi * torch.arange(32.0)).expand(1, 1, 32, 32)  # the blur takes Nyquist wholly away
    first, second, _ = bands(wave)
    torch.testing.assert_close(first, wave[..., 1:-1, 1:-1], atol=1e-6, rtol=0)
    assert float(second.abs().max()) < 1e-6


def test_slow_changes_and_greys_do_not_show() -> None:
    ramp = torch.linspace(-1, 1, 32).expand(16, 1, 32, 32)
    assert float(detail_loss(noise() + ramp + 0.3, noise())) == pytest.approx(0, abs=1e-4)


def test_twice_the_noise_is_apart_by_its_mean_size() -> None:
    # Quantiles of 2 N are 2 q: the mean of |q| of a normal distribution is sqrt(2 / pi) of its standard deviation.
    assert float(detail_loss(2 * noise(64), noise(64))) == pytest.approx(math.sqrt(2 / math.pi), rel=0.03)


def test_noise_is_told_from_structure_of_equal_power() -> None:
    dots = (torch.rand(64, 1, 32, 32, generator=torch.Generator().manual_seed(1)) < 0.02).float()
    dots = dots / dots.std()
    same, other = detail_loss(noise(64), noise(64, seed=2)), detail_loss(dots, noise(64))
    assert float(other) > 10 * float(same)


def test_a_margin_is_left_out() -> None:
    spoilt = noise()
    spoilt[..., :2, :] = 9.0
    assert float(detail_loss(spoilt, noise(), margin=2)) == 0
    assert float(detail_loss(spoilt, noise())) > 0.1
