"""The tables of docs/results/study.md, from the numbers of `make study`.

Run it as `python docs/study_tables.py FILE.csv ...` with what docs/study_scores.py wrote (docs/results/study.csv is all
of it); it prints Markdown. A lead has two 95 % intervals: over lungs, seeds averaged (bootstrap), and,
where both methods have several seeds, over seeds, lungs averaged (t of the differences at equal seeds; with three seeds
that is 2.5 standard deviations each way).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from statistics import fmean

from ctsr.evaluation.reporting import statistics
from ctsr.evaluation.reporting.statistics import per_case
from ctsr.records.row import PROJECTIONS, Row, read_csv
from ctsr.sweeps import differences

MEASURES = ("ssim", "ssim_312um", "grad_corr", "dice")
GRID = "grid_peak"
PAIRED, MATCHED = "paired", "_matched"
BASES = ("bicubic", "bicubic_mapped")
OURS, IN_PLACE = "scanner", "paper_in_place"

Values = Mapping[tuple[str, str, str], Mapping[str, float]]  # protocol, method, metric -> case -> value


def per_seed(rows: Iterable[Row]) -> dict[tuple[str, str, str], dict[str, float]]:
    """Means over cases of each seed."""
    values: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for row in rows:
        if row.case is not None and row.seed is not None and isfinite(row.value):
            of = values.setdefault((row.protocol, row.method, row.metric), {})
            of.setdefault(str(row.seed), []).append(row.value)
    return {key: {seed: fmean(of) for seed, of in seeds.items()} for key, seeds in values.items()}


def mean(values: Values, protocol: str, method: str, metric: str) -> float:
    """Over cases, seeds averaged first."""
    return fmean(values[protocol, method, metric].values())


def methods(values: Values, protocol: str) -> list[str]:
    """Of a protocol, in their order."""
    return list(dict.fromkeys(method for of, method, metric in values if of == protocol and metric == "ssim"))


def better_base(values: Values, protocol: str, metric: str) -> str:
    """The interpolation that is best in a measure: as it is or mapped, of the scan as it is or after the filter."""
    able = [one for one in methods(values, protocol) if one.removesuffix(MATCHED) in BASES]
    return max(able, key=lambda one: mean(values, protocol, one, metric))


def short(numbers: Iterable[float]) -> str:
    """.423 / .804."""
    return " / ".join(f"{number:.3f}".replace("0.", ".", 1) for number in numbers)


def lead(rows: Sequence[Row], protocol: str, one: str, others: Mapping[str, str]) -> list[str]:
    """Cells: how much more a method has in each measure than another, which may differ from measure to measure.

    Trained methods are compared at the seeds that both have.
    """
    cells, seeds = [], per_seed(rows)
    for metric in MEASURES:
        mine, other = (protocol, one, metric), (protocol, others[metric], metric)
        common = seeds[mine].keys() & seeds.get(other, seeds[mine]).keys()
        cases = per_case(row for row in rows if row.seed is None or str(row.seed) in common)
        found = statistics.difference(cases[mine], cases[other])
        assert found is not None
        cell = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
        if len(common) > 1 and other in seeds:
            spread = differences.difference(seeds[mine], seeds[other])
            cell += f", over seeds [{spread.low:+.3f}, {spread.high:+.3f}]"
        elif len(common) > 1:
            of_seeds = [value - mean(cases, *other) for value in seeds[mine].values()]
            cell += f", seeds {min(of_seeds):+.3f} to {max(of_seeds):+.3f}"
        cells.append(cell)
    return cells


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    return "".join(f"| {' | '.join(line)} |\n" for line in [head, ["---"] * len(head), *lines])


def every_method(rows: Sequence[Row], protocol: str, ending: str = "") -> str:
    """A line a method: its seeds, measures and grid peak."""
    values, seeds = per_case(rows), per_seed(rows)
    lines = []
    for method in methods(values, protocol):
        if method.endswith(MATCHED) == bool(ending):
            count = len(seeds.get((protocol, method, "ssim"), {}))
            figures = [f"{mean(values, protocol, method, metric):.3f}" for metric in MEASURES]
            grid = f"{mean(values, protocol, method, GRID):.1f}"
            lines.append([f"`{method.removesuffix(MATCHED)}`", str(count or ""), *figures, grid])
    return table(["method", "seeds", *MEASURES, GRID], lines)


def every_seed(rows: Sequence[Row], protocol: str) -> str:
    """A line a training, of methods with several."""
    seeds = per_seed(rows)
    lines = []
    for method in methods(per_case(rows), protocol):
        of = seeds.get((protocol, method, "ssim"), {})
        if len(of) > 1 and not method.endswith(MATCHED):
            lines += [
                [f"`{method}`", seed, *(f"{seeds[protocol, method, metric][seed]:.3f}" for metric in (*MEASURES, GRID))]
                for seed in sorted(of)
            ]
    return table(["method", "seed", *MEASURES, GRID], lines)


def by_kind(rows: Sequence[Row], ending: str) -> str:
    """A line a kind of acquisition, a column a method."""
    values = per_case(rows)
    kinds = sorted({protocol for protocol, *_ in values if protocol.startswith(PROJECTIONS)})
    chosen = [
        one for one in methods(values, kinds[0]) if one.endswith(ending) and one.endswith(MATCHED) == bool(ending)
    ]
    chosen = [one for one in chosen if one.removesuffix(MATCHED) not in (*BASES, "nearest")]
    lines = []
    for kind in kinds:
        base = short(mean(values, kind, better_base(values, kind, metric), metric) for metric in MEASURES)
        own = [short(mean(values, kind, one, metric) for metric in MEASURES) for one in chosen]
        lines.append([f"`{kind.removeprefix(PROJECTIONS)}`", base, *own])
    return table(["kind", "the better bicubic", *(f"`{one.removesuffix(MATCHED)}`" for one in chosen)], lines)


def leads_by_kind(rows: Sequence[Row], one: str, other: str | None) -> str:
    """A line a kind: a method's lead after the filter over another, or over the better bicubic."""
    values = per_case(rows)
    kinds = sorted({protocol for protocol, *_ in values if protocol.startswith(PROJECTIONS)})
    lines = []
    for kind in kinds:
        others = {metric: f"{other}{MATCHED}" if other else better_base(values, kind, metric) for metric in MEASURES}
        lines.append([f"`{kind.removeprefix(PROJECTIONS)}`", *lead(rows, kind, f"{one}{MATCHED}", others)])
    return table(["kind", *MEASURES], lines)


def main(files: Sequence[Path]) -> None:
    """Print all tables that there are numbers for."""
    found = {
        (row.protocol, row.method, row.metric, row.case, row.seed): row for file in files for row in read_csv(file)
    }
    rows = list(found.values())
    values = per_case(rows)
    if named := methods(values, PAIRED):
        print(f"### First scanner\n\n{every_method(rows, PAIRED)}")
        print(f"### First scanner: each seed\n\n{every_seed(rows, PAIRED)}")
        for one in (OURS, IN_PLACE):
            against = [other for other in named if other != one]
            lines = [[f"- `{other}`", *lead(rows, PAIRED, one, dict.fromkeys(MEASURES, other))] for other in against]
            print(f"### First scanner: {one} less others\n\n{table(['', *MEASURES], lines)}")
    if any(protocol.startswith(PROJECTIONS) for protocol, *_ in values):
        print(f"### Second scanner, after the estimated filter\n\n{by_kind(rows, MATCHED)}")
        print(f"### Second scanner, without the filter\n\n{by_kind(rows, '')}")
        for one, other in ((OURS, None), (IN_PLACE, None), (OURS, IN_PLACE)):
            print(
                f"### Second scanner: {one} less {other or 'the better bicubic'}\n\n{leads_by_kind(rows, one, other)}"
            )


if __name__ == "__main__":
    main([Path(file) for file in sys.argv[1:]])
