"""Whether all cases show structures at one size: f(x), an eighth of a micro-CT image, and clinical ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
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

    Each case is compared with each other, so that no average hides one: the two domains in what is trained on, and in
    what is held out, and each domain with itself.

    Args:
        domains: clinical, micro, or both -> part -> cases; a case may be in several parts.
    """
    across = _across(domains["clinical"], domains["micro"]) if {"clinical", "micro"} <= domains.keys() else ()
    return [*across, *(line for domain, parts in domains.items() for line in _within(domain, parts))]


@dataclass(frozen=True)
class _Gap:
    """Cases of large pixels, and those of small ones that they are too far from."""

    ratio: float  # of the largest to the smallest
    large: Pixels
    small: Pixels

    def __or__(self, other: _Gap) -> _Gap:
        return _Gap(self.ratio, {**self.large, **other.large}, {**self.small, **other.small})

    def __str__(self) -> str:
        return f"{_named(self.large)} against {_named(self.small)}"


def _gap(large: Pixels, small: Pixels, unit: float = 1) -> _Gap | None:
    """What is too far apart, if anything, where the large ones are to be `1 / unit` times the small ones."""
    if not (large and small):
        return None
    most, least = max(large.values()), min(small.values())
    off = _Gap(
        unit * most / least,
        {name: pixel for name, pixel in large.items() if _apart(unit * pixel / least)},
        {name: pixel for name, pixel in small.items() if _apart(unit * most / pixel)},
    )
    return off if off.large else None


def _apart(ratio: float) -> bool:
    return round(ratio, 4) > APART  # headers hold single precision


def _across(clinical: Parts, micro: Parts) -> Iterator[str]:
    """Clinical pixels against those of f(x)."""
    found: dict[tuple[str, str, str], tuple[list[str], _Gap]] = {}  # those alike in training and beyond are one line
    for where, parts in (("training", ("train",)), ("validation and test", ("val", "test"))):
        of_ct, of_micro = _together(clinical, parts), _together(micro, parts)
        for larger, smaller, gap in (
            ("clinical", "micro-CT", _gap(of_ct, of_micro, 1 / SCALE)),
            ("micro-CT", "clinical", _gap(of_micro, of_ct, SCALE)),
        ):
            if gap is not None:
                places, known = found.get((larger, smaller, f"{gap.ratio:.3g}"), ([], gap))
                found[larger, smaller, f"{gap.ratio:.3g}"] = [*places, where], known | gap
    for (larger, smaller, ratio), (places, gap) in found.items():
        yield (
            f"the domains differ in scale by {ratio} in {', '.join(places)}: {larger} structures cover fewer pixels "
            f"than {smaller} ones ({gap}; f(x) has {SCALE} micro-CT pixels in one); "
            f"data.clinical.spacing={SCALE} x data.micro.spacing brings them to one"
        )


def _within(domain: str, parts: Parts) -> Iterator[str]:
    """Each case of a domain against the others."""
    everyone = {}
    for name, pixel in _together(parts, parts).items():
        places = [part for part, cases in parts.items() if name in cases]
        everyone[name if len(places) > 1 else f"{name} ({places[0]})"] = pixel
    if (gap := _gap(everyone, everyone)) is not None:
        yield (
            f"{domain} pixels differ in size by {gap.ratio:.3g}: {gap}, so one network sees structures at both sizes; "
            f"data.{domain}.spacing=<mm> brings them to one"
        )


def _together(cases: Parts, parts: Iterable[str]) -> dict[str, float]:
    return {name: pixel for part in parts for name, pixel in cases[part].items()}


def _named(cases: Pixels) -> str:
    """The cases, from the smallest pixels on, and the sizes of these."""
    names = sorted(cases, key=lambda name: cases[name])
    sizes = dict.fromkeys(f"{cases[name]:.3g}" for name in (names[0], names[-1]))
    return f"{' to '.join(sizes)} mm ({some_of(names, NAMED)})"
