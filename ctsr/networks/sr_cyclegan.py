"""The two generators of SR-CycleGAN, which change the resolution themselves."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ctsr.networks.layers import initialise, normalisation
from ctsr.networks.resnet import ResidualBlock
from ctsr.networks.stages import Stage
from ctsr.networks.words import Norm

SCALE = 8


class EnlargingGenerator(nn.Module):
    """G_A: a clinical image to a µCT image of eight times its size.

    Args:
        filters: Channels of the trunk (64 in the authors' code).
        blocks: Residual blocks at low resolution (9).
        norm: Normalisation; "instance" in the authors' code, which ties the result to the image's size: a large image
            cannot be worked through in tiles.
    """

    scale = SCALE
    skips_trunk = False  # see SRResNet

    def __init__(self, filters: int = 64, blocks: int = 9, norm: Norm = "instance") -> None:
        super().__init__()
        if filters % 8:
            raise ValueError(f"EnlargingGenerator filters must be a multiple of 8, not {filters}")
        self.tileable = norm != "instance"
        bias = norm == "none"
        self.low = nn.Sequential(
            nn.Conv2d(1, filters, 7, padding=3, padding_mode="reflect", bias=bias),
            normalisation(norm, filters),
            nn.PReLU(),
            *(ResidualBlock(filters, norm, "reflect") for _ in range(blocks)),
            nn.Conv2d(filters, filters, 3, padding=1),
        )
        stages: list[nn.Module] = []
        channels = filters
        for _ in range(int(math.log2(SCALE))):
            stages += [
                nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=bias),
                normalisation(norm, 2 * channels),
                nn.PixelShuffle(2),
                nn.PReLU(),
            ]
            channels //= 2
        self.high = nn.Sequential(*stages, nn.Conv2d(channels, 1, 7, padding=3, padding_mode="reflect"), nn.Tanh())
        initialise(self, norm)

    def trunk_stages(self) -> list[Stage]:
        """The image, (N, 1, H, W) in [-1, 1], to features (N, filters, H, W)."""
        residual = [Stage(block, reach=2) for block in self.low[3:-1].children()]
        return [Stage(self.low[:3], reach=3), *residual, Stage(self.low[-1], reach=1)]

    def upsampler_stages(self) -> list[Stage]:
        """Features to (N, 1, 8H, 8W)."""
        length = (len(self.high) - 2) // int(math.log2(SCALE))
        octaves = [Stage(self.high[k : k + length], reach=1, factor=2) for k in range(0, len(self.high) - 2, length)]
        return [*octaves, Stage(self.high[-2:], reach=3)]

    def interpolation(self) -> None:
        """There is none."""

    def trunk(self, image: Tensor) -> Tensor:
        """(N, 1, H, W) in [-1, 1] to features (N, filters, H, W)."""
        features: Tensor = self.low(image)
        return features

    def upsample(self, features: Tensor, image: Tensor) -> Tensor:
        """Features to (N, 1, 8H, 8W)."""
        enlarged: Tensor = self.high(features)
        return enlarged

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1, H, W) in [-1, 1] to (N, 1, 8H, 8W) in [-1, 1]."""
        return self.upsample(self.trunk(image), image)


class ReducingGenerator(nn.Module):
    """G_B: a µCT image to a clinical image of an eighth of its size.

    Args:
        filters: Channels at full resolution (64 in the authors' code).
        blocks: Residual blocks at a quarter of the resolution (9).
        norm: Normalisation; "instance" in the authors' code.
    """

    def __init__(self, filters: int = 64, blocks: int = 9, norm: Norm = "instance") -> None:
        super().__init__()
        bias = norm == "none"

        def down(wide: int) -> list[nn.Module]:
            return [
                nn.Conv2d(wide, 2 * wide, 3, stride=2, padding=1, bias=bias),
                normalisation(norm, 2 * wide),
                nn.ReLU(inplace=True),
            ]

        def up(wide: int) -> list[nn.Module]:
            return [
                nn.ConvTranspose2d(wide, wide // 2, 3, stride=2, padding=1, output_padding=1, bias=bias),
                normalisation(norm, wide // 2),
                nn.ReLU(inplace=True),
            ]

        self.body = nn.Sequential(
            nn.Conv2d(1, filters, 7, padding=3, padding_mode="reflect", bias=bias),
            normalisation(norm, filters),
            nn.ReLU(inplace=True),
            *down(filters),
            *down(2 * filters),
            *(ResidualBlock(4 * filters, norm, "reflect") for _ in range(blocks)),
            *up(4 * filters),
            *up(2 * filters),
            *down(filters),
            *down(2 * filters),
            *down(4 * filters),
            nn.Conv2d(8 * filters, 1, 7, padding=3, padding_mode="reflect"),
            nn.Tanh(),
        )
        initialise(self, norm)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1, 8H, 8W) in [-1, 1] to (N, 1, H, W) in [-1, 1]; H, W at least 4."""
        made: Tensor = self.body(image)
        return made


def shrunk(image: Tensor) -> Tensor:
    """Mean over 8x8 pixels, as SR-CycleGAN compares G_A(y) with y."""
    return F.avg_pool2d(image.float(), SCALE)


def blown_up(image: Tensor) -> Tensor:
    """Each pixel repeated 8x8 times, as SR-CycleGAN compares G_B(x) with x."""
    return torch.repeat_interleave(torch.repeat_interleave(image.float(), SCALE, -2), SCALE, -1)
