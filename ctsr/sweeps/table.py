"""What a sweep found: its jobs' figures, pooled over seeds, ranked, what differs, and the trade-off of stage synth."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, isfinite
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ctsr.files import replacing
from ctsr.sweeps.differences import ONE_SEED, Comparison, Difference, Seeds, compare
from ctsr.sweeps.names import differing, shortened

Figures = Mapping[str, float]  # "protocol/metric" of the job's own method, "protocol/method/metric" of others -> value

SEED = "seed"
JOB = "job.json"
STRUCTURE, REALISM = "validation/ssim_G1", "validation/swd"
"""Stage synth's: SSIM(f(x), G1(f(x))) with constants of its own, whatever C1 and C2 were trained with (more is better),
and the sliced Wasserstein distance of G1(f(X)) to Y (less is better)."""
CONSISTENCY, TEXTURE = "clinical/consistency_hu", "clinical/empty_texture"
"""Of real scans that were held out, after stage sr: they need no G1 (less is better)."""
TRUTH = "paired/ssim_312um"
"""Of lungs whose micro-CT is known, after stage sr (more is better)."""
ENLARGEMENT = "validation/ssim"
"""Stage sr's, on images of its own G1 (more is better)."""
COMPARED = {CONSISTENCY: True, TEXTURE: True, TRUTH: False, ENLARGEMENT: False, STRUCTURE: False, REALISM: True}
"""Figures that settings are compared by, in the order in which they are shown, and whether less is better."""


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
        seeds: Figure -> seed -> value, of figures that all jobs have.
    """

    overrides: Mapping[str, str]
    folders: Sequence[str]
    seeds: Mapping[str, Seeds]

    @cached_property
    def means(self) -> Figures:
        """Of each figure, over seeds."""
        return {name: fmean(of.values()) for name, of in self.seeds.items()}

    @cached_property
    def deviations(self) -> Figures:
        """Standard deviation of each figure over seeds; none for a single job."""
        return {name: stdev(of.values()) for name, of in self.seeds.items() if len(of) > 1}

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
    for shown, group in groups.items():
        names = [name for name in group[0].figures if all(name in job.figures for job in group)]
        values = {name: {job.overrides.get(SEED, ""): job.figures[name] for job in group} for name in names}
        points.append(Point(dict(zip(keys, shown, strict=True)), [job.folder.name for job in group], values))
    return points


def comparisons(points: Sequence[Point]) -> dict[str, Comparison]:
    """Of each figure of `COMPARED` that two settings have: the settings, by their names, against the best of them."""
    by_name = {
        name: compare({point.name: point.seeds.get(name, {}) for point in points}, less)
        for name, less in COMPARED.items()
    }
    return {name: found for name, found in by_name.items() if found is not None}


def ranks_by(points: Iterable[Point]) -> str:
    """What settings are ranked by: a figure that needs no G1, else SSIM of the enlargement, else realism."""
    points = list(points)
    return next((name for name in (CONSISTENCY, ENLARGEMENT) if all(name in point.means for point in points)), REALISM)


def ranked(points: Iterable[Point]) -> list[Point]:
    """Best first by `ranks_by`; settings whose consistency is the best's but for seeds, by what they make up."""
    points = list(points)
    by = ranks_by(points)

    def worse(point: Point, name: str) -> float:
        return point.means.get(name, inf) if COMPARED[name] else -point.means.get(name, -inf)

    points.sort(key=lambda point: worse(point, by))
    found = comparisons(points).get(by)
    if by != CONSISTENCY or found is None or found.one_seed:
        return points
    return sorted(
        points,
        key=lambda point: (True, 0.0) if point.name in found.beyond else (False, worse(point, TEXTURE)),
    )


def pareto_front(points: Iterable[Point]) -> list[Point]:
    """Settings of stage synth that no other beats in structure and realism at once, by rising structure.

    A figure in which no setting differs beyond seeds does not count; none is on a front where neither does.
    """
    points = [point for point in points if {STRUCTURE, REALISM} <= point.means.keys()]
    found = comparisons(points)
    telling = [name for name in (STRUCTURE, REALISM) if name in found and found[name].beyond]
    if not telling:
        return []
    sign = {STRUCTURE: 1, REALISM: -1}
    worth = {point.name: tuple(sign[name] * point.means[name] for name in telling) for point in points}

    def beaten(mine: tuple[float, ...]) -> bool:
        return any(all(a >= b for a, b in zip(of, mine, strict=True)) and of != mine for of in worth.values())

    return sorted(
        (point for point in points if not beaten(worth[point.name])), key=lambda point: point.means[STRUCTURE]
    )


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
    """The table to read: best first, seeds pooled as mean ± standard deviation, what differs, failures at the end."""
    keys, points = list(swept(jobs)), ranked(pooled(jobs))
    front = {point.name for point in pareto_front(points)}
    found = comparisons(points)
    every = dict.fromkeys(name for point in points for name in point.means)
    names = [name for name in dict.fromkeys([*found, *every]) if name.count("/") == 1]
    header = [*headings(keys).values(), "seeds"]
    for name in names:
        header += [name.replace("/", " "), *(["less the best"] if name in found else [])]
    lines = [[*header, "folders"], ["---"] * (len(header) + 1)]
    for point in points:
        mark = " *" if point.name in front else ""
        line = [*point.overrides.values(), f"{len(point.folders)}{mark}"]
        for name in names:
            line += [_cell(point, name), *([_less_the_best(found[name], point.name)] if name in found else [])]
        lines.append([*line, ", ".join(f"`{folder}`" for folder in point.folders)])
    text = "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)
    text += "".join(f"\n{line}\n" for line in _notes(points, found, names, bool(front)))
    failed = [job for job in jobs if job.failed]
    if failed:
        text += f"\nFailed: {len(failed)} of {len(jobs)} jobs\n\n"
        text += "".join(f"- `{job.folder.name}/log.txt` (exit code {job.returncode})\n" for job in failed)
    return text


def verdict(name: str, found: Comparison) -> str:
    """Which settings differ from the best in a figure."""
    shown = name.replace("/", " ")
    if found.nothing == ONE_SEED:
        return f"{shown}: {ONE_SEED}"
    if found.nothing:
        return f"{found.nothing} in {shown}"
    apart = [other for other in found.differences if other in found.beyond]
    return f"{shown}: beyond seeds from the best ({found.best}): {'; '.join(apart)}"


def _notes(points: Sequence[Point], found: Mapping[str, Comparison], names: Sequence[str], front: bool) -> list[str]:
    """What is to be known of the table, a line each."""
    notes = []
    if found and all(one.one_seed for one in found.values()):
        notes.append(ONE_SEED)
    elif found:
        notes += [verdict(name, one) for name, one in found.items()]
        notes.append(
            "less the best: mean difference at equal seeds [its own 95 % t interval]; beyond seeds are those that hold "
            "after Holm's correction over all pairs of settings"
        )
    if front:
        notes.append("\\* on the Pareto front of structure (ssim_G1, more is better) and realism (swd, less is better)")
    if ranks_by(points) == CONSISTENCY and points:
        notes.append(
            "ranked by clinical consistency_hu, settings not told from the best by clinical empty_texture (less is "
            "better): the first rewards a network that only interpolates, the second one that blurs, so neither says "
            "what was gained"
        )
    if any(name.startswith("paired/") for name in names):
        notes.append("paired: against a truth that no user has, only a phantom")
    if ENLARGEMENT in names:
        notes.append(
            "validation and synthetic ask each network about images of its own G1 (fx: about f(x), the easiest): "
            "to compare methods or G1s, `python infer.py task=evaluate`"
        )
    return notes


def _cell(point: Point, name: str) -> str:
    if name not in point.means:
        return ""
    deviation = point.deviations.get(name)
    return f"{point.means[name]:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def _less_the_best(found: Comparison, name: str) -> str:
    return "best" if name == found.best else _told(found.differences[name]) if name in found.differences else ""


def _told(found: Difference) -> str:
    return f"{found.mean:+.4f}" + (f" [{found.low:+.4f}, {found.high:+.4f}]" if isfinite(found.p) else "")
