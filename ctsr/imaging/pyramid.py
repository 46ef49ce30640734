"""f(): the Gaussian pyramid that takes a µCT image to the scale of a clinical one (paper, section 2.2)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F

TAPS = (1 / 32, 5 / 32, 10 / 32, 10 / 32, 5 / 32, 1 / 32)
"""Of the filter along an axis, with stride 2: the blur, and the average of two."""


class GaussianPyramid(nn.Module):
    """Downsamples by 2 per octave: blur with [1 4 6 4 1]/16, then average 2x2, reflecting at the border.

    Blur and average are one filter with taps [1 5 10 10 5 1]/32 and stride 2. Alignment is part of the definition:
    with three octaves the output pixel k stands for input pixels 8k ... 8k+7, as `PixelShuffle` and
    `align_corners=False` have it; `kornia.geometry.transform.pyrdown` agrees (READING 6).

    Args:
        octaves: Number of halvings; three make the paper's x1/8.
    """

    taps: Tensor

    def __init__(self, octaves: int = 3) -> None:
        super().__init__()
        self.octaves = octaves
        self.register_buffer("taps", torch.tensor(TAPS), persistent=False)

    @property
    def scale(self) -> int:
        """How many input pixels one output pixel spans along an axis."""
        return int(2**self.octaves)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, C, H/scale, W/scale).

        Raises:
            ValueError: H or W is no multiple of `scale`, or too small to reflect.
        """
        if x.shape[-2] % self.scale or x.shape[-1] % self.scale:
            raise ValueError(f"image of {x.shape[-2]}x{x.shape[-1]} pixels: sides must be multiples of {self.scale}")
        channels = x.shape[1]
        taps = self.taps.to(x.dtype)
        rows = taps.view(1, 1, 6, 1).repeat(channels, 1, 1, 1)
        columns = taps.view(1, 1, 1, 6).repeat(channels, 1, 1, 1)
        with torch.autocast(x.device.type, enabled=False):  # f(x) is what networks are compared with
            for _ in range(self.octaves):
                x = F.pad(x, (2, 2, 2, 2), mode="reflect")
                x = F.conv2d(x, rows, stride=(2, 1), groups=channels)
                x = F.conv2d(x, columns, stride=(1, 2), groups=channels)
        return x


@lru_cache(4)
def pyramid_matrix(length: int, octaves: int = 3) -> sparse.csr_array:
    """f() along one axis, as a matrix P: f of an image x is P x P^T.

    On a CPU the product with a large image is many times as fast as the convolutions of `GaussianPyramid`.

    Args:
        length: Pixels along the axis, a multiple of 2^octaves, and at least 4 before the last halving.
        octaves: Number of halvings.

    Returns:
        (length / 2^octaves, length), float32.
    """
    matrix = sparse.eye_array(length, dtype=np.float32, format="csr")
    for _ in range(octaves):
        before = matrix.shape[0]
        after = np.arange(before // 2)
        met = np.abs(2 * after[:, None] + np.arange(-2, 4))  # reflected at the first pixel
        met = np.where(met < before, met, 2 * (before - 1) - met)  # and at the last
        taps = np.tile(np.array(TAPS, np.float32), before // 2)
        halving = sparse.csr_array((taps, (np.repeat(after, len(TAPS)), met.ravel())), shape=(before // 2, before))
        matrix = (halving @ matrix).astype(np.float32)
    return matrix
