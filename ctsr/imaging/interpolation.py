"""What a trained network must beat: interpolation, as it is and after the best monotone map of greys."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ctsr.imaging.volume import SCALE


def nearest(lr: Tensor) -> Tensor:
    """Every pixel becomes an 8x8 block: (N, 1, H, W) to (N, 1, 8H, 8W), outer edges shared."""
    return F.interpolate(lr, scale_factor=SCALE, mode="nearest")


def bicubic(lr: Tensor) -> Tensor:
    """Bicubic interpolation x8: (N, 1, H, W) to (N, 1, 8H, 8W), outer edges shared, clipped to [-1, 1]."""
    return F.interpolate(lr, scale_factor=SCALE, mode="bicubic", align_corners=False).clamp(-1.0, 1.0)
