"""G1 and G2: the CycleGAN ResNet generator (Zhu et al. 2017, after Johnson et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ctsr.networks.layers import initialise, normalisation
from ctsr.networks.words import Norm, Output, Padding


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions added to their input."""

    def __init__(self, channels: int, norm: Norm, padding: Padding) -> None:
        super().__init__()
        bias = norm == "none"
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode=padding, bias=bias),
            normalisation(norm, channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode=padding, bias=bias),
            normalisation(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        changed: Tensor = x + self.body(x)
        return changed


class ResNetGenerator(nn.Module):
    """Translates an image into another modality at the same size.

    Args:
        filters: Channels after the first convolution; doubled at each downsampling.
        blocks: Residual blocks at the lowest resolution (9 in the original).
        downsamplings: Stride-2 convolutions, and as many transposed ones after the blocks.
        norm: Normalisation; "instance" in the original. It makes the result depend on the image's size.
        padding: Border of the convolutions; "reflect" in the original, "zeros" is faster.
        residual: The network adds to its input and starts as the identity, instead of making the image anew.
        output: "tanh" bounds the result in [-1, 1]; "linear" does not.
        noise: A second input of white noise, of which the network can make what a scanner's noise looks like.
    """

    def __init__(
        self,
        filters: int = 64,
        blocks: int = 9,
        downsamplings: int = 2,
        norm: Norm = "instance",
        padding: Padding = "reflect",
        residual: bool = False,
        output: Output = "tanh",
        noise: bool = False,
    ) -> None:
        super().__init__()
        self.residual, self.noise = residual, noise
        self.multiple = 2**downsamplings
        bias = norm == "none"
        layers: list[nn.Module] = [
            nn.Conv2d(2 if noise else 1, filters, 7, padding=3, padding_mode=padding, bias=bias),
            normalisation(norm, filters),
            nn.ReLU(inplace=True),
        ]
        channels = filters
        for _ in range(downsamplings):
            layers += [
                nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=bias),
                normalisation(norm, 2 * channels),
                nn.ReLU(inplace=True),
            ]
            channels *= 2
        layers += [ResidualBlock(channels, norm, padding) for _ in range(blocks)]
        for _ in range(downsamplings):
            layers += [
                nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1, bias=bias),
                normalisation(norm, channels // 2),
                nn.ReLU(inplace=True),
            ]
            channels //= 2
        head = nn.Conv2d(channels, 1, 7, padding=3, padding_mode=padding)
        self.body = nn.Sequential(*layers, head)
        self.output = nn.Tanh() if output == "tanh" else nn.Identity()
        initialise(self, norm)
        if residual:
            nn.init.zeros_(head.weight)

    def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """(N, 1, H, W) in [-1, 1] to the same shape; H and W multiples of 2**downsamplings.

        Args:
            image: What is translated.
            noise: White, of standard deviation 1 and the image's shape, for a network that takes it; None: none, which
                gives the image without noise.
        """
        inputs = image
        if self.noise:
            inputs = torch.cat((image, torch.zeros_like(image) if noise is None else noise.to(image.dtype)), dim=1)
        made: Tensor = self.body(inputs)
        if self.residual:
            made = image + made
        return torch.as_tensor(self.output(made))
