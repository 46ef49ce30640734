"""What is kept of a scan beside its voxels, and what of that is worth a warning."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from ctsr.imaging.volume import Header, Volume
from ctsr.records.case import CaseFacts

LUNG_HU = (-930.0, -650.0)  # medians of lungs, from emphysema at full breath to expiration
WHOLE_LUNGS_ML = 1500.0
THICK_MM = 2.5  # slices further apart show little of what is to be learned
COARSE = 1.3  # a pixel this much larger than wanted holds none of the detail that is wanted
OUTLIER = 0.2  # a spacing that differs by this share from the others'
WIDE = 2.0  # so does a µCT's range of greys, by this factor
SATURATED = 0.02  # share of a µCT's specimen at the end of the range
FEW_PATCHES = 50
_SAMPLE = 5_000_000


def case_facts(scanned: Header, volume: Volume, mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Facts of one case, as plain values.

    Args:
        scanned: The scan in canonical orientation, before it is resampled.
        volume: The scan in its own greys, on the grid that it is prepared on.
        mask: True inside, the same grid.

    Returns:
        `format`, `scanned_shape`, `scanned_spacing`, `greys`, `volume_ml` and `at_ends` of
        `ctsr.records.case.CaseFacts`, and `scanned_thickness` where the scan tells it.
    """
    step = max(1, round((mask.size / _SAMPLE) ** 0.5))
    inside = volume.array[:, ::step, ::step][mask[:, ::step, ::step]]
    if not inside.size:
        inside = volume.array[mask]
    ends = volume.array.min(), volume.array.max()
    thickness = {} if scanned.thickness is None else {"scanned_thickness": scanned.thickness}
    return thickness | {
        "format": scanned.format,
        "scanned_shape": list(scanned.shape),
        "scanned_spacing": list(scanned.spacing),
        "greys": [float(grey) for grey in np.percentile(inside, (0.5, 50, 99.5))],
        "volume_ml": float(mask.sum() * np.prod(volume.spacing) / 1000),
        "at_ends": [float((inside == end).mean()) for end in ends],
    }


def warnings_of(facts: CaseFacts, cohort: Sequence[CaseFacts], patches: int) -> list[str]:
    """What somebody should look at before a training.

    Args:
        facts: Of the case, as `case.json` has them.
        cohort: Of all cases of its domain, itself included.
        patches: Places that its patches can be drawn from.
    """
    of_domain = _of_lung(facts) if facts.domain == "clinical" else _of_micro(facts, cohort)
    found = [*_of_grid(facts, cohort), *of_domain]
    if patches < FEW_PATCHES:
        found.append(f"only {patches} places for patches: each will be seen again and again")
    return found


def interpolated(plane: Sequence[float], wanted: float | None) -> list[str]:
    """A warning where pixels (y, x) as scanned, in mm, are too large for the wanted ones; None: they stay."""
    coarsest = max(plane)
    if wanted is None or coarsest <= COARSE * wanted:
        return []
    return [f"pixels of {coarsest:.3g} mm brought to {wanted:g} mm: detail is interpolated"]


def _of_grid(facts: CaseFacts, cohort: Sequence[CaseFacts]) -> list[str]:
    found = interpolated(facts.scanned_spacing[1:], facts.settings["spacing"])
    distance = facts.spacing[0]
    if facts.domain == "clinical" and distance > THICK_MM:
        found.append(f"slices {distance:.3g} mm apart: too thick for small structures")
    for what, axis in (("slice distance", 0), ("pixel size", 1)):
        usual = median(other.spacing[axis] for other in cohort)
        if abs(facts.spacing[axis] / usual - 1) > OUTLIER:
            found.append(f"{what} {facts.spacing[axis]:.3g} mm, where {usual:.3g} mm is usual here")
    return found


def _of_lung(facts: CaseFacts) -> list[str]:
    found = []
    low, high = LUNG_HU
    middle = facts.greys[1]
    if not low <= middle <= high:
        found.append(f"median of {middle:.0f} HU in the lung: is the scan in HU, and is it lung?")
    if facts.volume_ml < WHOLE_LUNGS_ML:
        found.append(f"{facts.volume_ml:.0f} ml: part of the lungs only")
    return found


def _of_micro(facts: CaseFacts, cohort: Sequence[CaseFacts]) -> list[str]:
    found = []
    usual = median(other.window.high - other.window.low for other in cohort)
    width = facts.window.high - facts.window.low
    if not 1 / WIDE <= width / usual <= WIDE:
        found.append(f"greys span {width:.4g}, where {usual:.4g} is usual here: another scanner or scale?")
    for end, share in zip(("darkest", "brightest"), facts.at_ends, strict=True):
        if share > SATURATED:
            found.append(f"{share:.0%} of the specimen have the {end} grey: saturated")
    return found
