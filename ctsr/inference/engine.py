"""One slice through the network, whole or in tiles that give the same result."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ctsr.errors import UserError
from ctsr.networks.sr_cyclegan import EnlargingGenerator
from ctsr.networks.srresnet import SRResNet
from ctsr.records.scan_settings import Precision


def super_resolve_slice(
    GS: SRResNet | EnlargingGenerator,
    lr: npt.NDArray[np.float32],
    tile: int | None = None,
    device: torch.device | str = "cpu",
    precision: Precision = "32",
    where: npt.NDArray[np.bool_] | None = None,
    elsewhere: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Super-resolve one slice.

    The trunk sees the whole slice at once: at low resolution it is cheap in memory. Only the upsampler works in tiles,
    each with the context its output depends on, so a tiled result equals the untiled one up to float rounding.

    Args:
        GS: The network, in eval mode and on `device`.
        lr: (H, W), values in [-1, 1].
        tile: Width of a tile in low-resolution pixels; None: the whole slice at once.
        device: Where the network is.
        precision: "32" or "bf16" (autocast).
        where: (H, W), True where the result is needed; None: everywhere. Tiles that hold none of it are not computed.
        elsewhere: (scale H, scale W), what is put in their place.

    Returns:
        (scale H, scale W) in the network's output range, about [-1, 1].

    Raises:
        UserError: If a tile is asked of a network that normalises over the image.
    """
    device = torch.device(device)
    check_tile(GS, tile)
    image = torch.from_numpy(np.ascontiguousarray(lr, dtype=np.float32))[None, None].to(device)
    image = image.contiguous(memory_format=torch.channels_last)
    height, width = lr.shape
    step = tile or max(height, width)
    scale = GS.scale
    if where is None or elsewhere is None:
        where, elsewhere = np.ones(lr.shape, dtype=bool), np.empty((scale * height, scale * width), dtype=np.float32)
    result = elsewhere.copy()
    if not where.any():
        return result
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        features = GS.trunk(image)
        for top in range(0, height, step):
            for left in range(0, width, step):
                rows, columns = _Span(top, step, GS.halo, height), _Span(left, step, GS.halo, width)
                if not where[rows.here, columns.here].any():
                    continue
                window = (..., rows.context, columns.context)
                sr = GS.upsample(features[window], image[window])[0, 0, rows.inner(scale), columns.inner(scale)]
                result[rows.outer(scale), columns.outer(scale)] = sr.float().cpu().numpy()
    return result


def check_tile(GS: SRResNet | EnlargingGenerator, tile: int | None) -> None:
    """Refuse tiles that are empty, or that would change the result.

    Raises:
        UserError: As said.
    """
    if tile is not None and tile < 1:
        raise UserError(f"tile={tile} is no tile: give a width in low-resolution pixels, or tile=null for whole slices")
    if tile is not None and not GS.tileable:
        raise UserError("this network normalises over the image, so tiles would change the result: give tile=null")


class _Span:
    """One tile along one axis: the pixels it is for, and those it needs."""

    def __init__(self, start: int, length: int, halo: int, size: int) -> None:
        self.start, self.stop = start, min(start + length, size)
        self.here = slice(self.start, self.stop)
        self.context = slice(max(self.start - halo, 0), min(self.stop + halo, size))

    def inner(self, scale: int) -> slice:
        """Where the tile lies in what the network made of its context."""
        return slice(scale * (self.start - self.context.start), scale * (self.stop - self.context.start))

    def outer(self, scale: int) -> slice:
        """Where the tile lies in the whole result."""
        return slice(scale * self.start, scale * self.stop)
