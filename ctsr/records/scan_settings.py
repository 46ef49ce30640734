"""How a scan is super-resolved: the keys of `conf/infer/task/scan.yaml`, which documents them, but for its paths."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ctsr.records.settings import Settings, Takes
from ctsr.records.values import AsList, AsText, Count, Flag, Name, Number, Share, Text, VoxelSize

Grid = Literal["input", "model"]
Units = Literal["hu", "micro"]
Region = Literal["all", "lung"]
Precision = Literal["32", "bf16"]
Padding = Literal["air", "scan"]

_Index = int | None
_Limit = Number | None
Roi = Annotated[
    tuple[_Index, _Index, _Index, _Index, _Index, _Index],
    AsList,
    Takes("[z0,z1,y0,y1,x0,x1], whole numbers (null: no limit)"),
]
Slices = Annotated[tuple[_Index, _Index], AsList, Takes("[z0,z1], whole numbers (null: no limit)")]
BoxMm = Annotated[
    tuple[_Limit, _Limit, _Limit, _Limit, _Limit, _Limit],
    AsList,
    Takes("[x0,x1,y0,y1,z0,z1], LPS mm (null: no limit)"),
]
Kernel = Annotated[str, Field(min_length=1), Takes("estimate, off, or the path of a filter (JSON)")]
Level = Annotated[int, Field(ge=0, le=3), Takes("0 (fast) to 3")]


class ScanSettings(Settings):
    """How to super-resolve.

    Attributes:
        roi: Part of the scan as [z0, z1, y0, y1, x0, x1], canonical voxel indices from 0, the second of each pair one
            past the last; None: all, and in a place: no limit there. Pixels at an in-plane edge of the part lack the
            context beyond it.
        slices: The same for whole slices: [z0, z1].
        box_mm: Part of the scan as [x0, x1, y0, y1, z0, z1], LPS millimetres as in DICOM (x to the left, y to
            posterior, z to superior): the least that holds all voxels whose centres lie within this box; None: all,
            and in a place: no limit there.
        region: "all", or "lung": the network works on tiles that hold lung, the rest is interpolated.
        padding: What is written outside the scanner's field of view: "air" (-1024 HU; in units of the micro-CT its
            darkest grey), or "scan": the grey that the scan itself has there.
        must_be_hu: Refuse a scan whose greys do not look like HU; else it is enlarged with a warning.
        kernel: What is done where the scan's reconstruction kernel is sharper than that of the training's scans:
            "estimate": it is estimated from the scan, and a filter softens it, where the estimate can be trusted;
            "off": nothing; or the path of a filter, see `ctsr.imaging.kernel.matching.softening_from`.
        series: Which series of a DICOM folder: UID, number or part of the description; None: the only one.
        file_spacing: Voxel size in mm, one value or (z, y, x), of files that do not tell, such as TIFF.
        tile: Width of the upsampler's tiles in low-resolution pixels: memory, not results; "auto": what memory holds;
            None: whole slices. Halved where memory does not suffice.
        batch: Slices at a time; "auto": 1 on a CPU, on a GPU as many as keep it busy.
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", ...
        precision: "32", or "bf16" for GPUs.
        spacing_tolerance: Largest relative difference from the training pixel size that needs no resampling.
        grid: "input": the scan's pixels / 8, also where it was resampled; "model": the network's pixels / 8.
        units: "hu", or "micro": greys of the micro-CT window.
        overwrite: Replace existing results.
        level: Compression of .nii.gz, 0 (fast) to 3.
    """

    roi: Roi | None = None
    slices: Slices | None = None
    box_mm: BoxMm | None = None
    region: Region = "all"
    padding: Padding = "air"
    must_be_hu: Flag = True
    kernel: Kernel = "estimate"
    series: Name | None = None
    file_spacing: VoxelSize | None = None
    tile: Count | Literal["auto"] | None = "auto"
    batch: Count | Literal["auto"] = "auto"
    device: Text = "auto"
    precision: Annotated[Precision, AsText] = "32"
    spacing_tolerance: Share = 0.1
    grid: Grid = "input"
    units: Units = "hu"
    overwrite: Flag = False
    level: Level = 1

    @model_validator(mode="after")
    def _padding_is_in_hu(self) -> Self:
        if self.padding == "scan" and self.units != "hu":
            raise ValueError(f"padding=scan is in HU, units={self.units} is not: leave one of them out")
        return self

    @model_validator(mode="after")
    def _one_part(self) -> Self:
        parts = [f"{key}=" for key in ("roi", "slices", "box_mm") if getattr(self, key) is not None]
        if len(parts) > 1:
            raise ValueError(f"{' and '.join(parts)} each say what part is enlarged: leave all but one out")
        return self
