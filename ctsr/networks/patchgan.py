"""D1 and D2: the PatchGAN discriminator (Isola et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ctsr.networks.layers import Blur, bound, initialise, normalisation
from ctsr.networks.words import Norm


class PatchGAN(nn.Module):
    """Judges overlapping patches of an image.

    Three layers see 70 pixels, more than a 32x32 patch has; two see 34, one sees 16 (READING 5).

    Args:
        filters: Channels of the first layer; doubled up to eight times as many.
        layers: Stride-2 convolutions.
        norm: Normalisation, not applied to the first layer.
        highpass: Gain of a second input, the image less its [1 2 1]/4 blur. Blur and noise hide in frequencies that
            carry a thousandth of an image's power; amplified, they can be told apart. 0: the image alone, the original.
        spectral: Divide each layer's weights by their largest singular value, so that the answer cannot change faster
            than the image (Miyato et al. 2018, arXiv:1802.05957).
    """

    def __init__(
        self,
        filters: int = 64,
        layers: int = 2,
        norm: Norm = "instance",
        highpass: float = 0.0,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        self.highpass = highpass
        self.blur = Blur(1)
        first = nn.Conv2d(2 if highpass else 1, filters, 4, stride=2, padding=1)
        modules: list[nn.Module] = [first, nn.LeakyReLU(0.2, inplace=True)]
        channels = filters
        for layer in range(1, layers + 1):
            wider = min(filters * 2**layer, filters * 8)
            modules += [
                nn.Conv2d(channels, wider, 4, stride=2 if layer < layers else 1, padding=1, bias=norm == "none"),
                normalisation(norm, wider),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            channels = wider
        modules.append(nn.Conv2d(channels, 1, 4, padding=1))
        self.body = nn.Sequential(*modules)
        initialise(self, norm)
        if spectral:
            bound(self)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1, H, W) to a map (N, 1, h, w) of unbounded answers, one per patch; 1 means real."""
        if self.highpass:
            image = torch.cat((image, self.highpass * (image - self.blur(image))), dim=1)
        answer: Tensor = self.body(image)
        return answer
