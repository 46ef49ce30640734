"""Vessels and airway lumens that were found, missed and made up, by their size.

An image is smoothed a little and cut at a level; what is above it counts as seen: greys for vessels, for lumens how
much darker a place is than the wall that encloses it. A structure of the truth is found where at least half of it is
seen. A connected piece of what is seen is made up where it touches nothing of the kind in the truth. A lower level
finds more and makes up more: methods are compared by curves over all levels, and at equal detection. At a level where
an image is one fog, most of the empty lung being seen too, nothing counts as found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import area_closing, skeletonize

from ctsr.evaluation.measures.metrics import smoothed
from ctsr.imaging.volume import Image
from ctsr.phantom.labels import Label

Counts = npt.NDArray[np.int64]

SIZE_EDGES_MM = (0.2, 0.5, 1.0, 2.0)
"""Bounds of the classes of size: the diameter of a circle of equal area. Smaller ones are not counted."""

EQUAL_DETECTION = (0.5, 0.7)
LARGEST_LUMEN_MM = 4.0
SMOOTHING_MM = 0.156  # against noise and foam, before an image is cut
NEAR_MM = 0.2  # what is this near to a structure of the truth is no hallucination
FOG = 0.5  # share of the empty lung above which what is seen is no structure


@dataclass(frozen=True)
class Kind:
    """What is looked for.

    Attributes:
        name: As in names of measures.
        labels: What it is in the truth.
        excused: What may be seen besides and is no hallucination, such as other dense tissue.
        enclosed: What is looked for is dark and has a bright wall.
        levels: Where an image in [0, 1] is cut, from the one that sees least.
    """

    name: str
    labels: tuple[Label, ...]
    excused: tuple[Label, ...]
    enclosed: bool
    levels: tuple[float, ...]

    def view(self, image: Image, pixel_mm: float) -> Image:
        """What is cut: greys, or how much darker each place is than the wall around it; (H, W) in [0, 1]."""
        fine = smoothed(image, SMOOTHING_MM, pixel_mm)
        if not self.enclosed:
            return fine
        # Filled on every second pixel, which smoothing leaves nothing between of: four times as fast.
        largest = np.pi / 4 * (LARGEST_LUMEN_MM / pixel_mm / 2) ** 2
        coarse = area_closing(fine[::2, ::2], int(largest))
        filled = np.repeat(np.repeat(coarse, 2, axis=0), 2, axis=1)[: fine.shape[0], : fine.shape[1]]
        return np.asarray(np.maximum(filled - fine, 0.0), dtype=np.float32)


DENSE = (Label.VESSEL, Label.AIRWAY_WALL, Label.NODULE, Label.PLEURA, Label.CHEST_WALL)
VESSELS = Kind("vessels", (Label.VESSEL,), DENSE, False, tuple(np.round(np.arange(0.9, 0.14, -0.05), 2)))
LUMENS = Kind("lumens", (Label.AIRWAY_LUMEN,), (Label.OUTSIDE,), True, tuple(np.round(np.arange(0.7, 0.03, -0.04), 2)))
KINDS = (VESSELS, LUMENS)


@dataclass
class Tally:
    """Counts over slices.

    Attributes:
        there: Structures of the truth, (sizes,).
        found: Those of them that were seen, (levels, sizes).
        made_up: Pieces that the truth does not have, (levels, sizes).
        area_mm2: Lung that was looked at.
    """

    there: Counts
    found: Counts
    made_up: Counts
    area_mm2: float

    @classmethod
    def of(cls, kind: Kind, image: Image, labels: npt.NDArray[np.uint8], pixel_mm: float) -> Tally:
        """Counts in one slice.

        Args:
            kind: What to look for.
            image: (H, W) in [0, 1].
            labels: Truth, (H, W).
            pixel_mm: Pixel size in millimetres.
        """
        lung = ~np.isin(labels, (Label.OUTSIDE, Label.CHEST_WALL))
        truth, number = ndimage.label(np.isin(labels, kind.labels))
        objects = np.arange(1, number + 1)
        pixels = ndimage.sum_labels(np.ones(labels.shape), truth, objects)
        sizes = _classes(pixels, pixel_mm)
        reach = max(1, round(NEAR_MM / pixel_mm))
        known = ndimage.binary_dilation(np.isin(labels, (*kind.labels, *kind.excused)), iterations=reach)
        empty = lung & ~known
        view = kind.view(image, pixel_mm)
        found, made_up = [], []
        for level in kind.levels:
            seen = (view > level) & lung
            share = ndimage.mean(seen, truth, objects) if number else np.empty(0)
            fog = int((seen & empty).sum()) > FOG * int(empty.sum())
            found.append(_histogram(sizes[(np.asarray(share) >= 0.5) & (not fog)]))
            pieces, count = ndimage.label(seen)
            numbers = np.arange(1, count + 1)
            touches = ndimage.maximum(known, pieces, numbers) if count else np.empty(0)
            area = ndimage.sum_labels(np.ones(labels.shape), pieces, numbers)
            made_up.append(_histogram(_classes(area, pixel_mm)[np.asarray(touches) == 0]))
        return cls(_histogram(sizes), np.array(found), np.array(made_up), float(lung.sum()) * pixel_mm**2)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.there + other.there,
            self.found + other.found,
            self.made_up + other.made_up,
            self.area_mm2 + other.area_mm2,
        )

    def detection(self) -> npt.NDArray[np.float64]:
        """Share of the truth's structures that were found, at each level."""
        return np.asarray(self.found.sum(axis=1) / max(int(self.there.sum()), 1), dtype=np.float64)

    def hallucinations(self) -> npt.NDArray[np.float64]:
        """Made-up pieces per cm² of lung, at each level."""
        return np.asarray(self.made_up.sum(axis=1) / max(self.area_mm2 / 100.0, 1e-9), dtype=np.float64)

    def at_equal_detection(self, share: float) -> float:
        """Made-up pieces per cm² at the level that first finds this share; not a number where none does."""
        return first_reached(self.detection(), self.hallucinations(), share)


def total(tallies: Iterable[Tally]) -> Tally:
    """Counts of several slices together."""
    first, *others = tallies
    for tally in others:
        first = first + tally
    return first


def centreline_dice(image: Image, labels: npt.NDArray[np.uint8], pixel_mm: float, level: float = 0.5) -> float:
    """Centreline Dice of vessels (Shit et al. 2021): does each one's centreline lie within the other?

    Args:
        image: (H, W) in [0, 1].
        labels: Truth, (H, W).
        pixel_mm: Pixel size in millimetres.
        level: Where the smoothed image is cut.

    Returns:
        The harmonic mean of precision and sensitivity; not a number where the truth has no vessel. Other dense tissue
        is left out of both.
    """
    vessel = np.isin(labels, VESSELS.labels)
    if not vessel.any():
        return float("nan")
    others = tuple(label for label in (*DENSE, Label.OUTSIDE) if label not in VESSELS.labels)
    reach = max(1, round(NEAR_MM / pixel_mm))
    elsewhere = ndimage.binary_dilation(np.isin(labels, others), iterations=reach) & ~vessel
    seen = (VESSELS.view(image, pixel_mm) > level) & ~elsewhere
    lines_seen, lines_true = skeletonize(seen), skeletonize(vessel)
    precision = float(vessel[lines_seen].mean()) if lines_seen.any() else 0.0
    sensitivity = float(seen[lines_true].mean())
    both = precision + sensitivity
    return 2 * precision * sensitivity / both if both else 0.0


def _classes(pixels: npt.ArrayLike, pixel_mm: float) -> npt.NDArray[np.intp]:
    """Class of size of each structure: 0 for those that are too small to count."""
    diameter = 2 * np.sqrt(np.asarray(pixels, dtype=np.float64) / np.pi) * pixel_mm
    return np.asarray(np.digitize(diameter, SIZE_EDGES_MM), dtype=np.intp)


def _histogram(classes: npt.NDArray[np.intp]) -> Counts:
    return np.bincount(classes, minlength=len(SIZE_EDGES_MM) + 1)[1:].astype(np.int64)


def first_reached(rising: npt.NDArray[np.float64], values: npt.NDArray[np.float64], at: float) -> float:
    """`values` where `rising` first reaches a height, linear between two levels; not a number where it never does."""
    above = np.flatnonzero(rising >= at)
    if not above.size:
        return float("nan")
    k = int(above[0])
    if k == 0:
        return float(values[0])
    share = (at - rising[k - 1]) / (rising[k] - rising[k - 1])
    return float(values[k - 1] + share * (values[k] - values[k - 1]))
