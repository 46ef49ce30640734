"""Asks every method the same question, and keeps what each case answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from statistics import fmean
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ctsr.evaluation.measures.edges import edge_width_um
from ctsr.evaluation.measures.fitted_line import fitted_scores
from ctsr.evaluation.measures.grid_peak import grid_peak
from ctsr.evaluation.measures.hallucinations import EQUAL_DETECTION, KINDS, Tally, centreline_dice, total
from ctsr.evaluation.measures.kernel_distance import kernel_distance
from ctsr.evaluation.measures.metrics import score
from ctsr.evaluation.measures.regions import region_scores, regions
from ctsr.evaluation.measures.synthesis_distance import spectrum_distance
from ctsr.evaluation.questions.competitors import Method, methods_of
from ctsr.evaluation.questions.enlargers import Enlarge
from ctsr.evaluation.questions.inputs import Sample
from ctsr.evaluation.questions.protocols import Inputs, Question
from ctsr.imaging.consistency import Consistency
from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window
from ctsr.imaging.volume import SCALE, Image
from ctsr.records.row import Row

Step = Callable[[], None]
"""Called when a part of a question is done."""


class TallyKey(NamedTuple):
    """Whose structures are counted, of which kind, and where."""

    name: str
    seed: int | None
    kind: str
    case: str


@dataclass
class Answers:
    """What came out of one question.

    Attributes:
        rows: One for each case, method, seed and measure.
        tallies: Structures found and made up, where the truth's labels are known.
        views: Place -> method -> image (H, W) in [0, 1], of what has no truth, to look at.
    """

    rows: list[Row] = field(default_factory=list)
    tallies: dict[TallyKey, Tally] = field(default_factory=dict)
    views: dict[str, dict[str, Image]] = field(default_factory=dict)

    def add(self, other: Answers) -> None:
        """Add the rows and tallies of another part of the question."""
        self.rows += other.rows
        self.tallies |= other.tallies


def compare(question: Question, window: Window, full: bool = True, step: Step = lambda: None) -> Answers:
    """Score every competitor of a question.

    Args:
        question: It.
        window: Clinical window.
        full: All measures, not only the main ones.
        step: Called after each case of each of the question's groups.
    """
    answers = Answers()
    for inputs, competitors in question.groups().items():
        methods = methods_of(competitors, inputs.grey_map, inputs.hu_by)
        for of_case in by_case(question.name, inputs, methods, window, full):
            answers.add(of_case)
            step()
    return answers


def by_case(
    protocol: str, inputs: Inputs, methods: Mapping[Method, Enlarge], window: Window, full: bool
) -> Iterator[Answers]:
    """Go through the samples once, and yield what all methods score in each case; its images are then let go."""
    for case, samples in groupby(inputs.samples(), key=attrgetter("case")):
        scores = {method: CaseScores(inputs.back, window, full, inputs.hu_by is not None) for method in methods}
        for sample in samples:
            for method, enlarge in methods.items():
                scores[method].add(sample, enlarge(sample.lr))
        answers = Answers()
        for (name, seed), of in scores.items():
            answers.rows += [Row(protocol, name, metric, value, case, seed) for metric, value in of.values().items()]
            answers.tallies |= {TallyKey(name, seed, kind, case): tally for kind, tally in of.tallies().items()}
        yield answers


class CaseScores:
    """Gathers what one method made of one case.

    Args:
        to_clinical: Greys of f(x) to those of what is enlarged.
        window: Clinical window.
        full: All measures.
        fitted: Also those after a fitted line.
    """

    def __init__(self, to_clinical: GreyMap, window: Window, full: bool, fitted: bool = False) -> None:
        self.full, self.fitted = full, fitted
        self.consistency = Consistency(to_clinical, window)
        self.tiles: dict[str, list[float]] = {}
        self.regions: dict[str, list[tuple[float, int]]] = {}
        self.images: list[tuple[Image, Image]] = []  # tiles, made and true
        self.labelled: list[tuple[Image, npt.NDArray[np.uint8]]] = []
        self.found: dict[str, list[Tally]] = {}
        self.pixel_mm = 0.0

    def add(self, sample: Sample, enlarged: Image) -> None:
        """Score one image, (8H, 8W) in about [-1, 1]."""
        image, truth = to_unit(enlarged), to_unit(sample.truth)
        self.pixel_mm = sample.pixel_mm
        for tile in sample.tiles:
            self._note(score(image[tile], truth[tile], sample.pixel_mm, self.full))
            self.images.append((image[tile], truth[tile]))
        if self.fitted and sample.tiles:
            unclipped = (enlarged + 1.0) / 2.0
            both = [(unclipped[tile], truth[tile]) for tile in sample.tiles]
            for scores in fitted_scores(both, sample.pixel_mm):
                self._note(scores)
        if not (self.full and sample.tiles):
            return
        difference = self.consistency.difference(sample.lr, enlarged)
        low = [tuple(slice(side.start // SCALE, side.stop // SCALE) for side in tile) for tile in sample.tiles]
        self._note({"consistency_hu": fmean(float(difference[tile].mean()) for tile in low)})
        if sample.labels is None:
            return
        for name, value in region_scores(image, truth, regions(sample.labels)).items():
            self.regions.setdefault(name, []).append(value)
        for kind in KINDS:
            tally = Tally.of(kind, image, sample.labels, sample.pixel_mm)
            self.found.setdefault(kind.name, []).append(tally)
        line = centreline_dice(image, sample.labels, sample.pixel_mm)
        if np.isfinite(line):
            self._note({"centreline_dice": line})
        self.labelled.append((image, sample.labels))

    def _note(self, scores: Mapping[str, float]) -> None:
        for metric, value in scores.items():
            self.tiles.setdefault(metric, []).append(value)

    def tallies(self) -> dict[str, Tally]:
        """Structures found and made up in the whole case, by kind."""
        return {kind: total(tallies) for kind, tallies in self.found.items()}

    def values(self) -> dict[str, float]:
        """The case's measures by name; those that the case cannot answer are left out."""
        if not self.images:
            return {}
        values = {metric: fmean(of) for metric, of in self.tiles.items()}
        made, true = (np.stack(images) for images in zip(*self.images, strict=True))
        values["grid_peak"] = grid_peak(made, made.shape[-1])
        if not self.full:
            return values
        values["spectrum_db"] = float(spectrum_distance(*(torch.from_numpy(of)[:, None] for of in (made, true))))
        values["kernel_distance"] = kernel_distance(made, true)
        for name, sums in self.regions.items():
            mean = sum(value for value, _ in sums) / sum(count for _, count in sums)
            metric, _, region = name.partition("_")
            if metric == "ssim":
                values[name] = mean
            elif mean:
                values[f"psnr_{region}"] = -10 * np.log10(mean)
        for kind, tally in self.tallies().items():
            for share in EQUAL_DETECTION:
                values[f"made_up_{kind}_{share:.0%}".rstrip("%")] = tally.at_equal_detection(share)
        if self.labelled:
            images, labels = zip(*self.labelled, strict=True)
            values["edge_um"] = edge_width_um(images, labels, self.pixel_mm)
        return {name: float(value) for name, value in values.items() if np.isfinite(value)}


def to_unit(image: npt.ArrayLike) -> Image:
    """[-1, 1] to [0, 1], clipped."""
    unit: Image = np.clip((np.asarray(image, dtype=np.float32) + 1.0) / 2.0, 0.0, 1.0)
    return unit
