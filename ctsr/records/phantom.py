"""What phantom to generate."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from ctsr.records.settings import Settings
from ctsr.records.values import Count, Millimetres, NotNegative, PositiveRange, Range, Seed, Share, Shares, Whole

SetName = Literal["training", "settings", "judging"]

SMALLEST_FIELD = 10.0  # mm: a smaller piece of lung would have no vessels


class PhantomSettings(Settings):
    """What to generate. A pair is a range: every case draws its own value from it, evenly.

    Attributes:
        seed: Of everything; each case has a stream of its own, so its bytes do not depend on the number of cases.
        clinical_cases: Unpaired clinical training scans.
        micro_cases: Unpaired µCT training scans, of other lungs.
        paired_cases: Held-out lungs seen by both scanners.
        empty_cases: As these, without a vessel, airway or nodule: what a network sees there it has made up.
        clinical_slices: Slices of a clinical training scan.
        clinical_pixels: Its rows and columns; the field of view holds a whole lung with chest wall and air around it.
        micro_slices: Slices of a µCT training scan.
        micro_pixels: Its rows and columns; the field of view holds a resected specimen in air.
        paired_slices: Clinical slices of a paired case; `factor` times as many µCT slices.
        paired_pixels: Its clinical rows and columns; `factor` times as many in µCT.
        factor: Clinical pixels are this many paired µCT voxels wide.
        clinical_spacing: Clinical pixel size and slice distance in mm.
        micro_spacing: µCT voxel size of the training scans in mm.
        tissue_share: Mean share of tissue in parenchyma; the rest is air.
        cell_edge: Cube root of the mean alveolar volume in mm (an alveolus is a ball of 1.24 times that diameter).
        vessel_diameter: Diameter in mm of a vessel that supplies 126 mm³ of lung; it grows with the cube root.
        nodule_probability: Of a nodule in a case.
        nodule_radius: In mm.
        clinical_spread: In-plane point spread of clinical CT, full width at half maximum in mm.
        slice_width: Slice profile of clinical CT, full width at half maximum in mm.
        clinical_noise: Standard deviation in HU.
        clinical_cutoff: Width of the reconstruction kernel's noise spectrum in cycles per pixel.
        micro_gain: Grey difference between soft tissue and air in µCT.
        micro_offset: Grey of air in µCT.
        micro_blur: Standard deviation of µCT's point spread in voxels.
        micro_noise: Standard deviation as a share of the gain.
        micro_rings: Standard deviation of ring artefacts as a share of the gain.
    """

    seed: Seed = 0
    clinical_cases: Whole = 4
    micro_cases: Whole = 4
    paired_cases: Whole = 3
    empty_cases: Whole = 0
    clinical_slices: Count = 12
    clinical_pixels: Count = 128
    micro_slices: Count = 48
    micro_pixels: Count = 512
    paired_slices: Count = 6
    paired_pixels: Count = 64
    factor: Count = 8
    clinical_spacing: Millimetres = 0.625
    micro_spacing: PositiveRange = (0.078125, 0.078125)
    tissue_share: Shares = (0.10, 0.15)
    cell_edge: PositiveRange = (0.18, 0.20)
    vessel_diameter: Range = (0.38, 0.46)
    nodule_probability: Share = 0.5
    nodule_radius: Range = (1.5, 4.0)
    clinical_spread: PositiveRange = (1.05, 1.25)
    slice_width: NotNegative = 0.6
    clinical_noise: Range = (8.0, 14.0)
    clinical_cutoff: PositiveRange = (0.17, 0.23)
    micro_gain: PositiveRange = (14000.0, 22000.0)
    micro_offset: Range = (4000.0, 9000.0)
    micro_blur: Range = (0.55, 0.75)
    micro_noise: Range = (0.02, 0.035)
    micro_rings: Range = (0.004, 0.008)

    @model_validator(mode="after")
    def _show_lung(self) -> PhantomSettings:
        fields = {
            "clinical_pixels": self.clinical_pixels * self.clinical_spacing,
            "micro_pixels": self.micro_pixels * self.micro_spacing[0],
            "paired_pixels": self.paired_pixels * self.clinical_spacing,
        }
        for name, field in fields.items():
            if field < SMALLEST_FIELD:
                raise ValueError(f"{name} shows {field:g} mm of lung: at least {SMALLEST_FIELD:g} mm are needed")
        return self

    @staticmethod
    def tiny(seed: int = 0) -> PhantomSettings:
        """Settings for tests: a second or two of work, one or two small cases of each kind."""
        return PhantomSettings(
            seed=seed,
            clinical_cases=2,
            micro_cases=2,
            paired_cases=1,
            clinical_slices=6,
            clinical_pixels=48,
            micro_slices=16,
            micro_pixels=128,
            paired_slices=2,
            paired_pixels=16,
            nodule_radius=(1.0, 1.5),
        )


class ProjectionSettings(Settings):
    """Lungs in bodies through the projection scanner, in each kind of a set; drawn as `PhantomSettings` has it.

    Attributes:
        seed: Of everything; each lung has a stream of its own.
        set: Kinds and lungs: for training, for choosing settings, or for judging.
        lungs: How many.
        slices: Clinical slices of each; `factor` times as many µCT slices.
        pixels: Clinical rows and columns that the µCT covers.
        field: Rows and columns of the clinical scans, which show the body.
        factor: Clinical pixels are this many µCT voxels wide.
        clinical_spacing: Clinical pixel size, slice distance and width of a detector row in mm.
        views: Of the detector over half a turn.
    """

    seed: Seed = 0
    set: SetName = "settings"
    lungs: Count = 3
    slices: Count = 6
    pixels: Count = 64
    field: Count = 320
    factor: Count = 8
    clinical_spacing: Millimetres = 0.625
    views: Count = 720

    @model_validator(mode="after")
    def _show_lung(self) -> ProjectionSettings:
        if (shown := self.pixels * self.clinical_spacing) < SMALLEST_FIELD:
            raise ValueError(f"pixels show {shown:g} mm of lung: at least {SMALLEST_FIELD:g} mm are needed")
        return self

    @staticmethod
    def tiny(seed: int = 0) -> ProjectionSettings:
        """Settings for tests: some seconds of work."""
        return ProjectionSettings(seed=seed, lungs=1, slices=2, pixels=16, views=90)


def lies_in(root: str, path: str | None) -> bool:
    """Whether a path is of a phantom in `root`, be it made already or not."""
    return path is not None and Path(path).resolve().is_relative_to(Path(root).resolve())
