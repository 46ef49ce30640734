"""DS: the discriminator of SRGAN (Ledig et al. 2017), with global pooling."""

from __future__ import annotations

from torch import Tensor, nn

from ctsr.networks.layers import bound, normalisation
from ctsr.networks.words import Norm


class SRDiscriminator(nn.Module):
    """Judges a whole µCT image.

    Eight 3x3 convolutions, every second with stride 2, then the mean over the image, 1024 features and one logit. The
    mean replaces SRGAN's dense layer, which would have 134 million weights at 256x256 and tie the network to one size
    (READING 8).

    Args:
        filters: Channels of the first pair of convolutions; doubled with each of the following.
        pairs: Pairs of convolutions (4 in SRGAN); each halves the resolution.
        features: Width of the dense layer.
        norm: Normalisation, not applied to the first convolution.
        spectral: Divide each layer's weights by their largest singular value, see `PatchGAN`.
    """

    def __init__(
        self, filters: int = 64, pairs: int = 4, features: int = 1024, norm: Norm = "batch", spectral: bool = False
    ) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        channels = 1
        for pair in range(pairs):
            wider = filters * 2**pair
            for stride in (1, 2):
                first = not modules
                kind: Norm = "none" if first else norm
                modules += [
                    nn.Conv2d(channels, wider, 3, stride=stride, padding=1, bias=kind == "none"),
                    normalisation(kind, wider),
                    nn.LeakyReLU(0.2, inplace=True),
                ]
                channels = wider
        self.body = nn.Sequential(*modules, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.judge = nn.Sequential(
            nn.Linear(channels, features), nn.LeakyReLU(0.2, inplace=True), nn.Linear(features, 1)
        )
        if spectral:
            bound(self)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1, H, W) to logits (N, 1); positive means real."""
        logits: Tensor = self.judge(self.body(image))
        return logits
