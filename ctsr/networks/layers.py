"""Pieces that several networks are built from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from ctsr.networks.words import Norm


def normalisation(kind: Norm, channels: int) -> nn.Module:
    """A normalisation layer by name; "none" passes its input on.

    Raises:
        ValueError: `kind` is not one of batch, instance, none.
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "instance":
        return nn.InstanceNorm2d(channels)
    if kind == "none":
        return nn.Identity()
    raise ValueError(f"norm must be batch, instance or none, not {kind}")


def initialise(network: nn.Module, norm: Norm) -> None:
    """Weights of all convolutions: N(0, 0.02) as the original CycleGAN where a normalisation restores the scale.

    Without one, signals would fade to a thousandth on their way; then the variance is kept (He et al. 2015). Biases
    are zero.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            if norm == "none":
                nn.init.kaiming_normal_(module.weight, mode="fan_out" if module.transposed else "fan_in")
            else:
                nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def bound(network: nn.Module) -> None:
    """Spectral normalisation of all convolutions and dense layers (Miyato et al. 2018)."""
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            spectral_norm(module)


@torch.no_grad()
def initialise_icnr(conv: nn.Conv2d, factor: int = 2) -> None:
    """Initialises a convolution before `PixelShuffle(factor)` so that it starts as nearest-neighbour enlargement.

    The factor² channels that become neighbours get the same weights, hence no checkerboard at the start
    (Aitken et al. 2017, arXiv:1707.02937).
    """
    kernel: Tensor = conv.weight[:: factor**2].clone()
    nn.init.kaiming_normal_(kernel)
    conv.weight.copy_(kernel.repeat_interleave(factor**2, dim=0))
    if conv.bias is not None:
        conv.bias.zero_()


class SubPixelConv(nn.Conv2d):
    """A convolution to one channel that takes and gives the 2x2 blocks of its images as channels.

    Equals `pixel_unshuffle(conv(pixel_shuffle(x, 2)), 2)` with its own weights and zero padding, in exact arithmetic. A
    convolution to one channel at full resolution leaves most of a processor idle; four channels with a kernel of about
    half the side, at a quarter of the pixels, do the same sums several times as fast.

    Args:
        channels: Channels of the image that comes in; four times as many are given to `forward`.
        kernel: Side of the kernel at full resolution, odd.
    """

    meets: Tensor

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(channels, 1, kernel, padding=kernel // 2)
        middle = kernel // 2
        self.reach = (middle + 1) // 2  # blocks that the kernel meets on each side
        # meets[a, b, u, d]: output pixel a of a block meets input pixel b of block u - reach by the tap d.
        meets = torch.zeros(2, 2, 2 * self.reach + 1, kernel)
        for a in range(2):
            for tap in range(kernel):
                block, b = divmod(a + tap - middle, 2)
                meets[a, b, block + self.reach, tap] = 1.0
        self.register_buffer("meets", meets, persistent=False)

    def block_kernel(self) -> tuple[Tensor, Tensor | None]:
        """The kernel, (4, 4 channels, side, side), and the bias, (4,), of the same sums on blocks."""
        with torch.autocast(self.weight.device.type, enabled=False):
            kernel = torch.einsum("abud,efvg,cdg->aecbfuv", self.meets, self.meets, self.weight[0])
            kernel = kernel.reshape(4, 4 * self.in_channels, *kernel.shape[-2:])
        bias = None if self.bias is None else self.bias.expand(4)
        return kernel.contiguous(memory_format=torch.channels_last), bias

    def forward(self, blocks: Tensor) -> Tensor:
        """(N, 4 channels, H, W), channels in `pixel_unshuffle`'s order, to (N, 4, H, W)."""
        return self._convolved(blocks, self.reach)

    def unpadded(self, blocks: Tensor) -> Tensor:
        """The same without zeros around: (N, 4 channels, H + 2 reach, W + 2 reach) to (N, 4, H, W)."""
        return self._convolved(blocks, 0)

    def _convolved(self, blocks: Tensor, padding: int) -> Tensor:
        kernel, bias = self.block_kernel()
        return functional.conv2d(blocks, kernel, bias, padding=padding)


class Blur(nn.Module):
    """Fixed [1 2 1]/4 filter along rows and columns, each channel by itself; the border is repeated.

    After `PixelShuffle(2)` it takes away exactly what repeats every two pixels, the checkerboard, and moves nothing
    (the idea of Sugawara et al. 2018, arXiv:1806.02658, with a filter that is symmetric).
    """

    taps: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("taps", (row[:, None] * row).expand(channels, 1, 3, 3).clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        return functional.conv2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), self.taps, groups=len(self.taps))
