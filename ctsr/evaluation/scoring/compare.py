"""Asks every method the same question, and keeps what each case answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
import numpy.typing as npt
import torch

from ctsr.evaluation.measures.edges import edge_width_um
from ctsr.evaluation.measures.grid_peak import grid_peak
from ctsr.evaluation.measures.hallucinations import EQUAL_DETECTION, KINDS, Tally, centreline_dice, total
from ctsr.evaluation.measures.kernel_distance import kernel_distance
from ctsr.evaluation.measures.metrics import score
from ctsr.evaluation.measures.regions import region_scores, regions
from ctsr.evaluation.measures.synthesis_distance import spectrum_distance
from ctsr.evaluation.questions.competitors import TrainedNetwork
from ctsr.evaluation.questions.enlargers import Enlarge, Image, interpolations, network
from ctsr.evaluation.questions.inputs import Sample
from ctsr.evaluation.questions.protocols import Inputs, Protocol
from ctsr.imaging.consistency import Consistency
from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window
from ctsr.imaging.volume import SCALE
from ctsr.records.row import Row

Competitor = tuple[str, int | None]
"""Name of a method, and the seed of its training; None for interpolation."""


@dataclass
class Answers:
    """What came out of one question.

    Attributes:
        rows: One for each case, method, seed and measure.
        tallies: Structures found and made up, where the truth's labels are known: by method, seed, kind and case.
    """

    rows: list[Row] = field(default_factory=list)
    tallies: dict[tuple[str, int | None, str, str], Tally] = field(default_factory=dict)


def compare(
    protocol: Protocol,
    networks: Sequence[TrainedNetwork],
    window: Window,
    full: bool = True,
    few: bool = False,
    case_done: Callable[[], None] = lambda: None,
) -> Answers:
    """Score interpolation and every network.

    Args:
        protocol: The question.
        networks: Trained networks.
        window: Clinical window.
        full: All measures, not only the main ones.
        few: Only the interpolations of a training's end.
        case_done: Called after each case of each of `groups`.
    """
    answers = Answers()
    for inputs, group in groups(protocol, networks):
        methods: dict[Competitor, Enlarge] = {}
        if None in group:
            methods |= {(name, None): way for name, way in interpolations(inputs.grey_map, few).items()}
        methods |= {(one.name, one.seed): network(one.enlarge) for one in group if one is not None}
        ask(protocol.name, inputs, methods, window, full, answers, case_done)
    return answers


def groups(protocol: Protocol, networks: Sequence[TrainedNetwork]) -> list[tuple[Inputs, list[TrainedNetwork | None]]]:
    """Who is asked on which inputs; None: interpolation."""
    found: dict[str, tuple[Inputs, list[TrainedNetwork | None]]] = {}
    for one in (None, *networks):
        inputs = protocol.inputs(one)
        if inputs is not None:
            found.setdefault(inputs.key, (inputs, []))[1].append(one)
    return list(found.values())


def ask(
    protocol: str,
    inputs: Inputs,
    methods: Mapping[Competitor, Enlarge],
    window: Window,
    full: bool,
    answers: Answers,
    case_done: Callable[[], None] = lambda: None,
) -> None:
    """Go through the samples once; a case's slices follow each other."""
    scores: dict[Competitor, CaseScores] = {}
    case: str | None = None

    def close() -> None:
        if case is None:
            return
        for (name, seed), of in scores.items():
            answers.rows += [Row(protocol, name, metric, value, case, seed) for metric, value in of.values().items()]
            answers.tallies |= {(name, seed, kind, case): tally for kind, tally in of.tallies().items()}
        case_done()

    for sample in inputs.samples():
        if sample.case != case:
            close()
            case, scores = sample.case, {key: CaseScores(inputs.back, window, full) for key in methods}
        for key, enlarge in methods.items():
            scores[key].add(sample, enlarge(sample.lr))
    close()


class CaseScores:
    """Gathers what one method made of one case.

    Args:
        to_clinical: Greys of f(x) to those of what is enlarged.
        window: Clinical window.
        full: All measures.
    """

    def __init__(self, to_clinical: GreyMap, window: Window, full: bool) -> None:
        self.full = full
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
