"""A running average of a network's weights: what it settles to while adversarial steps push it about."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

FAST_START = 10  # at first the average follows closely: after n steps its decay is at most (1 + n) / (10 + n)


def exponential_average(network: nn.Module, decay: float) -> AveragedModel:
    """A copy that follows a network by an exponential average of weights and running statistics.

    Args:
        network: What to follow; `update_parameters(network)` is to be called after each of its steps.
        decay: Share that a step keeps of the average, such as 0.999.
    """

    def average(old: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        if not new.is_floating_point():
            return new
        share = torch.as_tensor((1.0 + count) / (FAST_START + count)).clamp(max=decay).to(old)
        return share * old + (1.0 - share) * new

    return AveragedModel(network, avg_fn=average, use_buffers=True).requires_grad_(False)
