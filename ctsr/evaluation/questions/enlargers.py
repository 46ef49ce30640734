"""What enlarges: interpolations, as they are and after a map of greys, and learned networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image as Picture
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window
from ctsr.imaging.interpolation import bicubic, nearest
from ctsr.imaging.volume import SCALE, Image

Enlarge = Callable[[Image], Image]
"""(H, W) in [-1, 1], clinical greys, to (8H, 8W) in about [-1, 1], µCT greys; outer edges shared."""

MAPPED_ENDING = "_mapped"
MAPPED = f"bicubic{MAPPED_ENDING}"
FEW = ("nearest", "bicubic", MAPPED)  # interpolations, where there is no room for all
BLUR = 0.5  # standard deviation of the blurred bicubic's Gaussian, in clinical pixels


def interpolations(grey_map: GreyMap, few: bool = False) -> dict[str, Enlarge]:
    """Nearest, bicubic, Lanczos and a Gaussian-blurred bicubic, each with the scan's greys and with mapped ones.

    Args:
        grey_map: Clinical greys to those of micro-CT, fitted on training cases.
        few: Only those of `FEW`.
    """
    plain: dict[str, Enlarge] = {
        "nearest": _by(nearest),
        "bicubic": _by(bicubic),
        "lanczos": lanczos,
        "bicubic_blurred": _blurred,
    }
    ways = plain | {f"{name}{MAPPED_ENDING}": mapped(enlarge, grey_map) for name, enlarge in plain.items()}
    return {name: ways[name] for name in FEW} if few else ways


def mapped(enlarge: Enlarge, grey_map: GreyMap) -> Enlarge:
    """A method that is given mapped greys."""
    return lambda lr: enlarge(grey_map.apply(lr))


def in_hu(enlarge: Enlarge, hu: Window, window: Window) -> Enlarge:
    """A method whose images, clipped to [-1, 1], become HU as `infer.py` writes them.

    Args:
        enlarge: The method.
        hu: HU of its images' -1 and +1.
        window: HU that are -1 and +1 in what is returned; HU beyond it stay beyond.
    """

    def enlarged(lr: Image) -> Image:
        return window.scale(hu.restore(np.clip(enlarge(lr), -1.0, 1.0)))

    return enlarged


def network(net: nn.Module) -> Enlarge:
    """A learned method, in eval mode on whichever device it is on."""

    def enlarge(lr: Image) -> Image:
        with evaluating(net) as device:
            made: Tensor = net(torch.from_numpy(np.ascontiguousarray(lr))[None, None].to(device))
        return _array(made)

    return enlarge


def lanczos(lr: Image) -> Image:
    """Lanczos interpolation with three lobes, clipped to [-1, 1]."""
    height, width = lr.shape
    picture = Picture.fromarray(np.asarray(lr, dtype=np.float32))
    fine = picture.resize((SCALE * width, SCALE * height), Picture.Resampling.LANCZOS)
    return np.clip(np.asarray(fine, dtype=np.float32), -1.0, 1.0)


def _blurred(lr: Image) -> Image:
    fine: Image = gaussian_filter(_by(bicubic)(lr), BLUR * SCALE)
    return fine


def _by(interpolate: Callable[[Tensor], Tensor]) -> Enlarge:
    return lambda lr: _array(interpolate(torch.from_numpy(np.ascontiguousarray(lr))[None, None]))


def _array(image: Tensor) -> Image:
    values: Image = image.float().cpu()[0, 0].numpy()
    return values


@contextmanager
def evaluating(net: nn.Module) -> Iterator[torch.device]:
    """Run a network in eval mode without gradients; yields its device and restores its mode."""
    training = net.training
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    net.eval()
    try:
        with torch.inference_mode():
            yield device
    finally:
        net.train(training)
