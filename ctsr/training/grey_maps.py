"""The grey maps that interpolation is given, fitted on training cases only (READING 16)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ctsr.data.preparing.store import PreparedCase
from ctsr.evaluation.questions.tiles import evenly_spaced
from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.volume import Image
from ctsr.networks.synthesis import white_noise

Downsample = Callable[[Tensor], Tensor]
ENOUGH = 5_000_000


def fit_clinical_map(
    clinical: Sequence[PreparedCase], micro: Sequence[PreparedCase], f: Downsample, slices: int = 8
) -> GreyMap:
    """Clinical greys inside the lung to greys of f(x) inside the specimen.

    Args:
        clinical: Training cases.
        micro: Training cases.
        f: Downsampling by 8, on the CPU.
        slices: Slices used of each case, evenly spread.
    """
    source = [case.image[z][case.mask[z]] for case in clinical for z in evenly_spaced(case.slices, slices)]
    target = [_downsampled(case, z, f) for case in micro for z in evenly_spaced(case.slices, slices)]
    return GreyMap.fit(_some(source), _some(target))


@torch.no_grad()
def fit_synthetic_map(G1: nn.Module, slabs: Tensor, f: Downsample, margin: int = 3) -> GreyMap:
    """Greys of G1(f(x)) to those of f(x).

    Args:
        G1: Synthesizing generator, on the CPU and in eval mode.
        slabs: (N, 1, H, W) patches of training cases.
        f: Downsampling by 8, on the CPU.
        margin: Pixels of f(x) left out on each side, where f() and G1 see reflected data.
    """
    fx = f(slabs)
    made = G1(fx, white_noise(fx)).clamp(-1.0, 1.0)
    inner = (..., slice(margin, fx.shape[-2] - margin), slice(margin, fx.shape[-1] - margin))
    return GreyMap.fit(made[inner].numpy(), fx[inner].numpy())


def _downsampled(case: PreparedCase, z: int, f: Downsample) -> Image:
    """Greys of f(slab) whose 8x8 pixels all lie inside the specimen."""
    slab = torch.from_numpy(case.slab[z].astype(np.float32))
    image = f(slab[None, None])[0, 0].numpy()
    height, width = image.shape
    inside = case.mask[z].reshape(height, 8, width, 8).all(axis=(1, 3))
    greys: Image = image[inside]
    return greys


def _some(greys: list[npt.NDArray[np.floating]]) -> npt.NDArray[np.floating]:
    """All of them together, thinned out to what settles a quantile."""
    together = np.concatenate(greys)
    return together[:: max(1, together.size // ENOUGH)]
