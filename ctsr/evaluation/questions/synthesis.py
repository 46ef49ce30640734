"""How a trained method makes a clinical-like image out of micro-CT."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ctsr.imaging.pyramid import GaussianPyramid


def white_noise(like: Tensor) -> Tensor:
    """Always the same noise for the same shape."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(0)).to(like.device)


class Synthesis(nn.Module):
    """ŷ of a µCT image x and its slab, clipped to [-1, 1] as real clinical images are.

    Args:
        network: G1, or GB of SR-CycleGAN.
        of_x: The network takes x itself and reduces it (SR-CycleGAN); otherwise it is given f(slab).
    """

    def __init__(self, network: nn.Module, of_x: bool = False) -> None:
        super().__init__()
        self.network, self.of_x = network, of_x
        self.f = GaussianPyramid()

    def forward(self, x: Tensor, slab: Tensor) -> Tensor:
        """Two images (N, 1, 8H, 8W) in [-1, 1] to (N, 1, H, W); the noise of equal calls is the same."""
        if self.of_x:
            made: Tensor = self.network(x)
        else:
            fx = self.f(slab)
            made = self.network(fx, white_noise(fx))
        return made.float().clamp(-1.0, 1.0)
