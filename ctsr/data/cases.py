"""Cases (one scan each) found in a folder, and their split into training, validation and test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctsr.errors import UserError
from ctsr.imaging.formats import FORMATS, format_of, natural_key, stem

Split = dict[str, list[str]]


@dataclass(frozen=True)
class Case:
    """One scan.

    Attributes:
        name: Unique among the cases of its domain.
        path: What `ctsr.imaging.readers.read_volume` reads.
    """

    name: str
    path: Path


def find_cases(root: str | Path, domain: str) -> list[Case]:
    """The scans at a place, sorted by name.

    Args:
        root: One scan (a file, a folder of slices, or an OME-Zarr folder), or a folder of scans at any depth. Hidden
            and other files are passed over.
        domain: "clinical" or "micro", for error messages.

    Raises:
        UserError: Nothing is there, or two scans share a name.
    """
    root = Path(root).expanduser()
    key = f"data.{domain}.root={root}"
    if not root.exists():
        raise UserError(f"{key} does not exist: give {FORMATS}, or a folder of these")
    if root.is_file() or _is_scan(root):
        return [Case(stem(root.resolve()), root)]
    cases = [case for path in _visible(root) for case in _cases_at(path)]
    if not cases:
        raise UserError(f"{key} holds no scan: give {FORMATS}, or a folder of these")
    by_name: dict[str, Case] = {}
    for case in cases:
        twin = by_name.setdefault(case.name, case)
        if twin is not case:
            raise UserError(f"{key}: {twin.path.name} and {case.path.name} would both be case {case.name}: rename one")
    return [by_name[name] for name in sorted(by_name)]


def _cases_at(path: Path) -> list[Case]:
    """The cases in a file or folder directly below the root; a patient's folder with one scan gives it its name."""
    scans = list(_scans_at(path))
    if path.is_file() or len(scans) == 1:
        return [Case(stem(path), scan) for scan in scans]
    inner = [scan.relative_to(path).with_name(stem(scan)) for scan in scans]
    return [Case("-".join((path.name, *name.parts)), scan) for name, scan in zip(inner, scans, strict=True)]


def _scans_at(path: Path) -> Iterator[Path]:
    if _is_scan(path):
        yield path
    elif path.is_dir():
        for below in _visible(path):
            yield from _scans_at(below)


def _visible(folder: Path) -> list[Path]:
    return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=natural_key)


def _is_scan(path: Path) -> bool:
    """Whether a file, or the files in a folder together, are one scan."""
    found = format_of(path)
    if found == "tiff" and path.is_dir():
        from ctsr.imaging.tiff import holds_slices  # here, since training on prepared cases should not need its library

        return holds_slices(path)
    return found is not None


def split_cases(
    names: Sequence[str], val: float | Sequence[str] = 0.2, test: float | Sequence[str] = 0.2, seed: int = 0
) -> Split:
    """Split cases, never slices or patches, into "train", "val" and "test".

    The split depends on the set of names and the seed alone. Validation gets at least one case where there are two,
    test at least one where there are three and `test` is not 0, training always. One case alone serves both training
    and validation, see `shared_cases`.

    Args:
        names: All cases of a domain.
        val: Share of the cases, or their names.
        test: Share of the cases, or their names.
        seed: Of the draw.

    Raises:
        UserError: A named case is unknown or named twice, or none is left to train on.
    """
    asked = {"val": val, "test": test}
    named = {part: list(value) for part, value in asked.items() if isinstance(value, Sequence)}
    shares = {part: value for part, value in asked.items() if not isinstance(value, Sequence)}
    for part, wanted in named.items():
        unknown = sorted(set(wanted) - set(names))
        if unknown:
            raise UserError(f"data.split.{part} names {', '.join(unknown)}: the cases are {', '.join(sorted(names))}")
    twice = sorted(set(named.get("val", [])) & set(named.get("test", [])))
    if twice:
        raise UserError(f"data.split names {', '.join(twice)} for both val and test")
    for part, share in shares.items():
        if not 0 <= share < 1:
            raise UserError(f"data.split.{part}={share} is no share of the cases: give 0 to less than 1, or names")

    drawn = sorted(set(names).difference(*named.values()))
    np.random.default_rng(seed).shuffle(drawn)
    total = len(set(names))
    at_least = {"val": total >= 2, "test": total >= 3 and test != 0}
    counts = {part: max(int(at_least[part]), round(share * total)) for part, share in shares.items()}
    while sum(counts.values()) >= max(len(drawn), 1) and any(counts.values()):
        counts[max(counts, key=lambda part: (counts[part] - at_least[part], part == "test"))] -= 1
    parts = {part: named[part] if part in named else [drawn.pop() for _ in range(counts[part])] for part in asked}
    if total == 1 and not named:
        parts["val"] = list(drawn)
    if not drawn:
        raise UserError("data.split leaves no case to train on: name fewer for val and test")
    return {"train": sorted(drawn), "val": sorted(parts["val"]), "test": sorted(parts["test"])}


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
