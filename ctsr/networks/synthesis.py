"""What makes ŷ of f(x): a G1 that is learned, or what can stand in its place in a comparison."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ctsr.networks.quantile_matching import QuantileMatching
from ctsr.networks.resnet import ResNetGenerator
from ctsr.networks.scanner import ScannerGenerator
from ctsr.networks.words import Greys


def white_noise(like: Tensor) -> Tensor:
    """Always the same noise for the same shape."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(0)).to(like.device)


class Unchanged(nn.Module):
    """f(x) as it is."""

    def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """Any shape to the same shape."""
        return image


def build_g1(
    kind: str = "resnet",
    kernel: int = 7,
    noise: bool = False,
    greys: Greys = "learned",
    gain: float = 1.0,
    offset: float = 0.0,
    **arguments: Any,
) -> nn.Module:
    """What makes ŷ of f(x).

    Args:
        kind: "scanner" (`ScannerGenerator`), "resnet" (`ResNetGenerator`, the paper's), "quantiles"
            (`QuantileMatching`) or "unchanged".
        kernel: Of a scanner.
        noise: Of a scanner or a ResNet: makes noise of white noise.
        greys: Of a scanner.
        gain: Of a scanner.
        offset: Of a scanner.
        arguments: Of a ResNet, which a scanner has no use for; or those of `QuantileMatching`.

    Raises:
        ValueError: There is no such kind.
    """
    if kind == "scanner":
        return ScannerGenerator(kernel, noise, greys, gain, offset)
    if kind == "resnet":
        return ResNetGenerator(noise=noise, **arguments)
    if kind == "quantiles":
        return QuantileMatching(**arguments)
    if kind == "unchanged":
        return Unchanged()
    raise ValueError(f"G1 kind must be scanner, resnet, quantiles or unchanged, not {kind}")
