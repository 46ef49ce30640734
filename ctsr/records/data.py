"""The data of a run: the keys of `conf/data/volumes.yaml`, which documents them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ctsr.imaging.volume import SCALE
from ctsr.records.phantom import PhantomSettings, lies_in
from ctsr.records.settings import Settings, Takes
from ctsr.records.values import (
    AsList,
    Count,
    Flag,
    LessThanAll,
    Materials,
    Millimetres,
    Name,
    NotNegative,
    PathText,
    Percentiles,
    Share,
    Text,
    VoxelSize,
    Whole,
    Window,
)

SMALLEST_PATCH = 12  # pixels, for the networks' strides and the window of SSIM

Names = Annotated[tuple[Name, ...], AsList]
Part = Annotated[LessThanAll | Names | Text, Takes("a share, 0 to less than 1, or names of cases or patients")]
ClinicalPatch = Annotated[
    int, Field(ge=SMALLEST_PATCH, multiple_of=4), Takes(f"a multiple of 4 pixels, at least {SMALLEST_PATCH}")
]


def smallest_patch(domain: str) -> int:
    """The smallest patch of a domain, in its pixels: one of µCT covers the clinical one."""
    return SMALLEST_PATCH * (1 if domain == "clinical" else SCALE)


class Domain(Settings):
    """What clinical CT and µCT have in common."""

    root: PathText | None
    files: Text | None
    patient: Name | None
    spacing: Millimetres | Literal["native"]
    file_spacing: VoxelSize | None
    series: Name | None
    masks: PathText | None
    cover: Share


class Clinical(Domain):
    """Clinical CT."""

    window: Window
    patch: ClinicalPatch


class Micro(Domain):
    """µCT."""

    slab_mm: NotNegative | Literal["auto"]
    target: Literal["centre", "slab"]
    percentiles: Percentiles
    materials: Materials
    patch: Count


class Paired(Settings):
    """Lungs seen by both scanners, for testing."""

    root: PathText | None


class Split(Settings):
    """Who is held out."""

    mode: Literal["case", "slab"]
    val: Part
    test: Part
    gap_mm: NotNegative


class Phantom(PhantomSettings):
    """Lungs that are made first."""

    root: PathText


class Data(Settings):
    """All of it."""

    listed: PathText | None = Field(alias="list")
    clinical: Clinical
    micro: Micro
    paired: Paired
    split: Split
    phantom: Phantom | None = None
    patches_per_case: Count
    val_patches: Count
    global_batch_size: Count
    accumulate: Count
    augment: Flag
    workers: Whole
    cache: PathText

    def of(self, domain: str) -> Clinical | Micro:
        """The keys of clinical CT, or of µCT."""
        return self.clinical if domain == "clinical" else self.micro

    @property
    def made(self) -> Phantom | None:
        """The lungs to make first: none where no root is theirs, whatever an experiment says of a phantom."""
        roots = (self.clinical.root, self.micro.root, self.paired.root)
        if self.phantom is None or not any(lies_in(self.phantom.root, root) for root in roots):
            return None
        return self.phantom
