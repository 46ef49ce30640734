"""Adversarial losses: what a discriminator's answer should have been."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

GUESSED_LEAST_SQUARES, GUESSED_CROSS_ENTROPY = 0.25, math.log(2)
"""The losses of a discriminator that says 1/2 of every image, real or fake."""


def least_squares(answer: Tensor, real: bool) -> Tensor:
    """Least-squares GAN loss of the original CycleGAN: mean squared distance of the answer from 1 (real) or 0."""
    return (answer.float() - float(real)).square().mean()


def cross_entropy(logits: Tensor, real: bool) -> Tensor:
    """Binary cross entropy from logits; with `real=True` on a fake this is eq. (4): mean of -log D(fake)."""
    target = torch.ones_like if real else torch.zeros_like
    return F.binary_cross_entropy_with_logits(logits.float(), target(logits, dtype=torch.float32))
