"""A scan made ready to be enlarged: read, turned, looked at, its lungs found, the part cut out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ctsr.data.preparing.hashes import scan_hash
from ctsr.errors import UserError
from ctsr.imaging.anatomy.lung import lung_mask
from ctsr.imaging.formats.readers import read_volume
from ctsr.imaging.hounsfield import doubts_of_ct
from ctsr.imaging.kernel.matching import Matching, choose
from ctsr.imaging.orientation import Orientation, canonical
from ctsr.imaging.padding import find_padding, mark_padding
from ctsr.imaging.storage import Allocate
from ctsr.imaging.volume import Mask, Volume
from ctsr.inference.beside_training import BesideTraining, Sampling
from ctsr.inference.grid import crop, crop_mask
from ctsr.inference.part import Bounds, part_of
from ctsr.records.card import ModelCard
from ctsr.records.scan_settings import ScanSettings


@dataclass(frozen=True, eq=False)
class Source:
    """What is enlarged.

    Attributes:
        path: Of the scan.
        sha256: Of its files.
        greys: Its lowest and highest, as they were read.
        padding: The grey that it has outside its field of view; None: there is none.
        volume: It, or the part of it that is asked for, in HU, canonical orientation; padding is -1024 HU.
        lung: True inside the lung, the volume's shape; nowhere where none was found.
        orientation: How it was turned.
        part: Which voxels of the scan the volume is; None: all.
        kernel: What is done about its reconstruction kernel.
        kernel_named: That kernel's name, where the file tells.
        beside: What it is like beside the scans of the training.
        doubts: What should be known of it, a line each.
    """

    path: Path
    sha256: str
    greys: tuple[float, float]
    padding: float | None
    volume: Volume
    lung: Mask
    orientation: Orientation
    part: Bounds | None
    kernel: Matching
    kernel_named: str | None
    beside: BesideTraining
    doubts: list[str]

    @property
    def first(self) -> tuple[int, int, int]:
        """Slice, row and column of the scan that the volume begins with."""
        return (0, 0, 0) if self.part is None else (self.part[0], self.part[2], self.part[4])

    def to_plain(self) -> dict[str, Any]:
        """For the record."""
        return {"path": str(self.path), "sha256": self.sha256, "greys": list(self.greys), "padding": self.padding}


def read_source(path: Path, settings: ScanSettings, card: ModelCard, allocate: Allocate) -> Source:
    """Read a scan.

    Args:
        path: A scan of any format.
        settings: Which part of it, and how it is read.
        card: Of the network that it is for.
        allocate: Makes the arrays of its size.

    Raises:
        UserError: It cannot be read, is not in HU, or has no such part; or the lung is asked for, and none is found.
    """
    as_read = read_volume(path, settings.file_spacing, series=settings.series, allocate=allocate)
    scan, orientation = canonical(as_read)
    part = part_of(scan.shape, scan.affine, settings)
    doubts = _not_ct(as_read, path, settings)
    greys = (float(as_read.array.min()), float(as_read.array.max()))
    scan = mark_padding(scan, find_padding(scan.array, allocate), in_place=True)
    lung = _lung(scan, settings.region, allocate)
    kernel = choose(settings.kernel, scan, lung, card.kernel)
    beside = BesideTraining(Sampling.of_scan(scan), Sampling.of_training(card))
    return Source(
        path=path,
        sha256=scan_hash(path),
        greys=greys,
        padding=scan.padding,
        volume=crop(scan, part),
        lung=crop_mask(lung, part),
        orientation=orientation,
        part=part,
        kernel=kernel,
        kernel_named=scan.kernel,
        beside=beside,
        doubts=[f"{path}: {doubt}" for doubt in [*doubts, *beside.doubts(), kernel.doubt] if doubt is not None],
    )


def _not_ct(scan: Volume, path: Path, settings: ScanSettings) -> list[str]:
    try:
        return doubts_of_ct(scan, settings.must_be_hu)
    except UserError as error:
        raise UserError(f"{path} is not enlarged: {error} (must_be_hu=false does it with a warning)") from error


def _lung(scan: Volume, region: str, allocate: Allocate) -> Mask:
    """The lung of the whole scan, of which a part may be too small to tell; nothing where there is none.

    Raises:
        UserError: There is none, and it is what was asked for.
    """
    try:
        return lung_mask(scan, allocate)
    except UserError as error:
        if region == "lung":
            raise UserError(f"region=lung: {error}") from error
        return np.broadcast_to(np.False_, scan.array.shape)
