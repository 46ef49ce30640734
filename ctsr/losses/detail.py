"""A distance between the fine detail of two sets of images: blur and noise show in it, whatever the images show."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

BANDS = 3  # octaves down from the finest


def bands(images: Tensor) -> list[Tensor]:
    """What each of three [1 2 1]/4 blurs in a row takes away, from the finest detail on; without the border.

    Args:
        images: (N, 1, H, W), H and W at least 7.

    Returns:
        (N, 1, H - 2k, W - 2k) for k = 1, 2, 3.
    """
    taps = torch.tensor([0.25, 0.5, 0.25], device=images.device, dtype=images.dtype)
    kernel = torch.outer(taps, taps)[None, None]
    found = []
    for _ in range(BANDS):
        blurred = F.conv2d(images, kernel)
        found.append(images[..., 1:-1, 1:-1] - blurred)
        images = blurred
    return found


def detail_loss(made: Tensor, real: Tensor, margin: int = 0) -> Tensor:
    """How far the distributions of detail are apart: of noise nearly Gaussian, of structure heavy-tailed.

    In each band the Wasserstein distance between all values of both sets, as a share of the real ones' standard
    deviation; then the mean over the bands. In float32.

    Args:
        made: (N, 1, H, W).
        real: As many and as large images; they need not show the same places.
        margin: Pixels at each border that are left out.
    """
    with torch.autocast(made.device.type, enabled=False):
        inner = (..., slice(margin, made.shape[-2] - margin), slice(margin, made.shape[-1] - margin))
        terms = []
        for ours, theirs in zip(bands(made.float()[inner]), bands(real.float()[inner]), strict=True):
            apart = ours.flatten().sort().values - theirs.flatten().sort().values
            terms.append(apart.abs().mean() / theirs.std().clamp_min(1e-6))
        return torch.stack(terms).mean()
