"""What `case.json` of a prepared case holds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict

from ctsr.records.settings import Settings
from ctsr.records.values import AsList, KernelFacts, Number

Triple = Annotated[tuple[Number, Number, Number], AsList]
Shape = Annotated[tuple[int, int, int], AsList]


class GreyWindow(Settings):
    """Scanner greys of -1 and +1."""

    low: Number
    high: Number


class Stored(Settings):
    """A file of a case, as it was written."""

    bytes: int
    sha256: str


class CaseFacts(Settings):
    """What is kept of a case beside its voxels. Facts that a later version adds are kept as they are.

    Attributes:
        format: Of the scan.
        name: The case's.
        domain: "clinical" or "micro".
        source: The scan's path.
        content: SHA-256 of the scan's files.
        voxels: Hash of its greys, see `ctsr.imaging.voxel_hash`.
        shape: Slices, rows and columns, as prepared.
        spacing: Their distances in mm.
        affine: Array axes (z, y, x) to RAS+ mm.
        window: Of greys.
        settings: How it was prepared, see `ctsr.data.preparing.settings`.
        scanned_shape: Slices, rows and columns before it was resampled.
        scanned_spacing: Their distances in mm.
        scanned_thickness: Of a slice in mm; None: the scan does not tell.
        greys: The 0.5, 50 and 99.5 percentiles inside the mask.
        volume_ml: Of the mask.
        at_ends: Shares inside the mask of the darkest and the brightest grey that there is.
        kernel: What a clinical scan shows of its reconstruction kernel; None: nothing was looked for.
        files: Name -> its arrays' files.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=True)

    format: str
    name: str
    domain: Literal["clinical", "micro"]
    source: str
    content: str
    voxels: str
    shape: Shape
    spacing: Triple
    affine: list[list[Number]]
    window: GreyWindow
    settings: dict[str, Any]
    scanned_shape: Shape
    scanned_spacing: Triple
    scanned_thickness: Number | None = None
    greys: Triple
    volume_ml: Number
    at_ends: Annotated[tuple[Number, Number], AsList]
    kernel: KernelFacts | None = None
    files: dict[str, Stored]
