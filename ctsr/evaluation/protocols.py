"""Two ways to ask how good the network is; their numbers are never mixed in one table (READING 15).

paired      A lung through two scanners: the network enlarges the clinical scan, the micro-CT is the truth.
synthetic   The paper's Table 1: held-out micro-CT x, clinical image G1(f(x)) made of it, truth x. It tests the network
            on images that its own G1 made, so it can flatter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ctsr.data.prepared import PreparedCase
from ctsr.errors import UserError
from ctsr.evaluation.metrics import grid_peak, score
from ctsr.evaluation.pairs import Pair
from ctsr.evaluation.results import Row
from ctsr.evaluation.tiles import Tile, spread, tiles_inside
from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window
from ctsr.imaging.interpolation import bicubic, nearest

Image = npt.NDArray[np.float32]
Downsample = Callable[[Tensor], Tensor]

OURS = "ours"


def paired(
    GS: nn.Module,
    pairs: Sequence[Pair],
    window: Window,
    grey_map: GreyMap,
    tile: int = 256,
    cover: float = 0.8,
    slices: int = 4,
) -> list[Row]:
    """Score the network and interpolation against micro-CT truth that no network made.

    Each method enlarges whole clinical slices; then tiles inside the specimen are compared.

    Args:
        GS: Super-resolution network, on any device; used in eval mode.
        pairs: Lungs seen by both scanners, none of them a training case.
        window: Clinical window of the network.
        grey_map: Clinical to micro-CT greys, fitted on training cases.
        tile: Side of a tile in micro-CT pixels.
        cover: Least share of a tile inside the specimen.
        slices: Slices scored of each case, evenly spread.

    Returns:
        One row for each case, method and metric.

    Raises:
        UserError: If a case has no tile.
    """
    rows: list[Row] = []
    for pair in pairs:
        scores = _Scores("paired", pair.name, pair.pixel_mm)
        for clinical_z, micro_z in chosen_slices(pair, slices):
            lr = window.normalise(pair.clinical.array[clinical_z])
            images = enlarged(GS, lr, grey_map)
            truth = pair.window.normalise(pair.micro.array[micro_z])
            for place in tiles_inside(pair.specimen(micro_z), tile, cover):
                scores.add({method: image[place] for method, image in images.items()}, truth[place])
        rows += scores.rows(tile)
    return rows


def synthetic(
    GS: nn.Module,
    G1: nn.Module,
    cases: Sequence[PreparedCase],
    f: Downsample,
    grey_map: GreyMap,
    tile: int = 256,
    cover: float = 0.8,
    slices: int = 4,
) -> list[Row]:
    """Score the network and interpolation on clinical images that G1 made of held-out micro-CT (the paper's Table 1).

    Args:
        GS: Super-resolution network, on any device; used in eval mode.
        G1: Synthesizing generator, on the same device.
        cases: Micro-CT cases that were not trained on.
        f: Downsampling by 8, on the CPU.
        grey_map: Greys of G1(f(x)) to those of f(x), fitted on training cases.
        tile: Side of a tile in micro-CT pixels. Fixed, for G1's result may depend on the image's size.
        cover: Least share of a tile inside the specimen.
        slices: Slices scored of each case, evenly spread.

    Returns:
        One row for each case, method and metric.

    Raises:
        UserError: If a case has no tile.
    """
    rows: list[Row] = []
    for case in cases:
        scores = _Scores("synthetic", case.name, case.spacing[1])
        for z, place in case_tiles(case, tile, cover, slices):
            truth = case.image[z][place].astype(np.float32)
            scores.add(enlarged(GS, synthesized(G1, f, case, z, place), grey_map), truth)
        rows += scores.rows(tile)
    return rows


def enlarged(GS: nn.Module, lr: Image, grey_map: GreyMap) -> dict[str, Image]:
    """A low-resolution image (H, W) in [-1, 1], enlarged to (8H, 8W) by each method."""
    plain, mapped = (torch.from_numpy(image)[None, None] for image in (lr, grey_map.apply(lr)))
    with evaluating(GS) as device:
        ours = GS(plain.to(device)).float().cpu()
    images = {"nearest": nearest(plain), "bicubic": bicubic(plain), "bicubic_mapped": bicubic(mapped), OURS: ours}
    return {method: image[0, 0].numpy() for method, image in images.items()}


def synthesized(G1: nn.Module, f: Downsample, case: PreparedCase, z: int, place: Tile) -> Image:
    """The clinical image G1(f(slab)) of one tile, clipped to [-1, 1] as real ones are."""
    slab = torch.from_numpy(case.slab[z][place].astype(np.float32))[None, None]
    with evaluating(G1) as device:
        made: Image = G1(f(slab).to(device)).float().clamp(-1.0, 1.0).cpu()[0, 0].numpy()
    return made


def case_tiles(case: PreparedCase, tile: int, cover: float, slices: int) -> Iterator[tuple[int, Tile]]:
    """Slice and place of each tile of a prepared case."""
    for z in spread(case.slices, slices):
        for place in tiles_inside(case.mask[z], tile, cover):
            yield z, place


def chosen_slices(pair: Pair, count: int) -> list[tuple[int, int]]:
    """Evenly spread slices of a pair, without the outermost where the clinical slice profile leaves the volume."""
    inner = pair.slices[1:-1] or pair.slices
    return [inner[k] for k in spread(range(len(inner)), count)]


@contextmanager
def evaluating(network: nn.Module) -> Iterator[torch.device]:
    """Run a network in eval mode without gradients; yields its device and restores its mode."""
    training = network.training
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    network.eval()
    try:
        with torch.inference_mode():
            yield device
    finally:
        network.train(training)


class _Scores:
    """Gathers a case's tiles and averages them."""

    def __init__(self, protocol: str, case: str, pixel_mm: float) -> None:
        self.protocol, self.case, self.pixel_mm = protocol, case, pixel_mm
        self.values: dict[tuple[str, str], list[float]] = {}
        self.ours: list[Image] = []

    def add(self, images: Mapping[str, Image], truth: Image) -> None:
        """Score one tile, (H, W) in [-1, 1], by each method."""
        for method, image in images.items():
            for metric, value in score(to_unit(image), to_unit(truth), self.pixel_mm).items():
                self.values.setdefault((method, metric), []).append(value)
        self.ours.append(to_unit(images[OURS]))

    def rows(self, tile: int) -> list[Row]:
        """Means over tiles."""
        if not self.ours:
            raise UserError(f"{self.case}: no {tile}-pixel tile lies inside the specimen; choose a smaller tile")
        rows = [Row(self.protocol, *key, fmean(values), self.case) for key, values in self.values.items()]
        return [*rows, Row(self.protocol, OURS, "grid_peak", grid_peak(self.ours, len(self.ours[0])), self.case)]


def to_unit(image: npt.ArrayLike) -> Image:
    """[-1, 1] to [0, 1], clipped."""
    unit: Image = np.clip((np.asarray(image, dtype=np.float32) + 1.0) / 2.0, 0.0, 1.0)
    return unit
