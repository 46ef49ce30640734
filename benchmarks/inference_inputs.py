"""What `benchmarks.inference` enlarges, and the weights that it does it with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from ctsr.imaging.formats.writer import int16_header, write_volume
from ctsr.imaging.volume import Affine, Volume
from ctsr.networks.srresnet import SRResNet
from tests.checkpoints import plain_card


def write_chest(path: Path, slices: int, side: int = 512) -> None:
    """Write what looks like a chest: a body with two lungs, vessels in them, and noise everywhere."""
    rng = np.random.default_rng(0)
    y, x = np.ogrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    plane = np.where((x / 0.9) ** 2 + (y / 0.7) ** 2 < 1, 40.0, -1000.0)
    lungs = sum((((x - middle) / 0.32) ** 2 + (y / 0.5) ** 2 < 1) for middle in (-0.42, 0.42)) > 0
    plane[lungs] = -850.0
    plane[lungs & (rng.random((side, side)) < 0.02)] = 0.0
    volume = (plane + rng.normal(0, 20, (slices, side, side))).astype(np.int16)
    write_volume(path, Volume(volume, np.diag([1.0, 0.7, 0.7, 1.0])))


def write_tiled(path: Path, scan: Volume, slices: int) -> None:
    """Write a scan again and again, slice by slice, until there are so many slices.

    Args:
        path: A .nii file.
        scan: Canonical orientation.
        slices: How many.
    """
    view = empty_nifti(path, (slices, *scan.shape[1:]), scan.affine)
    for z in range(slices):
        view[z] = np.rint(scan.array[z % len(scan.array)])


def empty_nifti(path: Path, shape: tuple[int, ...], affine: Affine) -> np.memmap[tuple[int, ...], np.dtype[np.int16]]:
    """Write the header of an int16 volume with axes (z, y, x), and map its voxels."""
    with path.open("wb") as stream:
        int16_header(shape, affine).write_to(stream)
        offset = stream.tell()
    return np.memmap(path, dtype="<i2", mode="r+", offset=offset, shape=shape)


def write_paper(path: Path, channels: int, blocks: int, pixel: tuple[float, float]) -> None:
    """Write a checkpoint of SRGAN's generator with random weights, which gives greys in about [-1, 1].

    Args:
        path: Where to.
        channels: Of all layers; 64 in SRGAN.
        blocks: Residual blocks; 16 in SRGAN.
        pixel: Size (y, x) in mm of what it is to be given.
    """
    torch.manual_seed(0)
    words = {"channels": channels, "blocks": blocks, "norm": "batch", "kernel": 9, "skip": "none", "blur": False}
    network = SRResNet(channels, blocks, "batch", kernel=9, skip="none", blur=False).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0.0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0.0, 0.1)
        largest = network(torch.rand(1, 1, 32, 32) * 2 - 1).abs().max()
        assert network.last.bias is not None
        network.last.weight.div_(largest)
        network.last.bias.div_(largest)
    spacing = {"clinical": list(pixel), "micro": [size / 8 for size in pixel]}
    card = plain_card(networks={"GS": words}) | {"spacing": spacing}
    weights = {f"GS.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": weights, "ctsr": card}, path)
