"""What methods are given, and the truth they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ctsr.data.pairs import Pair
from ctsr.data.preparing.store import PreparedCase
from ctsr.evaluation.questions.enlargers import evaluating
from ctsr.evaluation.questions.tiles import Cut, Tile, case_tiles, chosen_slices, evenly_spaced, tiles_inside
from ctsr.imaging.intensity import Window
from ctsr.imaging.volume import Image
from ctsr.phantom.scanners import ClinicalScanner

Synthesise = Callable[[Tensor, Tensor], Tensor]
"""x and its slab, (N, 1, 8H, 8W), to a clinical-like image (N, 1, H, W), all in [-1, 1]."""

ToHU = Callable[[PreparedCase], Callable[[npt.ArrayLike], npt.NDArray[np.float32]]]
"""A micro-CT case's map of its greys in [-1, 1] to HU."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One image to enlarge, and its truth.

    Attributes:
        case: Name of the case.
        z: Its slice, of the clinical scan if there is one, else of the micro-CT.
        lr: (H, W) in [-1, 1], clinical greys.
        truth: (8H, 8W) in [-1, 1].
        tiles: Where they are compared.
        pixel_mm: Pixel size of the truth.
        labels: Structure of each pixel of the truth, values of `ctsr.phantom.labels.Label`; None where unknown.
    """

    case: str
    z: int
    lr: Image
    truth: Image
    tiles: Sequence[Tile]
    pixel_mm: float
    labels: npt.NDArray[np.uint8] | None = None


def paired_samples(pairs: Sequence[Pair], window: Window, cut: Cut, slab: bool = False) -> Iterator[Sample]:
    """Whole clinical slices and the micro-CT slices at their place.

    Args:
        pairs: Lungs seen by both scanners, none of them a training case.
        window: Clinical window of the networks.
        cut: Tiles and slices.
        slab: The truth is the mean over the clinical slice distance, not the one slice at its centre.
    """
    for pair in pairs:
        for z, micro_z in chosen_slices(pair, cut.slices):
            tiles = list(tiles_inside(pair.inside[micro_z], cut.tile, cut.cover))
            yield Sample(
                pair.name,
                z,
                window.normalise(pair.clinical.array[z]),
                pair.truth(micro_z, slab),
                tiles,
                pair.pixel_mm,
                None if pair.labels is None else pair.labels[micro_z],
            )


def projection_samples(pairs: Sequence[Pair], window: Window, cut: Cut) -> Iterator[Sample]:
    """The same of lungs whose micro-CT is in HU: the truth is normalised by the clinical window, too.

    Args:
        pairs: Of one kind of acquisition, see `ctsr.data.pairs.load_kinds`.
        window: Clinical window of the networks.
        cut: Tiles and slices.
    """
    return paired_samples([replace(pair, window=window) for pair in pairs], window, cut)


def synthetic_samples(cases: Sequence[PreparedCase], synthesise: nn.Module, cut: Cut) -> Iterator[Sample]:
    """Tiles of held-out micro-CT, and what a trained generator makes of them.

    Args:
        cases: Micro-CT cases that were not trained on.
        synthesise: See `Synthesise`; an identity f() gives the protocol "plain".
        cut: Tiles and slices.
    """
    for case in cases:
        for z, place in case_tiles(case, cut):
            x, slab = (image[z][place].astype(np.float32) for image in (case.image, case.slab))
            with evaluating(synthesise) as device:
                made = synthesise(*(torch.from_numpy(image)[None, None].to(device) for image in (x, slab)))
            whole = [(slice(0, x.shape[0]), slice(0, x.shape[1]))]
            yield Sample(case.name, z, made.float().cpu()[0, 0].numpy(), x, whole, case.spacing[1])


@dataclass(frozen=True)
class UnseenScanner:
    """A clinical scanner that images of micro-CT are taken with.

    Attributes:
        psf: Full width at half maximum of the in-plane point spread, in clinical pixels.
        slice_width: That of the slice profile, in clinical pixels.
        noise: Standard deviation in HU.
        cutoff: Width of the kernel's noise spectrum, in cycles per pixel.
    """

    psf: float
    slice_width: float
    noise: float
    cutoff: float

    def __str__(self) -> str:
        return (
            f"a scanner of {self.psf:g} x {self.slice_width:g} pixels (in the plane, across) "
            f"and {self.noise:g} HU of noise, cut off at {self.cutoff:g} per pixel"
        )


UNSEEN = {
    "soft": UnseenScanner(psf=2.2, slice_width=1.4, noise=6.0, cutoff=0.13),
    "sharp": UnseenScanner(psf=1.5, slice_width=0.9, noise=22.0, cutoff=0.32),
}
"""Beyond the phantom's range: point spreads of 1.7 to 2.0 pixels, noise of 8 to 14 HU, cutoffs of 0.17 to 0.23."""


def scanned_samples(
    cases: Sequence[PreparedCase], scanner: UnseenScanner, window: Window, hu: ToHU, cut: Cut, seed: int = 0
) -> Iterator[Sample]:
    """Held-out micro-CT through a scanner that no training saw.

    Args:
        cases: Micro-CT cases that were not trained on.
        scanner: The scanner.
        window: Clinical window of the networks.
        hu: Gives each case's map of its greys in [-1, 1] to HU.
        cut: Tiles and slices.
        seed: Of the noise.
    """
    for number, case in enumerate(cases):
        to_hu = hu(case)
        voxel, flat = case.spacing[1], case.spacing[1] / case.spacing[0]  # the scanner knows cubes only
        rng = np.random.default_rng((seed, number))
        machine = ClinicalScanner(
            pixel=8 * voxel,
            spread=scanner.psf * 8 * voxel,
            slice_width=scanner.slice_width * 8 * voxel * flat,
            noise=scanner.noise,
            cutoff=scanner.cutoff,
        )
        reach = round(2 * scanner.slice_width * 8 * voxel / case.spacing[0])
        for z in evenly_spaced(range(len(case.slices)), cut.slices):
            first, last = max(0, z - reach), min(len(case.slices), z + reach + 1)
            density = to_hu(case.image[first:last])
            scan = machine.scan(density, voxel, np.array([(z - first + 0.5) * voxel]), rng)[0]
            tiles = list(tiles_inside(case.mask[z], cut.tile, cut.cover))
            truth = case.image[z].astype(np.float32)
            yield Sample(case.name, z, window.normalise(scan), truth, tiles, voxel)
