"""The tables of an evaluation: every number beside its interval, every protocol on its own."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from statistics import fmean
from typing import TypeVar

from ctsr.evaluation.questions.enlargers import MAPPED
from ctsr.evaluation.questions.kernels import MATCHED
from ctsr.evaluation.reporting.statistics import Interval, Key, difference, gap_closed, interval
from ctsr.methods import CEILING
from ctsr.records.row import PROJECTIONS
from ctsr.wandb_runs import Numbers

BICUBIC = "bicubic"
MAIN = ("ssim", "ssim_312um", "grad_corr", "dice", "psnr", "grid_peak")
FURTHER = (
    "ms_ssim",
    "ssim_paper",
    "ssim_156um",
    "ssim_625um",
    "ssim_1250um",
    "spectrum_db",
    "kernel_distance",
    "edge_um",
    "consistency_hu",
    "slice_step",
    "edge_gain",
    "empty_texture",
)
TISSUES = ("parenchyma", "airway", "vessel", "nodule", "pleura")
BY_TISSUE = tuple(f"{metric}_{tissue}" for metric in ("ssim", "psnr") for tissue in TISSUES)
HALLUCINATIONS = (
    "centreline_dice",
    "made_up_vessels_50",
    "made_up_vessels_70",
    "made_up_lumens_50",
    "made_up_lumens_70",
    "made_up_empty",
)
SYNTHESIS = ("swd", "greys")
KERNEL = (
    "filter_from_one",
    "oracle_from_one",
    "filter_from_oracle",
    "noise",
    "trust_wall",
    "trust_skin",
    "trust_apart",
    "left_in_doubt",
)
FITTED = ("ssim_fitted", "ssim_312um_fitted", "dice_fitted", "psnr_fitted")
LESS_BICUBIC = ("ssim", "ssim_312um", "grad_corr", "dice", "ssim_fitted", "ssim_312um_fitted")
"""What the one table of all kinds of projections has room for."""
LESS_IS_BETTER = {
    "grid_peak", "spectrum_db", "kernel_distance", "edge_um", "consistency_hu", "swd", "greys", *HALLUCINATIONS[1:],
}  # fmt: skip
GROUPS = {
    "": MAIN,
    "after a fitted line": FITTED,
    "further measures": (*FURTHER, *SYNTHESIS),
    "by tissue": BY_TISSUE,
    "found and made up": HALLUCINATIONS,
    "filters": KERNEL,
}
PAPERS_TABLE_1 = (("the paper's SR-CycleGAN", "0.40"), ("the paper's method, by its authors", "0.51"))

PAIRED_DIFFERENCE = (
    "Mean of the paired per-case difference and its 95 % bootstrap interval; better or worse where the whole interval "
    "lies on one side of zero."
)

Name = TypeVar("Name")
Values = Mapping[Key, Mapping[str, float]]


class Number(str):
    """A number's text in a table, which keeps the number.

    Attributes:
        of: What is shown.
    """

    of: Interval

    def __new__(cls, shown: str, of: Interval) -> Number:
        """Made of its text and what is shown."""
        number = super().__new__(cls, shown)
        number.of = of
        return number


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: Its heading.
        note: What is to be known of it; one paragraph.
        head: Headings of the columns.
        lines: Cells; those of the kind `Number` can be logged as numbers.
        names: How many columns from the left name a line.
    """

    title: str
    note: str
    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    names: int = 1

    def numbers(self) -> Numbers:
        """For programs: a line for each number, after the names of its line and its column."""
        lines: list[list[str | float | None]] = [
            [*line[: self.names], column, cell.of.mean, cell.of.low, cell.of.high, cell.of.cases]
            for line in self.lines
            for column, cell in zip(self.head, line, strict=True)
            if isinstance(cell, Number)
        ]
        named = [name or "method" for name in self.head[: self.names]]
        return Numbers([*named, "measure", "mean", "low", "high", "cases"], lines)

    def markdown(self) -> str:
        """For a .md file."""
        lines = [self.head, ["---"] * len(self.head), *self.lines]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"### {self.title}\n\n{self.note}\n\n{body}\n"

    def html(self) -> str:
        """For a page."""
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in self.head)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in line)}</tr>" for line in self.lines)
        note = f"<p>{html.escape(self.note)}</p>"
        return f"<h3>{html.escape(self.title)}</h3>{note}<table><tr>{head}</tr>{body}</table>"


def protocol_tables(values: Values, references: Mapping[str, str]) -> list[Table]:
    """For each protocol, and each group of measures, methods down and measures across: mean and 95 % interval.

    Args:
        values: Per case, see `ctsr.evaluation.reporting.statistics.per_case`.
        references: What the truth of each protocol is.
    """
    tables = []
    for protocol, about in references.items():
        keys = [key for key in values if key[0] == protocol]
        for group, measures in GROUPS.items():
            metrics = [metric for metric in measures if any(key[2] == metric for key in keys)]
            methods = [
                name for name in _unique(key[1] for key in keys) if any((protocol, name, m) in values for m in metrics)
            ]
            if not metrics:
                continue
            lines = [[name, *(_cell(values.get((protocol, name, metric))) for metric in metrics)] for name in methods]
            cases = max(len(values[key]) for key in keys)
            what = f"Mean over {cases} cases (seeds averaged first) and its 95 % bootstrap interval"
            note = f"Reference: {about}. {what if cases > 1 else 'One case (seeds averaged), hence no interval'}."
            tables.append(
                Table(f"{protocol}{': ' * bool(group)}{group}", note, ["method", *map(_heading, metrics)], lines)
            )
    return tables


def difference_table(values: Values, protocol: str, reference: str) -> Table | None:
    """One method less every other, with the interval of the paired per-case difference; None where there is none."""
    metrics = [metric for metric in MAIN if (protocol, reference, metric) in values]
    others = [name for name in _unique(key[1] for key in values if key[0] == protocol) if name != reference]
    lines = []
    for other in others:
        cells = []
        for metric in metrics:
            apart = difference(values[protocol, reference, metric], values.get((protocol, other, metric), {}))
            cells.append("" if apart is None else _difference(apart, metric))
        if any(cells):
            lines.append([f"{reference} - {other}", *cells])
    if not lines:
        return None
    return Table(f"{protocol}: {reference} less others", PAIRED_DIFFERENCE, ["", *map(_heading, metrics)], lines)


def projections_table(values: Values) -> Table | None:
    """Each method less bicubic, for each kind of projections; None where nobody was asked.

    Bicubic may be given the scan as it is or after the filter of its estimated kernel: in each measure the better of
    the two counts, by the mean over cases.
    """
    asked = _unique((protocol, name) for protocol, name, _ in values if protocol.startswith(PROJECTIONS))
    lines = []
    for protocol, name in asked:
        if name.startswith(("nearest", BICUBIC)) and name != MAPPED:
            continue
        cells = []
        for metric in LESS_BICUBIC:
            others = [values.get((protocol, one, metric), {}) for one in (BICUBIC, f"{BICUBIC}{MATCHED}")]
            better = max((one for one in others if one), key=lambda one: fmean(one.values()), default={})
            apart = difference(values.get((protocol, name, metric), {}), better)
            cells.append("" if apart is None else _difference(apart, metric))
        lines.append([protocol.removeprefix(PROJECTIONS), name, *cells])
    if not lines:
        return None
    note = (
        "In HU, as infer.py writes them; bicubic on the scan as it is or after its filter, whichever is better in a "
        f"measure. {PAIRED_DIFFERENCE}"
    )
    head = ["kind", "method", *map(_heading, LESS_BICUBIC)]
    return Table("projections: less the better bicubic", note, head, lines, names=2)


def gap_table(values: Values, protocol: str) -> Table | None:
    """Share of the way from mapped bicubic to the ceiling that each learned method closes; None without a ceiling."""
    metrics = [
        metric
        for metric in (*MAIN, *FURTHER)
        if metric not in LESS_IS_BETTER and all((protocol, name, metric) in values for name in (MAPPED, CEILING))
    ]
    if not metrics:
        return None
    methods = [
        name for name in _unique(key[1] for key in values if key[0] == protocol) if name not in (MAPPED, CEILING)
    ]
    lines = []
    for name in methods:
        cells = []
        for metric in metrics:
            of = values.get((protocol, name, metric))
            ends = (fmean(values[protocol, end, metric].values()) for end in (MAPPED, CEILING))
            cells.append("" if of is None else _share(gap_closed(fmean(of.values()), *ends), len(of)))
        if any(cells):
            lines.append([name, *cells])
    if not lines:
        return None
    note = f"(method - {MAPPED}) / ({CEILING} - {MAPPED}), of means over cases. The ceiling learned on true pairs."
    return Table(f"{protocol}: gap closed", note, ["method", *metrics], lines)


def table_1(values: Values) -> Table | None:
    """SSIM under the protocol of the paper's Table 1, beside the paper's figures; None where nobody was asked."""
    protocol = "synthetic_own"
    methods = _unique(name for asked, name, metric in values if (asked, metric) == (protocol, "ssim"))
    if not methods:
        return None
    lines = [[name, _cell(values[protocol, name, "ssim"])] for name in methods]
    note = (
        "Each network enlarges what its own generator made of x. This certifies nothing: a generator that leaves f(x) "
        "as it is asks the easiest question, so that fx, which has no G1, scores well here without a "
        "clinical image. Other images, networks and windows than the paper's, whose figures stand below for the record."
    )
    return Table("The paper's Table 1: synthetic_own", note, ["method", "ssim"], [*lines, *map(list, PAPERS_TABLE_1)])


def _heading(metric: str) -> str:
    return f"{metric} ↓" if metric in LESS_IS_BETTER else metric


def _share(closed: float, cases: int) -> Number:
    return Number(f"{closed:.0%}", Interval(closed, nan, nan, cases))  # of means: nothing says how sure it is


def _cell(of: Mapping[str, float] | None) -> str:
    if not of:
        return ""
    mean = interval(of.values())
    digits = _digits(mean.mean)
    ends = f" [{mean.low:.{digits}f}, {mean.high:.{digits}f}]" if mean.cases > 1 else ""
    return Number(f"{mean.mean:.{digits}f}{ends}", mean)


def _difference(apart: Interval, metric: str) -> Number:
    digits = _digits(apart.mean)
    better, worse = (
        (apart.below_zero, apart.above_zero) if metric in LESS_IS_BETTER else (apart.above_zero, apart.below_zero)
    )
    verdict = " better" if better else " worse" if worse else ""
    ends = f" [{apart.low:+.{digits}f}, {apart.high:+.{digits}f}]" if apart.cases > 1 else ""
    return Number(f"{apart.mean:+.{digits}f}{ends}{verdict}", apart)


def _digits(value: float) -> int:
    return 1 if abs(value) >= 10 else 2 if abs(value) >= 3 else 3


def _unique(names: Iterable[Name]) -> list[Name]:
    return list(dict.fromkeys(names))
