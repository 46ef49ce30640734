"""A distance between sets of images in the manner of KID, on features that need no download."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance

from ctsr.imaging.volume import Image

PATCH = 64
FEWEST = 8  # patches of a set: a feature's deviation over fewer tells nothing, and every distance is divided by it
CHANNELS = (32, 64, 128)
LEAST_DEVIATION = 0.1  # of a feature, as a share of the median feature's
EXTRACTOR = "random convolutions, seed 0, 3 layers, 64-pixel patches"
"""Named with every figure: it is no Inception network, and figures of other extractors cannot be compared with it."""


class RandomFeatures(nn.Module):
    """Means and standard deviations of the responses of fixed random convolutions, in three layers.

    Random features tell sets of textures apart without knowing any kind of image (Ustyuzhaninov et al. 2016).
    """

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            wide = [1, *CHANNELS]
            self.layers = nn.ModuleList(
                nn.Conv2d(a, b, 5, stride=1 if a == 1 else 2, padding=2) for a, b in pairwise(wide)
            )
        self.requires_grad_(False)

    def forward(self, patches: Tensor) -> Tensor:
        """(N, 1, 64, 64) in [0, 1] to (N, 448)."""
        features, responses = [], 2 * patches.float() - 1
        for layer in self.layers:
            responses = torch.relu(layer(responses))
            features += [responses.mean(dim=(-2, -1)), responses.std(dim=(-2, -1))]
        return torch.cat(features, dim=1)


def kernel_distance(made: Iterable[Image], real: Iterable[Image]) -> float:
    """Kernel distance (Binkowski et al. 2018) of `RandomFeatures`, scaled to a deviation of 1 over real patches.

    Args:
        made: Images (H, W) in [0, 1], at least 64 pixels each way.
        real: As `made`; they need not be the same places.

    Returns:
        About 0 for two sets of one kind; it can be slightly negative. Not a number where a set has fewer than
        `FEWEST` patches.
    """
    extractor = RandomFeatures()
    sets = [extractor(_patches(images)) for images in (made, real)]
    size = min(map(len, sets))
    if size < FEWEST:
        return float("nan")
    centre, deviation = sets[1].mean(dim=0), sets[1].std(dim=0)
    # A response that is all but constant over real patches would otherwise be the whole distance.
    deviation = deviation.clamp_min(max(LEAST_DEVIATION * float(deviation.median()), 1e-6))
    scaled = [(features - centre) / deviation for features in sets]
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)  # of the subsets
        distance = KernelInceptionDistance(feature=nn.Identity(), subsets=50, subset_size=max(2, size // 2))
        distance.update(scaled[1], real=True)
        distance.update(scaled[0], real=False)
        return float(distance.compute()[0])


def patches_in(shape: Sequence[int]) -> int:
    """How many patches are cut of an image (H, W)."""
    return int(np.prod([side // PATCH for side in shape]))


def _patches(images: Iterable[Image]) -> Tensor:
    cut = [
        torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)).unfold(0, PATCH, PATCH).unfold(1, PATCH, PATCH)
        for image in images
    ]
    return torch.cat([tiles.reshape(-1, 1, PATCH, PATCH) for tiles in cut])
