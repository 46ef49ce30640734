"""What a sweep found: its jobs' figures, pooled over seeds, ranked, and the trade-off of stage synth."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ctsr.files import replacing
from ctsr.sweeps.names import differing, shortened

Figures = Mapping[str, float]  # "protocol/metric" of the job's own method, "protocol/method/metric" of others -> value

SEED = "seed"
JOB = "job.json"
STRUCTURE, REALISM = "validation/ssim_G1", "validation/swd"
"""Stage synth's: SSIM(f(x), G1(f(x))) with constants of its own, whatever C1 and C2 were trained with (more is better),
and the sliced Wasserstein distance of G1(f(X)) to Y (less is better)."""
ENLARGEMENT = "validation/ssim"
"""Stage sr's: more is better."""


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        folder: Its run folder.
        overrides: Key -> value, as typed.
        returncode: 0 where it went well.
        figures: What its summary says, means over cases.
    """

    folder: Path
    overrides: Mapping[str, str]
    returncode: int
    figures: Figures

    @property
    def failed(self) -> bool:
        """Whether it ended with an error."""
        return self.returncode != 0


@dataclass(frozen=True)
class Point:
    """Jobs that differ in their seed alone.

    Attributes:
        overrides: Values of the swept keys, of paths the parts that differ.
        folders: Of the jobs.
        means: Of each figure.
        deviations: Standard deviation over seeds of each figure; none for a single job.
    """

    overrides: Mapping[str, str]
    folders: Sequence[str]
    means: Figures
    deviations: Figures

    @property
    def name(self) -> str:
        """Short: the heading of each key and its value."""
        names = headings(self.overrides)
        return ", ".join(f"{names[key]}={value}" for key, value in self.overrides.items())


def headings(keys: Iterable[str]) -> dict[str, str]:
    """The last part of each key, or the whole key where another ends alike."""
    last = {key: key.rpartition(".")[2] for key in keys}
    times = Counter(last.values())
    return {key: part if times[part] == 1 else key for key, part in last.items()}


def read_jobs(folder: Path) -> list[Job]:
    """The jobs of a sweep, in the order in which they were started."""
    jobs = []
    for file in folder.rglob(JOB):
        job = json.loads(file.read_text(encoding="utf-8"))
        summary = file.with_name("summary.json")
        done = summary.is_file() and job["returncode"] == 0
        figures = _figures(json.loads(summary.read_text(encoding="utf-8"))) if done else {}
        jobs.append((job["number"], Job(file.parent, job["overrides"], job["returncode"], figures)))
    return [job for _, job in sorted(jobs, key=lambda pair: pair[0])]


def _figures(summary: Mapping[str, Any]) -> Figures:
    own = {summary["method"]: ""}
    return {
        f"{row['protocol']}/{own.get(row['method'], row['method'] + '/')}{row['metric']}": float(row["value"])
        for row in summary["rows"]
    }


def swept(jobs: Sequence[Job]) -> dict[str, dict[str, str]]:
    """The keys, the seed apart, that do not have the same value in all jobs, also in those that failed.

    Returns:
        Key -> value -> how it is shown: of paths the parts that differ.
    """
    values = differing([{key: value for key, value in job.overrides.items() if key != SEED} for job in jobs])
    return {key: shortened(different) for key, different in values.items()}


def pooled(jobs: Sequence[Job]) -> list[Point]:
    """Jobs that went well, those put together that differ in their seed alone."""
    keys = swept(jobs)
    groups: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        if not job.failed:
            shown = tuple(short[job.overrides.get(key, "")] for key, short in keys.items())
            groups.setdefault(shown, []).append(job)
    points = []
    for values, group in groups.items():
        names = [name for name in group[0].figures if all(name in job.figures for job in group)]
        columns = {name: [job.figures[name] for job in group] for name in names}
        points.append(
            Point(
                dict(zip(keys, values, strict=True)),
                [job.folder.name for job in group],
                {name: fmean(column) for name, column in columns.items()},
                {name: stdev(column) for name, column in columns.items() if len(column) > 1},
            )
        )
    return points


def ranked(points: Iterable[Point]) -> list[Point]:
    """Best first: by SSIM of the enlargement where there is one, else by realism."""
    points = list(points)
    if all(ENLARGEMENT in point.means for point in points):
        return sorted(points, key=lambda point: -point.means[ENLARGEMENT])
    return sorted(points, key=lambda point: point.means.get(REALISM, float("inf")))


def pareto_front(points: Iterable[Point]) -> list[Point]:
    """Points of stage synth that no other beats in structure and realism at once, by rising structure."""
    points = [point for point in points if {STRUCTURE, REALISM} <= point.means.keys()]
    front = []
    for point in points:
        mine = (point.means[STRUCTURE], -point.means[REALISM])
        others = ((other.means[STRUCTURE], -other.means[REALISM]) for other in points)
        if not any(a >= mine[0] and b >= mine[1] and (a, b) != mine for a, b in others):
            front.append(point)
    return sorted(front, key=lambda point: point.means[STRUCTURE])


def write_table(jobs: Sequence[Job], path: Path) -> None:
    """Write a CSV with a row for each job: overrides, return code, figures."""
    keys = list(dict.fromkeys(key for job in jobs for key in job.overrides))
    names = list(dict.fromkeys(name for job in jobs for name in job.figures))
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["job", *keys, "returncode", *names])
        writer.writeheader()
        for job in jobs:
            writer.writerow({"job": job.folder.name, **job.overrides, "returncode": job.returncode, **job.figures})


def markdown(jobs: Sequence[Job]) -> str:
    """The table to read: best first, seeds pooled as mean ± standard deviation, failures at the end."""
    keys, points = list(swept(jobs)), ranked(pooled(jobs))
    front = {point.name for point in pareto_front(points)}
    names = [name for name in dict.fromkeys(name for point in points for name in point.means) if name.count("/") == 1]
    header = [*headings(keys).values(), "seeds", *(name.replace("/", " ") for name in names), "folders"]
    lines = [header, ["---"] * len(header)]
    for point in points:
        mark = " *" if point.name in front else ""
        values = [*point.overrides.values(), f"{len(point.folders)}{mark}"]
        folders = ", ".join(f"`{folder}`" for folder in point.folders)
        lines.append([*values, *(_cell(point, name) for name in names), folders])
    text = "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)
    if front:
        text += "\n\\* on the Pareto front of structure (ssim_G1, more is better) and realism (swd, less is better)\n"
    if ENLARGEMENT in names:
        text += (
            "\nvalidation and synthetic ask each network about images of its own G1 (fx: about f(x), the easiest): "
            "to compare methods or G1s, `python infer.py task=evaluate`\n"
        )
    failed = [job for job in jobs if job.failed]
    if failed:
        text += f"\nFailed: {len(failed)} of {len(jobs)} jobs\n\n"
        text += "".join(f"- `{job.folder.name}/log.txt` (exit code {job.returncode})\n" for job in failed)
    return text


def _cell(point: Point, name: str) -> str:
    if name not in point.means:
        return ""
    deviation = point.deviations.get(name)
    return f"{point.means[name]:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")
