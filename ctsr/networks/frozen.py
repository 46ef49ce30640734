"""A network that takes no part in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Frozen(nn.Module):
    """Holds a network fixed: no gradients, always in eval mode, also after `.train()` of what contains it.

    Args:
        net: The network; its parameters stop requiring gradients.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Frozen:
        """Stays in eval mode whatever `mode` says."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, *inputs: Tensor | None) -> Tensor:
        """What the network makes of its inputs, without a graph."""
        made: Tensor = self.net(*inputs)
        return made
