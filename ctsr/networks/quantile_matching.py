"""One monotone map of greys as a network: where G1 starts from, or what stands in its place in a comparison."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class QuantileMatching(nn.Module):
    """Gives f(x) the greys of clinical images by one monotone map, and changes nothing else.

    Args:
        knots: Greys of f(x), strictly increasing.
        values: What they become, not decreasing. Constant beyond the outer knots.
    """

    knots: Tensor
    values: Tensor

    def __init__(self, knots: Sequence[float], values: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("knots", torch.tensor(knots, dtype=torch.float32), persistent=False)
        self.register_buffer("values", torch.tensor(values, dtype=torch.float32), persistent=False)

    def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """Any shape to the same shape, linear between knots; `noise` plays no part."""
        greys = image.float().clamp(float(self.knots[0]), float(self.knots[-1]))
        above = torch.bucketize(greys, self.knots).clamp(1, len(self.knots) - 1)
        share = (greys - self.knots[above - 1]) / (self.knots[above] - self.knots[above - 1])
        return torch.lerp(self.values[above - 1], self.values[above], share)
