"""Ways to enlarge a scan with the same weights: ours, MONAI's sliding window, tiles with a halo, and whole slices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from benchmarks.inference_inputs import empty_nifti
from ctsr.checkpoint import SRModel, load_sr
from ctsr.imaging.formats.readers import read_volume
from ctsr.imaging.orientation import canonical
from ctsr.imaging.volume import SCALE
from ctsr.inference.engine import Engine, tiles
from ctsr.inference.grid import crop, plan
from ctsr.inference.part import Bounds
from ctsr.inference.scan import super_resolve_scan
from ctsr.inference.slice_work import Batch, SliceWork
from ctsr.networks.srresnet import SRResNet
from ctsr.networks.stages import reach_of
from ctsr.records.scan_settings import Precision, ScanSettings

OURS, TEXTBOOK, MONAI, HALO, WHOLE = "ours", "MONAI, textbook network", "MONAI, our GS", "tiles with a halo", "whole"
PEERS = {"ours": OURS, "textbook": TEXTBOOK, "monai": MONAI, "halo": HALO, "whole": WHOLE}
HEADS = {name: "9x9 at full size" if name == TEXTBOOK else "sub-pixel" for name in PEERS.values()}
OVERLAP = 0.25  # of MONAI's windows, its own default

Enlarge = Callable[[Tensor], Tensor]  # (1, 1, H, W) in [-1, 1] to (8H, 8W), both on the CPU


@dataclass(frozen=True)
class Setting:
    """What a peer may choose.

    Attributes:
        roi: Side of MONAI's windows.
        batch: Of these at a time.
        channels_last: Memory layout of the network.
        tile: Side of the tiles that are given a halo.
        one_tile: Whether only the dearest of them is worked on, to see what memory it takes.
    """

    roi: int = 96
    batch: int = 1
    channels_last: bool = False
    tile: int = 64
    one_tile: bool = False


@dataclass(frozen=True)
class Job:
    """A part of a scan that a peer is to enlarge.

    Attributes:
        peer: One of `PEERS`.
        checkpoint: The weights.
        scan: Of any format.
        output: A .nii file.
        part: Of the scan: [z0, z1, y0, y1, x0, x1], canonical orientation.
        device: "cpu" or "cuda".
        precision: "32" or "bf16".
        how: What the peer has chosen.
    """

    peer: str
    checkpoint: Path
    scan: Path
    output: Path
    part: Bounds
    device: str = "cpu"
    precision: Precision = "32"
    how: Setting = field(default_factory=Setting)


class Textbook(nn.Module):
    """SRGAN's generator as the paper draws it, with the weights of ours: its last convolution is at full resolution."""

    def __init__(self, network: SRResNet) -> None:
        super().__init__()
        self.body = network
        self.last = nn.Conv2d(network.last.in_channels, 1, network.kernel, padding=network.kernel // 2)
        self.last.load_state_dict(network.last.state_dict())

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1, H, W) to (N, 1, 8H, 8W)."""
        fine: Tensor = self.last(self.body.enlarge(self.body.trunk(image)))
        interpolation = self.body.interpolation()
        return fine if interpolation is None else fine + interpolation.apply(image)


def generator(model: SRModel) -> SRResNet:
    """The network of a model, which these comparisons need to be SRGAN's."""
    if not isinstance(model.GS, SRResNet):
        raise TypeError("the peers are written for checkpoints of stage=sr")
    return model.GS


def enlarger(job: Job, model: SRModel) -> Enlarge:
    """How a peer enlarges a slice."""
    if job.peer == OURS:
        engine = Engine(model.GS, job.device, job.precision)
        return lambda image: engine.enlarge(image[0])[0]
    network: nn.Module = Textbook(generator(model)) if job.peer == TEXTBOOK else generator(model)
    layout = torch.channels_last if job.how.channels_last else torch.contiguous_format
    network = network.eval().to(job.device, memory_format=layout)  # type: ignore[call-overload]
    if job.peer == WHOLE:
        work: Enlarge = network
    elif job.peer == HALO:
        work = in_tiles(generator(model), job.how)
    else:
        work = in_windows(network, job.how)

    def enlarge(image: Tensor) -> Tensor:
        faster = torch.autocast(job.device, torch.bfloat16, enabled=job.precision == "bf16")
        with torch.inference_mode(), faster:
            return work(image.to(job.device))[0, 0].float().cpu()

    return enlarge


def in_windows(network: nn.Module, how: Setting) -> Enlarge:
    """MONAI's way: windows that overlap, of which it takes the mean."""
    from monai.inferers.utils import sliding_window_inference  # seconds, and memory, that the other peers need not take

    def work(image: Tensor) -> Tensor:
        size = (how.roi, how.roi)
        enlarged: Tensor = sliding_window_inference(image, size, how.batch, network, overlap=OVERLAP)  # type: ignore[assignment]
        return enlarged

    return work


def in_tiles(network: SRResNet, how: Setting) -> Enlarge:
    """Tiles that are given, and lose again, all the pixels around them that their result depends on."""
    halo = reach_of(network.trunk_stages()) + reach_of(network.upsampler_stages())

    def work(image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        result = image.new_zeros(1, 1, SCALE * height, SCALE * width)
        spots = [
            [*around(rows, height), *around(columns, width)]
            for rows, columns in tiles((height, width), (how.tile,) * 2)
        ]
        if how.one_tile:
            spots = [max(spots, key=lambda spot: (spot[1].stop - spot[1].start) * (spot[3].stop - spot[3].start))]
        for rows, seen_rows, columns, seen_columns in spots:
            made = network(image[..., seen_rows, seen_columns])
            down, right = within(rows, seen_rows), within(columns, seen_columns)
            result[..., times(rows), times(columns)] = made[..., times(down), times(right)]
        return result

    def around(side: slice, size: int) -> tuple[slice, slice]:
        return side, slice(max(side.start - halo, 0), min(side.stop + halo, size))

    def within(side: slice, seen: slice) -> slice:
        return slice(side.start - seen.start, side.stop - seen.start)

    def times(side: slice) -> slice:
        return slice(SCALE * side.start, SCALE * side.stop)

    return work


def enlarge_scan(job: Job, model: SRModel) -> tuple[float, float]:
    """Enlarge the part of the scan, and write it; seconds of it all, and of the network."""
    spent: list[float] = []
    started = time.perf_counter()
    if job.peer == OURS:
        with timed_compute(spent):
            super_resolve_scan(model, job.scan, job.output, settings(job), Console(quiet=True))
    else:
        plainly(job, model, spent)
    return time.perf_counter() - started, sum(spent)


def settings(job: Job) -> ScanSettings:
    """Our own: whatever its pixels' size, the scan is not resampled, as the peers do not either."""
    return ScanSettings(
        roi=job.part,
        device=job.device,
        precision=job.precision,
        spacing_tolerance=1.0,
        overwrite=True,
        must_be_hu=False,
    )


@contextmanager
def timed_compute(spent: list[float]) -> Iterator[None]:
    """Note the seconds of each slice's network, which the record beside a result has rounded."""
    compute = SliceWork.compute

    def noted(self: SliceWork, batch: Batch) -> Any:
        made = compute(self, batch)
        spent.append(made[2])
        return made

    with mock.patch.object(SliceWork, "compute", noted):
        yield


def plainly(job: Job, model: SRModel, spent: list[float]) -> None:
    """Read, enlarge slice by slice, and write in the scan's orientation, with nothing else done."""
    enlarge = enlarger(job, model)
    scan, orientation = canonical(read_volume(job.scan))
    part = crop(scan, job.part)
    grid = plan(part.shape, part.affine, model.card.pixel, 1.0, "input")
    shape = grid.output_shape
    there = orientation.undo(np.broadcast_to(np.int16(0), shape)).shape
    written = orientation.apply(empty_nifti(job.output, there, orientation.undo_affine(grid.output_affine, shape)))
    clinical, greys = model.card.window("clinical"), model.card.hu
    for z, lr in enumerate(part.array):
        image = torch.from_numpy(clinical.normalise(lr))[None, None]
        started = time.perf_counter()
        fine = enlarge(image)
        spent.append(time.perf_counter() - started)
        written[z] = np.rint(greys.restore(np.clip(fine.numpy(), -1.0, 1.0)))


def first_slice(job: Job, model: SRModel, side: int | None = None) -> Tensor:
    """The first slice of the part as networks are given it, (1, 1, H, W); or a square in its middle."""
    scan, _ = canonical(read_volume(job.scan))
    lr = crop(scan, job.part).array[0]
    if side is not None:
        top, left = ((size - side) // 2 if size > side else 0 for size in lr.shape)
        lr = lr[top : top + side, left : left + side]
    return torch.from_numpy(model.card.window("clinical").normalise(lr))[None, None]


def load(job: Job) -> SRModel:
    """Its weights."""
    return load_sr(job.checkpoint)
