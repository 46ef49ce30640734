"""What makes ŷ of f(x) in stage sr: a trained G1, or what can stand in its place in a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ctsr.networks.quantile_matching import QuantileMatching
from ctsr.networks.resnet import ResNetGenerator


class Unchanged(nn.Module):
    """f(x) as it is."""

    def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """Any shape to the same shape."""
        return image


class Anchored(ResNetGenerator):
    """G1 that was trained on f(x) with clinical greys.

    Args:
        anchor: Arguments of `QuantileMatching`, which is applied first.
        arguments: Of `ResNetGenerator`.
    """

    def __init__(self, anchor: Mapping[str, Any], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.anchor = QuantileMatching(**anchor)

    def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """As `ResNetGenerator`."""
        return super().forward(self.anchor(image), noise)


def build_g1(**arguments: Any) -> nn.Module:
    """What makes ŷ of f(x).

    Args:
        arguments: Those of `ResNetGenerator`, or `Anchored`; or `quantiles`: those of `QuantileMatching`; or
            `unchanged=True`.
    """
    if arguments.get("unchanged"):
        return Unchanged()
    if "quantiles" in arguments:
        return QuantileMatching(**arguments["quantiles"])
    return Anchored(**arguments) if "anchor" in arguments else ResNetGenerator(**arguments)
