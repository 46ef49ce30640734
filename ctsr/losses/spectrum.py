"""A distance between the power spectra of two sets of images: blur and noise show in it, whatever the images show."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def radial_power(images: Tensor) -> Tensor:
    """Mean power spectrum of a set of images, by frequency.

    Args:
        images: (N, 1, H, W).

    Returns:
        Power of the Hann-windowed images without their mean, averaged over the images and over each ring of one
        frequency bin, from the first bin to Nyquist.
    """
    images = images.float()
    height, width = images.shape[-2:]
    taper = torch.outer(torch.hann_window(height), torch.hann_window(width)).to(images.device)
    power = torch.fft.fft2((images - images.mean(dim=(-2, -1), keepdim=True)) * taper).abs().square().mean(dim=(0, 1))
    size = min(height, width)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)) * size
    ring = torch.from_numpy(np.rint(radius).astype(np.int64).ravel()).to(images.device)
    rings = int(ring.max()) + 1
    sums = torch.zeros(rings, device=images.device, dtype=power.dtype).index_add(0, ring, power.flatten())
    return (sums / torch.bincount(ring))[1 : size // 2 + 1]


def spectrum_loss(made: Tensor, real: Tensor) -> Tensor:
    """Mean over frequencies of |ln P(made) - ln P(real)|, in float32.

    Args:
        made: (N, 1, H, W).
        real: (M, 1, H, W); they need not show the same places.
    """
    with torch.autocast(made.device.type, enabled=False):
        logarithms = [radial_power(images).clamp_min(1e-12).log() for images in (made, real)]
        return (logarithms[0] - logarithms[1]).abs().mean()
