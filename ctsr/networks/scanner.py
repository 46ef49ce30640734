"""G1 as a scanner: point spread, gain, offset and noise are learned, and nothing else can be."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ScannerGenerator(nn.Module):
    """A linear, shift-invariant G1: it blurs, scales and shifts greys, and adds noise of a learned spectrum.

    Two scanners that see the same densities differ by just this, to first order. Unlike a deep network it cannot learn
    to erase structure or to invent it, nor to answer a difference in *what* the two sets of images show.

    Args:
        kernel: Side in pixels of the point spread and of the filter that shapes white noise; odd. Both are symmetric
            under flips and quarter turns.
        noise: Whether it makes noise.
    """

    def __init__(self, kernel: int = 7, noise: bool = True) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"ScannerGenerator kernel must be odd, not {kernel}")
        self.kernel, self.noise = kernel, noise
        delta = torch.zeros(1, 1, kernel, kernel)
        delta[..., kernel // 2, kernel // 2] = 1.0
        self.spread = nn.Parameter(delta.clone())  # starts as the identity
        self.offset = nn.Parameter(torch.zeros(1))
        self.noise_filter = nn.Parameter(0.01 * delta) if noise else None

    def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """(N, 1, H, W) to the same shape.

        Args:
            image: f(x), in [-1, 1].
            noise: White, of standard deviation 1 and the image's shape; None: an image without noise.
        """
        made = self._filtered(image, self.spread) + self.offset
        if self.noise_filter is not None and noise is not None:
            made = made + self._filtered(noise.to(image.dtype), self.noise_filter)
        return made

    def _filtered(self, image: Tensor, weights: Tensor) -> Tensor:
        margin = self.kernel // 2
        mode = "reflect" if min(image.shape[-2:]) > margin else "replicate"
        return F.conv2d(F.pad(image, [margin] * 4, mode=mode), symmetric(weights))


def symmetric(weights: Tensor) -> Tensor:
    """Mean over the eight ways a square lies: a scanner has no direction in the plane."""
    turned = [torch.rot90(weights, turns, (-2, -1)) for turns in range(4)]
    return torch.stack([*turned, *(turn.flip(-1) for turn in turned)]).mean(dim=0)
