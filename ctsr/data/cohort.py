"""What is odd about cases together: values unlike the others', pixels of several sizes, one scan given twice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from ctsr.errors import some_of
from ctsr.imaging.volume import SCALE
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
NAMED_VALUES = 4  # in a message

APART = 1.5  # the paper's own setting has 1.5 to 1.9
NAMED = 3  # cases in a message
PixelSizes = Mapping[str, float]  # case -> its in-plane spacing as prepared, mm
Parts = Mapping[str, PixelSizes]  # train, val and test -> their cases


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

    def disagreement(self, cohort: Sequence[CaseFacts]) -> list[str]:
        """A line where a cohort does not agree."""
        cases = sorted(cohort, key=self.of)
        low, high = self.of(cases[0]), self.of(cases[-1])
        if self.usual(cohort) is not None or not self.odd(high, low):
            return []
        each = some_of([f"{case.name} {self.text.format(self.of(case))}" for case in cases], NAMED_VALUES)
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

    Pixels are not among them: `scale_notes` compares these.

    Args:
        cohort: All cases of the domain, each once.
    """
    domain = cohort[0].domain
    told = [
        text for figure in (SLICES, *([GREYS] if domain == "micro" else [])) for text in figure.disagreement(cohort)
    ]
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


def twins(marks: Mapping[str, Sequence[str]]) -> str | None:
    """What to tell of scans that are one and the same; None: each is another.

    Args:
        marks: A scan's name to what tells it, any of them alone: where it lies, hashes of its files and its voxels.
    """
    first: dict[str, str] = {}
    pairs = {}
    for name, own in marks.items():
        twin = next((first[mark] for mark in own if mark in first), None)
        if twin is not None:
            pairs[name] = twin
        for mark in own:
            first.setdefault(mark, name)
    if not pairs:
        return None
    name, twin = next(iter(pairs.items()))
    more = f"; so are {len(pairs) - 1} more" if len(pairs) > 1 else ""
    return f"{twin} and {name} are the same scan{more}: give each scan once"


def scale_ratio(clinical: Collection[float], micro: Collection[float]) -> float:
    """How much larger a clinical pixel is than one of f(x); 1: both show structures at one size.

    Args:
        clinical: In-plane spacing of each clinical case as prepared, mm.
        micro: Of each micro-CT case.
    """
    return median(clinical) / (SCALE * median(micro))


def scale_notes(domains: Mapping[str, Parts]) -> list[str]:
    """A line wherever cases are further apart than pixels of one size would be; none: near enough.

    Each case is compared with each other, so that no average hides one: those of both domains, and those of one.

    Args:
        domains: clinical, micro, or both -> part -> cases; a case may be in several parts.
    """
    cases = {domain: _with_parts(parts) for domain, parts in domains.items()}
    notes = []
    for larger, smaller, unit in (("clinical", "micro", 1 / SCALE), ("micro", "clinical", SCALE)):
        if len(cases) == 2 and (gap := _gap(cases[larger], cases[smaller], unit)) is not None:
            ratio, which = gap
            notes.append(
                f"the domains differ in scale by {ratio:.3g}: {larger} structures cover fewer pixels than {smaller} "
                f"ones ({which}; f(x) has {SCALE} micro pixels in one); data.clinical.spacing={SCALE} x "
                "data.micro.spacing brings them to one"
            )
    for domain, pixels in cases.items():
        if (gap := _gap(pixels, pixels)) is not None:
            ratio, which = gap
            notes.append(
                f"{domain} pixels differ in size by {ratio:.3g} ({which}), so one network sees structures at both "
                f"sizes; data.{domain}.spacing=<mm> brings them to one"
            )
    return notes


def _with_parts(parts: Parts) -> PixelSizes:
    """Cases by their names, with the part they are in where it is one."""
    named = {}
    for name, pixel in {name: pixel for cases in parts.values() for name, pixel in cases.items()}.items():
        places = [part for part, cases in parts.items() if name in cases]
        named[name if len(places) > 1 else f"{places[0]} {name}"] = pixel
    return named


def _gap(large: PixelSizes, small: PixelSizes, unit: float = 1) -> tuple[float, str] | None:
    """How far apart cases are, and which, where large pixels are to be `1 / unit` small ones; None: not too far."""
    if not (large and small):
        return None
    most, least = max(large.values()), min(small.values())
    if not _apart(unit * most / least):
        return None
    coarse = {name: pixel for name, pixel in large.items() if _apart(unit * pixel / least)}
    fine = {name: pixel for name, pixel in small.items() if _apart(unit * most / pixel)}
    return unit * most / least, f"{_named(coarse)} against {_named(fine)}"


def _apart(ratio: float) -> bool:
    return round(ratio, 4) > APART  # headers hold single precision


def _named(cases: PixelSizes) -> str:
    """The cases, from the smallest pixels on, and the sizes of these."""
    names = sorted(cases, key=lambda name: cases[name])
    sizes = dict.fromkeys(f"{cases[name]:.3g}" for name in (names[0], names[-1]))
    return f"{some_of(names, NAMED)}: {' to '.join(sizes)} mm"
