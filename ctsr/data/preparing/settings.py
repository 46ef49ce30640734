"""How scans of each domain are prepared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ctsr.imaging.formats.voxel_size import FileSpacing
from ctsr.imaging.padding import PADDING_BELOW_HU


@dataclass(frozen=True)
class ClinicalSettings:
    """Clinical CT.

    Attributes:
        spacing: In-plane pixel size in mm to resample to; None: as scanned.
        window: HU that become -1 and +1 (READING 11).
        file_spacing: Voxel size in mm, one value or (z, y, x), of files that do not tell, such as TIFF.
        padding_below: HU below which voxels are scanner padding.
        series: Which series to take of a folder that holds several, see `ctsr.imaging.formats.readers.read_volume`.
        masks: Folder with a mask for each case instead of the lungs found by the program; None: find them.
    """

    domain: ClassVar[str] = "clinical"
    multiple: ClassVar[int] = 1
    slab_mm: ClassVar[float] = 0.0  # slices are as thick as they were scanned

    spacing: float | None = 0.625
    window: Sequence[float] = (-1000.0, 100.0)
    file_spacing: FileSpacing = None
    padding_below: float | None = PADDING_BELOW_HU
    series: str | None = None
    masks: str | None = None


@dataclass(frozen=True)
class MicroSettings:
    """µCT of a specimen.

    Attributes:
        spacing: In-plane pixel size in mm to resample to; None: as scanned.
        slab_mm: Slices are averaged over this thickness before they are made to look like clinical ones (READING 10);
            0: not.
        percentiles: Greys inside the specimen, per volume, that become -1 and +1 (READING 11).
        file_spacing: Voxel size in mm, one value or (z, y, x), of files that do not tell, such as TIFF.
        series: Which series to take of a folder that holds several, see `ctsr.imaging.formats.readers.read_volume`.
        masks: Folder with a mask for each case instead of the specimen found by the program; None: find it.
    """

    domain: ClassVar[str] = "micro"
    multiple: ClassVar[int] = 8  # in-plane sizes are cut to it, so that every low-resolution pixel is a whole one
    padding_below: ClassVar[float | None] = None  # no grey of µCT is known to be padding

    spacing: float | None = 0.078125
    slab_mm: float = 0.0
    percentiles: Sequence[float] = (0.5, 99.5)
    file_spacing: FileSpacing = None
    series: str | None = None
    masks: str | None = None


Settings = ClinicalSettings | MicroSettings
