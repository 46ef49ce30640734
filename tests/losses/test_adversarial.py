"""Adversarial losses against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from ctsr.losses.adversarial import cross_entropy, least_squares


def test_least_squares_by_hand() -> None:
    answer = torch.tensor([0.0, 1.0, 3.0])
    assert least_squares(answer, real=True).item() == pytest.approx((1 + 0 + 4) / 3)
    assert least_squares(answer, real=False).item() == pytest.approx((0 + 1 + 9) / 3)


def test_cross_entropy_is_minus_log_of_the_probability() -> None:
    logits = torch.tensor([[0.0], [2.0]])
    probabilities = [0.5, 1 / (1 + math.exp(-2))]
    assert cross_entropy(logits, real=True).item() == pytest.approx(-sum(map(math.log, probabilities)) / 2, rel=1e-6)
    expected = -sum(math.log(1 - p) for p in probabilities) / 2
    assert cross_entropy(logits, real=False).item() == pytest.approx(expected, rel=1e-6)


def test_cross_entropy_survives_a_certain_discriminator() -> None:
    assert cross_entropy(torch.tensor([-200.0]), real=True).item() == pytest.approx(200.0)
