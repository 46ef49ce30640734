"""Whether all cases show structures at one size: f(x), an eighth of a micro-CT image, and clinical ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from statistics import median

from ctsr.errors import some_of
from ctsr.imaging.volume import SCALE

APART = 1.5  # the paper's own setting has 1.5 to 1.9
NAMED = 3  # cases in a message

Pixels = Mapping[str, float]  # case -> its in-plane spacing as prepared, mm
Parts = Mapping[str, Pixels]  # train, val and test -> their cases


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


def _with_parts(parts: Parts) -> Pixels:
    """Cases by their names, with the part they are in where it is one."""
    named = {}
    for name, pixel in {name: pixel for cases in parts.values() for name, pixel in cases.items()}.items():
        places = [part for part, cases in parts.items() if name in cases]
        named[name if len(places) > 1 else f"{places[0]} {name}"] = pixel
    return named


def _gap(large: Pixels, small: Pixels, unit: float = 1) -> tuple[float, str] | None:
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


def _named(cases: Pixels) -> str:
    """The cases, from the smallest pixels on, and the sizes of these."""
    names = sorted(cases, key=lambda name: cases[name])
    sizes = dict.fromkeys(f"{cases[name]:.3g}" for name in (names[0], names[-1]))
    return f"{some_of(names, NAMED)}: {' to '.join(sizes)} mm"
