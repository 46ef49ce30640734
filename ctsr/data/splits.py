"""The split of cases into training, validation and test, by patient; or of one case into slabs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ctsr.data.finding.cases import Case
from ctsr.errors import UserError, warn_once

Split = dict[str, list[str]]
PARTS = ("train", "val", "test")


def split_cases(
    cases: Mapping[str, Sequence[Case]],
    val: float | Sequence[str] = 0.2,
    test: float | Sequence[str] = 0.2,
    seed: int = 0,
) -> dict[str, Split]:
    """Split the cases of each domain, never slices or patches, into "train", "val" and "test".

    A patient's cases are in one part, in both domains. The split depends on the patients, their cases' names and the
    seed alone. In each domain validation gets at least one patient where there are two, test at least one where there
    are three and `test` is not 0, training always. One patient alone serves both training and validation, see
    `shared_cases`.

    Args:
        cases: Domain -> its cases. What `Case.part` says is kept.
        val: Share of the patients, or names of cases or patients, of either domain; one case takes its patient's
            others with it. In a domain of which none is named one is drawn.
        test: The same; none is drawn where none is named.
        seed: Of the draw.

    Returns:
        Domain -> part -> names of cases.

    Raises:
        UserError: A name is unknown, a patient is meant to be in two parts, or none is left to train on.
    """
    everyone = [case for found in cases.values() for case in found]
    parts = _listed(everyone)
    shares: dict[str, float] = {}
    for part, asked in (("val", val), ("test", test)):
        if isinstance(asked, Sequence):
            names = [asked] if isinstance(asked, str) else [str(name) for name in asked]  # a number may come as one
            _name(parts, part, names, everyone)
            shares[part] = 0.0
        elif 0 <= asked < 1:
            shares[part] = asked
        else:
            raise UserError(f"data.split.{part}={asked} is no share of the patients: give 0 to less than 1, or names")
    drawn: dict[str, Split] = {}
    for domain in sorted(cases, key=lambda one: len({case.patient for case in cases[one]})):
        # The domain with fewer patients first: those that are in the other one too are then given there.
        drawn[domain] = _drawn(domain, cases[domain], parts, shares, seed)
    return {domain: drawn[domain] for domain in cases}


def _listed(cases: Sequence[Case]) -> dict[str, str]:
    """Patient -> part, as far as the cases say."""
    parts: dict[str, str] = {}
    for case in cases:
        if case.part is not None and parts.setdefault(case.patient, case.part) != case.part:
            raise UserError(
                f"case {case.name} is for {case.part}, but other cases of patient {case.patient} are for "
                f"{parts[case.patient]}: keep a patient in one part"
            )
    return parts


def _name(parts: dict[str, str], part: str, asked: Sequence[str], cases: Sequence[Case]) -> None:
    """Note the part of patients that are named, or a case of theirs."""
    for name in asked:
        patients = {case.patient for case in cases if name in (case.name, case.patient)}
        if not patients:
            known = ", ".join(sorted({case.name for case in cases}))
            raise UserError(f"data.split.{part} names {name}: the cases are {known}")
        for patient in sorted(patients):
            if parts.setdefault(patient, part) != part:
                raise UserError(f"data.split names {name} for both {parts[patient]} and {part}")
            others = sorted({c.name for c in cases if c.patient == patient} - set(asked))
            if others and patient not in asked:
                warn_once(
                    f"data.split.{part} names case {name}: the other cases of patient {patient} go with it: "
                    f"{', '.join(others)}"
                )


def _drawn(domain: str, cases: Sequence[Case], parts: dict[str, str], shares: Mapping[str, float], seed: int) -> Split:
    """The split of a domain; notes the part of each patient."""
    first: dict[str, str] = {}  # patient -> first of its cases' names, which orders them
    for case in sorted(cases, key=lambda case: case.name):
        first.setdefault(case.patient, case.name)
    free = [patient for patient in first if patient not in parts]
    np.random.default_rng(seed).shuffle(free)
    given = {part: sum(parts.get(patient) == part for patient in first) for part in PARTS}
    total = len(first)
    needed = {"val": int(total >= 2), "test": int(total >= 3 and shares["test"] != 0)}
    least = {part: max(needed[part] - given[part], 0) for part in needed}
    counts = {part: max(least[part], round(share * total) - given[part]) for part, share in shares.items()}
    while sum(counts.values()) > max(len(free) - (not given["train"]), 0) and any(counts.values()):
        most = max(filter(counts.get, counts), key=lambda part: (counts[part] - least[part], part == "test"))
        counts[most] -= 1
    for part, count in counts.items():
        parts.update({free.pop(): part for _ in range(count)})
    parts.update(dict.fromkeys(free, "train"))
    split = {part: sorted(case.name for case in cases if parts[case.patient] == part) for part in PARTS}
    if not split["train"]:
        raise UserError(f"data.split leaves no {domain} case to train on: name fewer for val and test")
    if total == 1:
        split["val"] = list(split["train"])
    return split


def shared_cases(split: Split) -> list[str]:
    """Cases that serve both training and evaluation, so that no figure on them is held out; worth a warning."""
    return sorted(set(split["train"]) & {*split["val"], *split["test"]})


@dataclass(frozen=True)
class SlabSplit:
    """One case cut along z into training, validation and test slabs, for those who have only one.

    Slabs of one lung resemble each other: figures on them are kinder than on another lung.

    Attributes:
        val: Share of the slices.
        test: Share of the slices.
        gap_mm: Omitted between two slabs: at least the slice thickness (`slab_mm` for µCT), so that they share nothing.
    """

    val: float = 0.2
    test: float = 0.2
    gap_mm: float = 1.0

    def ranges(self, slices: int, spacing: float) -> dict[str, range]:
        """Slices of each part, in the order train, val, test; an empty range for a share of 0.

        Args:
            slices: Number of slices of the case.
            spacing: Between slices, mm.

        Raises:
            UserError: Too few slices for the three parts and the gaps.
        """
        gap = int(np.ceil(self.gap_mm / spacing - 1e-6))
        shares = {"train": 1 - self.val - self.test, "val": self.val, "test": self.test}
        used = [share for share in shares.values() if share > 0]
        usable = slices - gap * (len(used) - 1)
        counts = {part: max(1, round(share * usable)) if share > 0 else 0 for part, share in shares.items()}
        counts["train"] = usable - counts["val"] - counts["test"]
        if shares["train"] <= 0 or counts["train"] < 1:
            raise UserError(
                f"{slices} slices of {spacing:g} mm are too few to cut off {self.val:g} val and {self.test:g} test "
                f"with gaps of {self.gap_mm:g} mm: lower data.split.val, test or gap_mm"
            )
        ranges, start = {}, 0
        for part, count in counts.items():
            ranges[part] = range(start, start + count)
            start += count + gap if count else 0
        return ranges
