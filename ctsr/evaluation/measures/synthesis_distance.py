"""How far a set of images is from another set that it shall look like: greys, spectrum, and all of it in small patches.

The images need not be paired, and no network is asked. Each distance is 0 for equal sets; two sets drawn from one
domain give what is left by chance, which is to be read beside every figure.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

PATCH = 7  # pixels, as in Karras et al. 2018
STRIDE = 3
DIRECTIONS = 128
QUANTILES = 512


def sliced_wasserstein(a: Tensor, b: Tensor) -> Tensor:
    """Sliced Wasserstein distance between the 7x7 patches of two sets of images.

    Patches, as vectors, are projected onto 128 fixed random directions of length 1; in each, the distance is that of
    the two sets' quantiles (Rabin et al. 2011). It sees greys, blur and noise alike, in units of grey.

    Args:
        a: (N, 1, H, W), any grey scale.
        b: (M, 1, H', W'), the same scale.

    Returns:
        Mean over the directions, a scalar.
    """
    generator = torch.Generator().manual_seed(0)
    directions = F.normalize(torch.randn(DIRECTIONS, PATCH * PATCH, generator=generator), dim=1).to(a.device)
    projected = [
        directions @ F.unfold(images.float(), PATCH, stride=STRIDE).transpose(0, 1).flatten(1) for images in (a, b)
    ]
    return _wasserstein(*projected)


def grey_wasserstein(a: Tensor, b: Tensor) -> Tensor:
    """Wasserstein distance between the histograms of two sets of images, in units of grey."""
    return _wasserstein(a.float().reshape(1, -1), b.float().reshape(1, -1))


def spectrum_distance(a: Tensor, b: Tensor) -> Tensor:
    """Difference of two sets' power spectra, in decibels: 0 where blur and noise agree.

    Spectra are those of Hann-windowed images without their mean, averaged over the images and over rings of one
    frequency bin; the result is the root mean square over the rings from the first to Nyquist.

    Args:
        a: (N, 1, H, W).
        b: (M, 1, H, W).
    """
    decibels = [10 * torch.log10(_radial_power(images).clamp_min(1e-12)) for images in (a, b)]
    return (decibels[0] - decibels[1]).square().mean().sqrt()


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "swd": sliced_wasserstein,
    "greys": grey_wasserstein,
    "spectrum_db": spectrum_distance,
}


class SynthesisDistance(Metric):
    """`DISTANCES` of made images to real ones, gathered over a validation and over processes.

    Beside them stand the distance before anything was made, and that between two halves of the real images.
    """

    full_state_update = False
    made: list[Tensor]
    before: list[Tensor]
    real: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for kind in ("made", "before", "real"):
            self.add_state(kind, default=[], dist_reduce_fx="cat")

    def update(self, made: Tensor, before: Tensor, real: Tensor) -> None:
        """Adds images (N, 1, H, W) of each kind."""
        self.made.append(made.detach().float())
        self.before.append(before.detach().float())
        self.real.append(real.detach().float())

    def compute(self) -> dict[str, Tensor]:
        """The distances by name: "swd" of made to real, "fx_swd" of before to real, "real_swd" of real to real."""
        made, before, real = (dim_zero_cat(images) for images in (self.made, self.before, self.real))
        pairs = {"": (made, real), "fx_": (before, real)} | (
            {"real_": (real[::2], real[1::2])} if len(real) > 1 else {}
        )
        return {f"{of}{name}": distance(*sets) for of, sets in pairs.items() for name, distance in DISTANCES.items()}


def _wasserstein(a: Tensor, b: Tensor) -> Tensor:
    """Mean over rows of the Wasserstein-1 distance between the rows' values, by their quantiles."""
    levels = (torch.arange(QUANTILES, device=a.device) + 0.5) / QUANTILES
    ordered = [_quantiles(values.sort(dim=1).values, levels) for values in (a, b)]
    return (ordered[0] - ordered[1]).abs().mean()


def _quantiles(ordered: Tensor, levels: Tensor) -> Tensor:
    """Quantiles of sorted rows; torch.quantile refuses more than 16 million values."""
    place = levels * (ordered.shape[1] - 1)
    below = place.floor().long()
    above = (below + 1).clamp_max(ordered.shape[1] - 1)
    return torch.lerp(ordered[:, below], ordered[:, above], (place - below).expand(len(ordered), -1))


def _radial_power(images: Tensor) -> Tensor:
    """Mean power in each ring, from the first frequency bin to Nyquist."""
    images = images.float()
    height, width = images.shape[-2:]
    taper = torch.outer(torch.hann_window(height), torch.hann_window(width)).to(images.device)
    power = torch.fft.fft2((images - images.mean(dim=(-2, -1), keepdim=True)) * taper).abs().square().mean(dim=(0, 1))
    size = min(height, width)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)) * size
    ring = torch.from_numpy(np.rint(radius).astype(np.int64).ravel()).to(images.device)
    sums = torch.bincount(ring, weights=power.flatten()) / torch.bincount(ring)
    return sums[1 : size // 2 + 1]
