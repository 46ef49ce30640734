"""A sweep's tables and pictures in W&B: a run of their own, beside those of its jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from ctsr.errors import warn
from ctsr.sweeps.differences import Comparison
from ctsr.sweeps.table import Job, comparisons, pooled, ranked
from ctsr.wandb_runs import Numbers, log_report

SHARED = ("project", "entity", "group", "offline")  # of the jobs' settings, as they were given or filled in


def log_sweep(jobs: Sequence[Job], pictures: Iterable[Path], folder: Path) -> None:
    """Logs what a sweep found, as numbers, where its jobs were logged to W&B; into their group, with job type "sweep".

    `sweep.csv` and `sweep.md` hold all of it: a dashboard that cannot be reached is warned of.

    Args:
        jobs: Of the sweep.
        pictures: PNG files.
        folder: The sweep's.
    """
    settings = settings_of(jobs)
    if settings is None:
        return
    tables = {"sweep": points_as_numbers(jobs), "jobs": jobs_as_numbers(jobs)}
    try:
        log_report({title: table for title, table in tables.items() if table.lines}, pictures, folder, **settings)
    except Exception as error:  # a library's, of any kind: of its account, its server or its files
        warn(f"logger: the sweep's tables may be missing there, {folder / 'sweep.csv'} holds them: {error}")


def settings_of(jobs: Iterable[Job]) -> dict[str, Any] | None:
    """What the sweep's own run of W&B is given, after the first job that was logged there; None: none was."""
    for file in (job.folder / "config.yaml" for job in jobs):
        logger = yaml.safe_load(file.read_text(encoding="utf-8"))["logger"] if file.is_file() else {}
        if "project" in logger:
            return {key: logger[key] for key in SHARED if key in logger} | {"job_type": "sweep"}
    return None


def jobs_as_numbers(jobs: Sequence[Job]) -> Numbers:
    """A line a job, as in `sweep.csv`."""
    return _together(
        [{"job": job.folder.name, **job.overrides, "returncode": job.returncode, **job.figures} for job in jobs]
    )


def points_as_numbers(jobs: Sequence[Job]) -> Numbers:
    """A line for jobs that differ in their seed alone, best first, as in `sweep.md`.

    Means, deviations, and how much more than the best setting each has, with the ends of that difference's interval.
    """
    points = ranked(pooled(jobs))
    found = comparisons(points)
    return _together(
        [
            {
                **point.overrides,
                "seeds": len(point.folders),
                **point.means,
                **{f"{name} deviation": value for name, value in point.deviations.items()},
                **_less_the_best(point.name, found),
                "folders": ", ".join(point.folders),
            }
            for point in points
        ]
    )


def _less_the_best(point: str, found: Mapping[str, Comparison]) -> dict[str, str | float]:
    told: dict[str, str | float] = {}
    for name, one in found.items():
        if point in one.differences:
            apart = one.differences[point]
            ends = {"": apart.mean, ", low": apart.low, ", high": apart.high}
            told |= {f"{name} less the best{end}": value for end, value in ends.items() if isfinite(value)}
            told[f"{name} beyond seeds"] = "yes" if point in one.beyond else "no"
    return told


def _together(lines: Sequence[Mapping[str, str | float]]) -> Numbers:
    """Lines under the keys of them all; what was typed is a number where all of its column are."""
    head = list(dict.fromkeys(key for line in lines for key in line))
    columns = [_column([line.get(key) for line in lines]) for key in head]
    return Numbers(head, list(zip(*columns, strict=True)))


def _column(cells: Sequence[str | float | None]) -> Sequence[str | float | None]:
    if any("_" in str(cell) for cell in cells):  # 1_1 is a name, though Python reads 11
        return cells
    try:
        return [None if cell is None else float(cell) for cell in cells]
    except ValueError:
        return cells
