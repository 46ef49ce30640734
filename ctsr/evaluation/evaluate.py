"""The whole evaluation: every question, table and figure, and one report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ctsr.errors import warn
from ctsr.evaluation.measures.kernel_distance import EXTRACTOR, FEWEST, PATCH
from ctsr.evaluation.questions.competitors import TrainedNetwork, methods_of, reference
from ctsr.evaluation.questions.kernels import PROTOCOL as KERNEL
from ctsr.evaluation.questions.protocols import EVERY, Question, questions_on
from ctsr.evaluation.questions.test_set import TestSet, check_held_out
from ctsr.evaluation.questions.tile_room import check_tiles, without_patches
from ctsr.evaluation.questions.tiles import Cut
from ctsr.evaluation.reporting.equal_detection import equal_detection_table
from ctsr.evaluation.reporting.figures import (
    curves_figure,
    paired_figure,
    projections_figure,
    scans_figure,
    synthesis_figure,
)
from ctsr.evaluation.reporting.report import write_report
from ctsr.evaluation.reporting.report_folder import FIGURES
from ctsr.evaluation.reporting.statistics import per_case
from ctsr.evaluation.reporting.tables import (
    Table,
    difference_table,
    gap_table,
    projections_table,
    protocol_tables,
    table_1,
)
from ctsr.evaluation.scoring.asking import Asked, ask_all
from ctsr.evaluation.scoring.compare import compare
from ctsr.evaluation.scoring.degradations import PROTOCOL as CONTROLS
from ctsr.evaluation.scoring.degradations import degraded_scores
from ctsr.evaluation.scoring.empty_lungs import LEVEL as EMPTY_LEVEL
from ctsr.evaluation.scoring.empty_lungs import PROTOCOL as EMPTY
from ctsr.evaluation.scoring.empty_lungs import empty_rows
from ctsr.evaluation.scoring.real_scans import KERNELS, scan_scores, slice_steps
from ctsr.evaluation.scoring.synthesis_scores import PROTOCOL as SYNTHESIS
from ctsr.evaluation.scoring.synthesis_scores import synthesis_scores
from ctsr.records.row import Row, write_csv

PAIRED, SCANS = "paired", "scans"
DIFFERENCES = ("paired", "paired_slab", "unseen_soft", "unseen_sharp", "unseen_g1", "synthetic", "plain")
FULL = (PAIRED,)
"""All measures; under the other protocols the main ones."""

ABOUT = {
    CONTROLS: "the micro-CT slice at the clinical slice's centre; the first network's images, spoilt",
    KERNEL: "the true filter, where it is known, of the kind that stands for the method",
    SYNTHESIS: "no pairs: distances of whole sets to real clinical images",
    EMPTY: f"lungs without vessels, cut where {EMPTY_LEVEL:.0%} of vessels were found under `paired`",
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
    questions = questions_on(test, networks, cut)
    answers = ask_all(_asked(questions, networks, test, cut), workers)
    rows = [row for one in answers.values() for row in one.rows]
    tallies = answers[PAIRED].tallies if PAIRED in answers else {}
    methods = methods_of([EVERY, *networks], first.grey_maps["clinical"])
    rows += slice_steps(test.pairs, methods, first.window)
    rows += test.kernels
    rows += empty_rows(test.empty, methods, tallies, first.window, cut)
    references = {question.name: question.reference for question in questions}
    asked = {row.protocol for row in rows}
    references |= {name: about for name, about in ABOUT.items() if name in asked}

    folder.mkdir(parents=True, exist_ok=True)
    write_csv(rows, folder / "evaluation.csv")
    paired_figure(networks, test.pairs, folder / "paired.png")
    projections_figure(networks, test.projections, folder / "projections.png")
    synthesis_figure(networks, test.micro, test.clinical, folder / "synthesis.png", cut)
    curves_figure(tallies, folder / "found_and_made_up.png")
    scans_figure(answers[SCANS].views, folder / "scans.png")
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


def _asked(
    questions: Sequence[Question], networks: Sequence[TrainedNetwork], test: TestSet, cut: Cut
) -> dict[str, Asked]:
    """All that is asked, by name."""
    first = reference(networks)
    asked = {one.name: Asked(one.steps, partial(compare, one, first.window, one.name in FULL)) for one in questions}
    return asked | {
        CONTROLS: Asked(len(test.pairs), partial(degraded_scores, test.pairs, first, cut)),
        SYNTHESIS: Asked(1, partial(synthesis_scores, networks, test, first.window, cut)),
        SCANS: Asked(len(KERNELS), partial(scan_scores, test.clinical, networks, EVERY)),
    }


def _headlines(values: Mapping[tuple[str, str, str], Mapping[str, float]], reference: str) -> Iterator[Table]:
    """What is asked first: gaps, differences, projections less bicubic, the paper's Table 1."""
    for protocol in DIFFERENCES:
        for table in (gap_table(values, protocol), difference_table(values, protocol, reference)):
            if table is not None:
                yield table
    for table in (projections_table(values), table_1(values)):
        if table is not None:
            yield table
