"""Label maps (masks, segmentations) beside scans, in the same formats: told by their place, name or voxels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ctsr.errors import UserError
from ctsr.imaging.formats.readers import naming
from ctsr.imaging.formats.recognise import format_of, stem
from ctsr.imaging.formats.table import TABLE, Options
from ctsr.imaging.volume import Array

PLACES = ("label", "labels", "labelstr", "labelsts", "labelsval", "mask", "masks", "segmentation", "segmentations")
_NAMED = re.compile(r"(\.seg|[._-](seg|segmentation|dseg|mask|masks|label|labels|labelmap))$", re.IGNORECASE)
MOST_LABELS = 150  # TotalSegmentator has 117
HIGHEST_LABEL = 255
FEW_GREYS = 4  # as many are no scan, however they lie
UNIFORM = 0.8  # share of neighbours with one label, leaving out the most frequent; in a scan's noise few are alike
NEVER = 1e-3  # a probability; background has no more
SLICES = 4  # looked at, of a volume


def is_label_place(name: str) -> bool:
    """Whether folders of that name hold label maps, in the layouts of public data sets."""
    return name.lower() in PLACES


def is_label_name(path: Path) -> bool:
    """Whether a scan's file or folder is named as segmentation programs name label maps."""
    return _NAMED.search(stem(path)) is not None


def why_label_map(path: Path, expected: bool = False) -> str | None:
    """Why a scan is taken for a label map; None: it is none, or is not readable, which its reader will tell.

    A few whole numbers from 0 make a label map, in any number type, where they lie in patches of one number; greys of
    CT go below 0 or far above the labels, and noise makes neighbours differ. At the first slice that is none, no more
    is read.

    Args:
        path: Of any format that is read.
        expected: Its place or name says label map: then labels may be higher and more, or probabilities, or all 0.
    """
    if re.search(r"\.seg\.(nrrd|nhdr)$", path.name, re.IGNORECASE):
        return "a segmentation by its name"
    try:
        with naming(path):
            return _why(path, expected)
    except UserError:  # the scan's reader meets it again, and tells
        return None


def _why(path: Path, expected: bool) -> str | None:
    greys: set[float] = set()
    alike = edges = 0
    for plane in _planes(path):
        if plane.ndim != 2 or not _may_be_labels(plane, expected):
            return None
        found, counts = np.unique(plane, return_counts=True)
        greys |= set(found.astype(float).tolist())
        background = found[counts.argmax()]
        for a, b in ((plane[1:], plane[:-1]), (plane[:, 1:], plane[:, :-1])):
            inside = (a != background) | (b != background)
            alike, edges = alike + int((a == b)[inside].sum()), edges + int(inside.sum())
        uniform = alike >= UNIFORM * edges and (expected or len(greys) <= MOST_LABELS)
        if len(greys) > FEW_GREYS and max(greys) > 1 and not uniform:
            return None
    if expected:
        return "a label map" if greys else None
    if len(greys) < 2:
        return None  # all of one grey, as far as was looked
    few = sorted(greys)[:FEW_GREYS]
    listed = ", ".join(f"{grey:g}" for grey in few) + (", ..." if len(greys) > FEW_GREYS else "")
    return f"a label map or segmentation of only {_counted(len(greys))} greys ({listed})"


def _counted(number: int) -> str:
    return {2: "two", 3: "three", 4: "four"}.get(number, str(number))


def _may_be_labels(plane: Array, expected: bool) -> bool:
    if plane.dtype.kind not in "iufb" or not plane.size or plane.min() < 0:
        return False
    whole = plane.dtype.kind != "f" or bool((plane == np.rint(plane)).all())
    if whole:
        return bool(expected or plane.max() <= HIGHEST_LABEL)
    return bool(expected and plane.max() <= 1 and np.median(plane) < NEVER)  # probabilities


def _planes(path: Path) -> Iterator[Array]:
    name = format_of(path)
    return iter(()) if name is None else TABLE[name].open(path, Options()).some_slices(_chosen)


def _chosen(count: int) -> list[int]:
    """A few slices: those of the ends, which are cheap to come to, and of the middle."""
    return sorted({round(k * (count - 1) / (SLICES - 1)) for k in range(SLICES)})
