"""G1 as a scanner: point spread, gain, offset and noise are learned, and nothing else can be."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ctsr.networks.words import Greys

FREQUENCIES = 64  # at which the point spread's transfer function is sampled


class ScannerGenerator(nn.Module):
    """A linear, shift-invariant G1: it blurs, scales and shifts greys, and adds noise of a learned spectrum.

    Two scanners that see the same densities differ by just this, to first order. Unlike a deep network it cannot learn
    to erase structure or to invent it, nor to answer a difference in *what* the two sets of images show.

    Args:
        kernel: Side in pixels of the point spread and of the filter that shapes white noise; odd.
        greys: "learned", or "calibrated": `gain` and `offset` are known and stay.
        gain: Of greys, at first.
        offset: Of greys, at first.
        noise: Whether it makes noise. Its filter is symmetric under flips and quarter turns and has no mean, as
            reconstruction leaves it.

    Attributes:
        spread: Standard deviation of the Gaussian point spread, in pixels.
    """

    gain: Tensor
    offset: Tensor

    def __init__(
        self, kernel: int = 7, noise: bool = True, greys: Greys = "learned", gain: float = 1.0, offset: float = 0.0
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"ScannerGenerator kernel must be odd, not {kernel}")
        if greys not in ("learned", "calibrated"):
            raise ValueError(f"ScannerGenerator greys must be learned or calibrated, not {greys}")
        self.kernel, self.noise = kernel, noise
        self.spread = nn.Parameter(torch.tensor(0.3))
        for name, value in (("gain", gain), ("offset", offset)):
            if greys == "learned":
                self.register_parameter(name, nn.Parameter(torch.tensor(value)))
            else:
                self.register_buffer(name, torch.tensor(value))
        filter_ = torch.zeros(1, 1, kernel, kernel)
        filter_[..., kernel // 2, kernel // 2] = 0.02
        self.noise_filter = nn.Parameter(filter_) if noise else None

    def forward(self, image: Tensor, noise: Tensor | None = None, wider: Tensor | None = None) -> Tensor:
        """(N, 1, H, W) to the same shape, in float32.

        Args:
            image: f(x), in [-1, 1].
            noise: White, of standard deviation 1 and the image's shape; None: an image without noise.
            wider: (N,): multiplies each image's point spread; None: it is as it was learned. A reconstruction kernel
                that blurs less lets more noise pass, and the reverse.
        """
        with torch.autocast(image.device.type, enabled=False):
            own = self.spread[None] ** 2
            variance = own if wider is None else own * wider**2
            made = self.gain * self._filtered(image.float(), self.kernels(variance)) + self.offset
            if self.noise_filter is not None and noise is not None:
                shape = symmetric(self.noise_filter)
                grain = self._filtered(noise.float(), shape - shape.mean())
                made = made + (grain if wider is None else self._filtered(grain, self.kernels(variance - own)))
            return made

    def kernels(self, variance: Tensor) -> Tensor:
        """The Gaussians' taps, (N, 1, kernel, kernel), each of sum 1.

        They are those of its transfer function exp(-2 pi^2 s^2 f^2) up to Nyquist: a sampled Gaussian of less than a
        pixel blurs less than it should.

        Args:
            variance: (N,): s^2 in square pixels; negative: sharpens.
        """
        frequency = (torch.arange(FREQUENCIES, device=variance.device) + 0.5) / (2 * FREQUENCIES)
        place = torch.arange(self.kernel, device=variance.device) - self.kernel // 2
        transfer = torch.exp(-2 * math.pi**2 * variance[:, None, None] * frequency**2)
        taps = (torch.cos(2 * math.pi * place[:, None] * frequency) * transfer).mean(dim=-1)
        taps = taps / taps.sum(dim=-1, keepdim=True)
        return (taps[:, :, None] * taps[:, None, :])[:, None]

    def _filtered(self, images: Tensor, weights: Tensor) -> Tensor:
        """Images (N, 1, H, W), each by its own weights (N, 1, k, k), or all by (1, 1, k, k)."""
        margin = self.kernel // 2
        mode = "reflect" if min(images.shape[-2:]) > margin else "replicate"
        padded = F.pad(images, [margin] * 4, mode=mode)
        if len(weights) == 1:
            return F.conv2d(padded, weights)
        return F.conv2d(padded.transpose(0, 1), weights, groups=len(weights)).transpose(0, 1)


def symmetric(weights: Tensor) -> Tensor:
    """Mean over the eight ways a square lies: a scanner has no direction in the plane."""
    turned = [torch.rot90(weights, turns, (-2, -1)) for turns in range(4)]
    return torch.stack([*turned, *(turn.flip(-1) for turn in turned)]).mean(dim=0)
