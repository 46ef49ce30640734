"""What is kept of a scan beside its voxels, and what of that is worth a warning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from ctsr.errors import some_of
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
FEWEST_ALIKE = 3  # cases; of fewer nobody can tell which is the odd one
NAMED = 4  # values in a message
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


@dataclass(frozen=True)
class _Figure:
    """Something that most cases of a domain should have in common.

    Attributes:
        name: Of it.
        of: Its value in a case, above 0.
        alike: Least and largest ratio of a value to the usual one.
        text: A value in words.
        ask: What a case that differs makes one ask.
    """

    name: str
    of: Callable[[CaseFacts], float]
    alike: tuple[float, float]
    text: str
    ask: str = ""

    def odd(self, value: float, usual: float) -> bool:
        """Whether a value differs from the usual one."""
        low, high = self.alike
        return not low * usual <= value <= high * usual

    def usual(self, cohort: Sequence[CaseFacts]) -> float | None:
        """The value that most cases are near to; None: they do not agree, or are too few."""
        values = [self.of(case) for case in cohort]
        middle = median(values)  # lies among those alike where these are more than half
        alike = sum(not self.odd(value, middle) for value in values)
        return middle if alike >= FEWEST_ALIKE and 2 * alike > len(values) else None

    def outlier(self, case: CaseFacts, cohort: Sequence[CaseFacts]) -> list[str]:
        """A warning where a case differs from a cohort that agrees."""
        value, usual = self.of(case), self.usual(cohort)
        if usual is None or not self.odd(value, usual):
            return []
        return [f"{self.name} {self.text.format(value)}, where {self.text.format(usual)} is usual here{self.ask}"]

    def spread(self, cohort: Sequence[CaseFacts]) -> list[str]:
        """A line where a cohort does not agree."""
        cases = sorted(cohort, key=self.of)
        low, high = self.of(cases[0]), self.of(cases[-1])
        if self.usual(cohort) is not None or not self.odd(high, low):
            return []
        each = some_of([f"{case.name} {self.text.format(self.of(case))}" for case in cases], NAMED)
        return [f"{self.name} from {self.text.format(low)} to {self.text.format(high)}, none of them usual ({each})"]


_NEAR = (1 - OUTLIER, 1 + OUTLIER)
SLICES = _Figure("slice distance", lambda facts: facts.spacing[0], _NEAR, "{:.3g} mm")
PIXELS = _Figure("pixel size", lambda facts: facts.spacing[1], _NEAR, "{:.3g} mm")
GREYS = _Figure(
    "greys span",
    lambda facts: facts.window.high - facts.window.low,
    (1 / WIDE, WIDE),
    "{:.4g}",
    ": another scanner or scale?",
)


def notes_of(cohort: Sequence[CaseFacts]) -> list[str]:
    """A line where the cases of a domain have no usual value, so that none of them is the odd one.

    Pixels are not among them: `ctsr.data.scales` compares these.

    Args:
        cohort: All cases of the domain, each once.
    """
    domain = cohort[0].domain
    told = [text for figure in (SLICES, *([GREYS] if domain == "micro" else [])) for text in figure.spread(cohort)]
    return [f"{domain} cases differ: {'; '.join(told)}"] if told else []


def warnings_of(facts: CaseFacts, cohort: Sequence[CaseFacts], patches: int) -> list[str]:
    """What somebody should look at before a training.

    Args:
        facts: Of the case, as `case.json` has them.
        cohort: Of all cases of its domain, each once, itself included.
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
    return [*found, *SLICES.outlier(facts, cohort), *PIXELS.outlier(facts, cohort)]


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
    found = GREYS.outlier(facts, cohort)
    for end, share in zip(("darkest", "brightest"), facts.at_ends, strict=True):
        if share > SATURATED:
            found.append(f"{share:.0%} of the specimen have the {end} grey: saturated")
    return found
