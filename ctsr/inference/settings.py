"""What can be chosen when a scan is super-resolved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ctsr.errors import UserError
from ctsr.imaging.voxel_size import FileSpacing, given_size

Precision = Literal["32", "bf16"]
Grid = Literal["input", "model"]
Units = Literal["hu", "micro"]
Region = Literal["all", "lung"]


@dataclass(frozen=True)
class ScanSettings:
    """How to super-resolve.

    Attributes:
        roi: Part of the scan as [z0, z1, y0, y1, x0, x1], canonical voxel indices; None: all. Pixels at an in-plane
            edge of the part lack the context beyond it.
        region: "all", or "lung": the network works on tiles that hold lung, the rest is interpolated.
        series: Which series of a DICOM folder: UID, number or part of the description; None: the only one.
        file_spacing: Voxel size in mm, one value or (z, y, x), of files that do not tell, such as TIFF.
        tile: Width of the upsampler's tiles in low-resolution pixels: memory, not results; None: whole slices.
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", ...
        precision: "32", or "bf16" for GPUs.
        spacing_tolerance: Largest relative difference from the training pixel size that needs no resampling.
        grid: "input": the scan's pixels / 8, also where it was resampled; "model": the network's pixels / 8.
        units: "hu", or "micro": greys of the micro-CT window.
        overwrite: Replace existing results.
        level: Compression of .nii.gz, 1 (fast) to 9.
    """

    roi: Sequence[int] | None = None
    region: Region = "all"
    series: str | None = None
    file_spacing: FileSpacing = None
    tile: int | None = 64
    device: str = "auto"
    precision: Precision = "32"
    spacing_tolerance: float = 0.1
    grid: Grid = "input"
    units: Units = "hu"
    overwrite: bool = False
    level: int = 1

    def __post_init__(self) -> None:
        """Checks what a type checker cannot: values from a command line."""
        given_size(self.file_spacing)
        wanted = {
            "roi": (self.roi is None or _is_region(self.roi), "[z0,z1,y0,y1,x0,x1], or null"),
            "region": (self.region in get_args(Region), "all or lung"),
            "series": (self.series is None or isinstance(self.series, str), "a UID, number or description"),
            "tile": (self.tile is None or (_is_whole(self.tile) and self.tile > 0), "a width in pixels, or null"),
            "device": (isinstance(self.device, str), "auto, cpu or cuda"),
            "precision": (self.precision in get_args(Precision), "32 or bf16"),
            "spacing_tolerance": (_is_share(self.spacing_tolerance), "a share from 0 to 1, such as 0.1 for 10 %"),
            "grid": (self.grid in get_args(Grid), "input or model"),
            "units": (self.units in get_args(Units), "hu or micro"),
            "overwrite": (isinstance(self.overwrite, bool), "true or false"),
            "level": (_is_whole(self.level) and 1 <= self.level <= 9, "1 (fast) to 9 (small)"),
        }
        for key, (right, choices) in wanted.items():
            if not right:
                raise UserError(f"{key}={getattr(self, key)} will not do: give {choices}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_region(value: object) -> bool:
    return isinstance(value, Sequence) and len(value) == 6 and all(_is_whole(bound) for bound in value)
