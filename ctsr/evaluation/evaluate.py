"""The whole evaluation: every protocol, table and figure, and one report."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import numpy as np
import torch

from ctsr.errors import warn
from ctsr.evaluation.measures.hallucinations import EQUAL_DETECTION, VESSELS, Tally, total
from ctsr.evaluation.measures.kernel_distance import EXTRACTOR, FEWEST, PATCH
from ctsr.evaluation.questions.competitors import TrainedNetwork, reference
from ctsr.evaluation.questions.enlargers import Enlarge, Image, interpolations, network
from ctsr.evaluation.questions.inputs import paired_samples
from ctsr.evaluation.questions.protocols import clinical_inputs, protocols
from ctsr.evaluation.questions.test_set import TestSet, check_held_out
from ctsr.evaluation.questions.tile_room import check_tiles, without_patches
from ctsr.evaluation.questions.tiles import Cut
from ctsr.evaluation.reporting.equal_detection import equal_detection_table
from ctsr.evaluation.reporting.figures import curves_figure, paired_figure, scans_figure, synthesis_figure
from ctsr.evaluation.reporting.report import write_report
from ctsr.evaluation.reporting.report_folder import FIGURES
from ctsr.evaluation.reporting.statistics import per_case
from ctsr.evaluation.reporting.tables import Table, difference_table, gap_table, protocol_tables, table_1
from ctsr.evaluation.scoring.compare import Answers, Competitor, ask, compare, groups, to_unit
from ctsr.evaluation.scoring.degradations import degraded
from ctsr.evaluation.scoring.progress import AskingBar
from ctsr.evaluation.scoring.real_scans import KERNELS, scan_scores, slice_steps
from ctsr.evaluation.scoring.synthesis_scores import PROTOCOL as SYNTHESIS
from ctsr.evaluation.scoring.synthesis_scores import synthesis_scores
from ctsr.imaging.grey_map import to_clinical
from ctsr.records.row import Row, write_csv

CONTROLS, SCANS = "controls", "scans"
EMPTY_LEVEL = EQUAL_DETECTION[0]
DIFFERENCES = ("paired", "paired_slab", "unseen_soft", "unseen_sharp", "unseen_g1", "synthetic", "plain")
LOOK = 0.3  # seconds between two looks at how far the processes are
FULL = ("paired",)
"""All measures; under the other protocols the main ones."""

ABOUT = {
    CONTROLS: "the micro-CT slice at the clinical slice's centre; the first network's images, spoilt",
    SYNTHESIS: "no pairs: distances of whole sets to real clinical images",
    "empty": f"lungs without vessels, cut where {EMPTY_LEVEL:.0%} of vessels were found under `paired`",
    **dict.fromkeys(KERNELS, "none: real scans, for one kernel each"),
}


@dataclass(frozen=True)
class Evaluation:
    """What came out.

    Attributes:
        rows: Every number.
        tables: As in the report.
        figures: PNG files.
        report: The HTML page.
    """

    rows: Sequence[Row]
    tables: Sequence[Table]
    figures: Sequence[Path]
    report: Path


def evaluate(networks: Sequence[TrainedNetwork], test: TestSet, folder: Path, cut: Cut, workers: int = 1) -> Evaluation:
    """Ask every question that there are cases for, and write rows, tables, figures and a report.

    Args:
        networks: Trained networks, at least one; of one window, preparation and scale. Others are compared with the
            method of the first that has a generator.
        test: Cases that none of them was trained on.
        folder: Where to; made if missing, once all questions are answered.
        cut: Tiles and slices.
        workers: Processes that share the questions; the networks are then to be on the CPU.

    Returns:
        What was written: `evaluation.csv`, `report.md`, `report.html` and PNG files.

    Raises:
        UserError: A network has seen a test case, or a case has no tile.
    """
    check_held_out(networks, test)
    check_tiles(test, cut)
    if few := without_patches(test, cut):
        warn(f"kernel_distance is left out of paired {', '.join(few)}: under {FEWEST} patches of {PATCH} pixels")
    first = reference(networks)
    asking = protocols(test, networks, cut)
    steps = {protocol.name: len(groups(protocol, networks)) * protocol.cases for protocol in asking}
    steps |= {CONTROLS: len(test.pairs), SYNTHESIS: 1, SCANS: len(KERNELS)}
    questions = list(steps)
    found = _answers(steps, networks, test, cut, workers)
    rows = [row for answers, _ in found for row in answers.rows]
    tallies = found[questions.index("paired")][0].tallies if "paired" in questions else {}
    methods = _methods(networks, first)
    rows += slice_steps(test.pairs, methods, first.window)
    rows += _empty(test, methods, tallies, first, cut)
    views = found[-1][1]
    references = {protocol.name: protocol.reference for protocol in asking}
    asked = {row.protocol for row in rows}
    references |= {name: about for name, about in ABOUT.items() if name in asked}

    folder.mkdir(parents=True, exist_ok=True)
    write_csv(rows, folder / "evaluation.csv")
    paired_figure(networks, test.pairs, folder / "paired.png")
    synthesis_figure(networks, test.micro, test.clinical, folder / "synthesis.png", cut)
    curves_figure(tallies, folder / "found_and_made_up.png")
    scans_figure(views, folder / "scans.png")
    values = per_case(rows)
    found_and_made_up = equal_detection_table(tallies, first.name)
    tables = [
        *_headlines(values, first.name),
        *([] if found_and_made_up is None else [found_and_made_up]),
        *protocol_tables(values, references),
    ]
    figures = [path for name in FIGURES if (path := folder / name).exists()]
    report = write_report(networks, test, tables, figures, folder, f"Kernel distances: {EXTRACTOR}.")
    return Evaluation(rows, tables, figures, report)


Answer = tuple[Answers, dict[str, dict[str, Image]]]


def _answers(
    steps: Mapping[str, int], networks: Sequence[TrainedNetwork], test: TestSet, cut: Cut, workers: int
) -> list[Answer]:
    """Asks all questions, each of so many steps, and shows how far that is."""
    context = multiprocessing.get_context("spawn")
    done = context.Value("i", 0)
    found: dict[str, Answer] = {}
    with AskingBar(steps, workers) as bar:
        if workers == 1:

            def step() -> None:
                _count(done)
                bar.show(done.value)

            _hold(networks, test, cut, step)
            for question in steps:
                found[question] = _answer(question)
                bar.finish(question)
        else:
            with ProcessPoolExecutor(workers, context, _hold, (networks, test, cut, partial(_count, done))) as pool:
                try:
                    with _kept_from_children(signal.SIGINT):
                        asked = {pool.submit(_answer, question): question for question in steps}
                    while left := [future for future in asked if asked[future] not in found]:
                        for future in wait(left, LOOK, FIRST_COMPLETED).done:
                            found[asked[future]] = future.result()
                            bar.finish(asked[future])
                        bar.show(done.value)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    for child in multiprocessing.active_children():
                        child.terminate()  # nobody waits for what it would still answer
                    raise
    return [found[question] for question in steps]


@contextmanager
def _kept_from_children(number: signal.Signals) -> Iterator[None]:
    """Processes that are started meanwhile never see a signal: a terminal sends its Ctrl-C to them, too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _count(done: Synchronized[int]) -> None:
    with done.get_lock():
        done.value += 1


_held: tuple[Sequence[TrainedNetwork], TestSet, Cut, Callable[[], None]]


def _hold(networks: Sequence[TrainedNetwork], test: TestSet, cut: Cut, step: Callable[[], None]) -> None:
    """Gives a process what all questions are about, and what tells of each step."""
    global _held
    _held = (networks, test, cut, step)
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)


def _answer(question: str) -> Answer:
    """Rows and tallies of one protocol, of the controls, of stage synth or of real scans; with views of scans."""
    networks, test, cut, step = _held
    first = reference(networks)
    if question == CONTROLS:
        return Answers(_controls(test, first, cut, step)), {}
    if question == SYNTHESIS:
        answers = Answers(synthesis_scores(networks, test, first.window, cut))
        step()
        return answers, {}
    if question == SCANS:
        methods = _methods(networks, first)
        back = to_clinical(first.grey_maps)
        rows, views = scan_scores(test.clinical, methods, back, first.window, kernel_done=step)
        return Answers(rows), views
    (protocol,) = (protocol for protocol in protocols(test, networks, cut) if protocol.name == question)
    return compare(protocol, networks, first.window, full=question in FULL, case_done=step), {}


def _methods(networks: Sequence[TrainedNetwork], first: TrainedNetwork) -> dict[Competitor, Enlarge]:
    ways = interpolations(first.grey_maps["clinical"])
    return {(name, None): way for name, way in ways.items()} | {
        (one.name, one.seed): network(one.enlarge) for one in networks
    }


def _headlines(values: Mapping[tuple[str, str, str], Mapping[str, float]], reference: str) -> Iterator[Table]:
    """What is asked first: gaps, differences, the paper's Table 1."""
    for protocol in DIFFERENCES:
        for table in (gap_table(values, protocol), difference_table(values, protocol, reference)):
            if table is not None:
                yield table
    papers = table_1(values)
    if papers is not None:
        yield papers


def _controls(test: TestSet, first: TrainedNetwork, cut: Cut, step: Callable[[], None]) -> list[Row]:
    """What each measure says of the first network's images, spoilt in known ways."""
    answers = Answers()
    for number, pair in enumerate(test.pairs):
        other = test.pairs[number - 1]
        truth = other.truth(other.slices[len(other.slices) // 2][1])
        if other is pair or any(a < b for a, b in zip(truth.shape, pair.micro.array.shape[1:], strict=True)):
            step()
            continue
        methods: dict[Competitor, Enlarge] = {
            (name, None): way for name, way in degraded(network(first.enlarge), truth).items()
        }
        inputs = clinical_inputs(pair.name, partial(paired_samples, [pair], first.window, cut), first)
        ask(CONTROLS, inputs, methods, first.window, True, answers, step)
    return answers.rows


def _empty(
    test: TestSet,
    methods: Mapping[Competitor, Enlarge],
    tallies: Mapping[tuple[str, int | None, str, str], Tally],
    first: TrainedNetwork,
    cut: Cut,
) -> list[Row]:
    """Made-up vessels per cm² of empty lung, each method cut where it finds its share of the paired lungs' vessels."""
    rows = []
    for (name, seed), enlarge in methods.items():
        of = [tally for key, tally in tallies.items() if key[:3] == (name, seed, VESSELS.name)]
        if not of:
            continue
        reached = np.flatnonzero(total(of).detection() >= EMPTY_LEVEL)
        if not reached.size:
            continue
        seen: dict[str, list[Tally]] = {}
        for sample in paired_samples(test.empty, first.window, cut):
            assert sample.labels is not None
            image = to_unit(enlarge(sample.lr))
            seen.setdefault(sample.case, []).append(Tally.of(VESSELS, image, sample.labels, sample.pixel_mm))
        rows += [
            Row("empty", name, "made_up_empty", float(total(of_case).hallucinations()[reached[0]]), case, seed)
            for case, of_case in seen.items()
        ]
    return rows
