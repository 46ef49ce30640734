"""G1 as a scanner: point spread, gain, offset and noise are learned, and nothing else can be."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FREQUENCIES = 64  # at which the point spread's transfer function is sampled


class ScannerGenerator(nn.Module):
    """A linear, shift-invariant G1: it blurs, scales and shifts greys, and adds noise of a learned spectrum.

    Two scanners that see the same densities differ by just this, to first order. Unlike a deep network it cannot learn
    to erase structure or to invent it, nor to answer a difference in *what* the two sets of images show.

    Args:
        kernel: Side in pixels of the point spread and of the filter that shapes white noise; odd.
        noise: Whether it makes noise. Its filter is symmetric under flips and quarter turns and has no mean, as
            reconstruction leaves it.

    Attributes:
        spread: Standard deviation of the Gaussian point spread, in pixels.
        gain: Of greys.
        offset: Of greys.
    """

    def __init__(self, kernel: int = 7, noise: bool = True) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"ScannerGenerator kernel must be odd, not {kernel}")
        self.kernel, self.noise = kernel, noise
        self.spread = nn.Parameter(torch.tensor(0.3))
        self.gain, self.offset = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.0))
        filter_ = torch.zeros(1, 1, kernel, kernel)
        filter_[..., kernel // 2, kernel // 2] = 0.02
        self.noise_filter = nn.Parameter(filter_) if noise else None

    def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """(N, 1, H, W) to the same shape, in float32.

        Args:
            image: f(x), in [-1, 1].
            noise: White, of standard deviation 1 and the image's shape; None: an image without noise.
        """
        with torch.autocast(image.device.type, enabled=False):
            made = self.gain * self._filtered(image.float(), self.point_spread()) + self.offset
            if self.noise_filter is not None and noise is not None:
                shape = symmetric(self.noise_filter)
                made = made + self._filtered(noise.float(), shape - shape.mean())
            return made

    def point_spread(self) -> Tensor:
        """The Gaussian's taps, (1, 1, kernel, kernel), of sum 1.

        They are those of its transfer function exp(-2 pi^2 s^2 f^2) up to Nyquist: a sampled Gaussian of less than a
        pixel blurs less than it should.
        """
        frequency = (torch.arange(FREQUENCIES, device=self.spread.device) + 0.5) / (2 * FREQUENCIES)
        place = torch.arange(self.kernel, device=self.spread.device) - self.kernel // 2
        transfer = torch.exp(-2 * math.pi**2 * self.spread**2 * frequency**2)
        taps = (torch.cos(2 * math.pi * place[:, None] * frequency) * transfer).mean(dim=1)
        taps = taps / taps.sum()
        return torch.outer(taps, taps)[None, None]

    def _filtered(self, image: Tensor, weights: Tensor) -> Tensor:
        margin = self.kernel // 2
        mode = "reflect" if min(image.shape[-2:]) > margin else "replicate"
        return F.conv2d(F.pad(image, [margin] * 4, mode=mode), weights)


def symmetric(weights: Tensor) -> Tensor:
    """Mean over the eight ways a square lies: a scanner has no direction in the plane."""
    turned = [torch.rot90(weights, turns, (-2, -1)) for turns in range(4)]
    return torch.stack([*turned, *(turn.flip(-1) for turn in turned)]).mean(dim=0)
