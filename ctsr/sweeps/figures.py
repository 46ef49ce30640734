"""Pictures of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ctsr.files import replacing
from ctsr.sweeps.differences import Comparison
from ctsr.sweeps.table import (
    COMPARED,
    CONSISTENCY,
    ENLARGEMENT,
    REALISM,
    STRUCTURE,
    Point,
    comparisons,
    pareto_front,
    verdict,
)

DECADE = 10.0
LEAST_SPAN = 0.005  # of colours and axes: smaller differences shall not look like more
AS_BEST = "=: not told from the best"


def draw_sweep(points: Sequence[Point], swept: Mapping[str, Mapping[str, str]], folder: Path) -> list[Path]:
    """Draw what the number of swept keys allows: a heat map for two, lines for one, the Pareto front for stage synth.

    What seeds do not tell from the best has its colour and a mark.

    Args:
        points: Of `ctsr.sweeps.table.pooled`.
        swept: The swept keys, the seed apart, and how their values are shown (`ctsr.sweeps.table.swept`).
        folder: Where to.

    Returns:
        The files written.
    """
    shown = [name for name in COMPARED if any(name in point.means for point in points)]
    if CONSISTENCY in shown and ENLARGEMENT in shown:
        shown.remove(ENLARGEMENT)  # which does not rank then
    drawn = []
    if len(swept) == 2 and shown:
        drawn.append(_written(_heat_maps(points, swept, shown), folder / "heatmap.png"))
    if len(swept) == 1 and shown:
        drawn.append(_written(_lines(points, next(iter(swept)), shown), folder / "lines.png"))
    if any({STRUCTURE, REALISM} <= point.means.keys() for point in points):
        drawn.append(_written(_pareto(points), folder / "pareto.png"))
    return drawn


def _heat_maps(points: Sequence[Point], swept: Mapping[str, Mapping[str, str]], names: Sequence[str]) -> Figure:
    figure = Figure(figsize=(4.6 * len(names), 4.0), layout="constrained")
    keys, (across, down) = list(swept), (_sorted(set(shown.values())) for shown in swept.values())
    found = comparisons(points)
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        less, compared = COMPARED[name], found.get(name)
        places = {
            (down.index(point.overrides[keys[1]]), across.index(point.overrides[keys[0]])): point for point in points
        }
        best = next((point.means[name] for point in points if compared and point.name == compared.best), np.nan)
        colours = np.full((len(down), len(across)), np.nan)
        for place, point in places.items():
            colours[place] = best if _as_best(compared, point) else point.means.get(name, np.nan)
        low, high = _span(colours)
        axis.imshow(colours, cmap="viridis_r" if less else "viridis", origin="lower", vmin=low, vmax=high)
        for (row, column), colour in np.ndenumerate(colours):
            if np.isnan(colour):
                text, ink = "failed", "black"
            else:
                point = places[row, column]
                text = f"{'= ' if _as_best(compared, point) else ''}{point.means[name]:.3f}"
                ink = "white" if (colour < (low + high) / 2) != less else "black"
            axis.text(column, row, text, ha="center", va="center", color=ink, fontsize=9)
        axis.set_xticks(range(len(across)), across)
        axis.set_yticks(range(len(down)), down)
        axis.set_xlabel(keys[0])
        axis.set_ylabel(keys[1])
        axis.set_title(_title(name, compared), fontsize=10)
    return figure


def _lines(points: Sequence[Point], key: str, names: Sequence[str]) -> Figure:
    figure = Figure(figsize=(4.6 * len(names), 3.6), layout="constrained")
    labels = _sorted({point.overrides[key] for point in points})
    by_label = {point.overrides[key]: point for point in points}
    numbers = [_number(label) for label in labels]
    places = [float(index) if number is None else number for index, number in enumerate(numbers)]
    found = comparisons(points)
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        compared = found.get(name)
        means = [by_label[label].means.get(name, np.nan) for label in labels]
        errors = [by_label[label].deviations.get(name, 0.0) for label in labels]
        line = "C0" if compared and compared.beyond else "0.65"
        axis.errorbar(places, means, yerr=errors if any(errors) else None, marker="o", capsize=3, color=line)
        for place, mean, label in zip(places, means, labels, strict=True):
            if _as_best(compared, by_label[label]):
                axis.annotate("=", (place, mean), textcoords="offset points", xytext=(7, 4))
        if None in numbers:
            axis.set_xticks(places, labels)
        elif min(places) > 0 and max(places) / min(places) >= DECADE:
            axis.set_xscale("log")
            axis.set_xticks(places, labels)  # its own would be formulas
            axis.set_xticks([], minor=True)
        axis.set_xlabel(key)
        axis.set_title(_title(name, compared), fontsize=10)
        axis.grid(alpha=0.3)
    return figure


def _pareto(points: Sequence[Point]) -> Figure:
    figure = Figure(figsize=(7.5, 5.5), layout="constrained")
    axis: Axes = figure.subplots()
    points = [point for point in points if {STRUCTURE, REALISM} <= point.means.keys()]
    front = pareto_front(points)
    axis.errorbar(
        [point.means[REALISM] for point in points],
        [point.means[STRUCTURE] for point in points],
        xerr=[point.deviations.get(REALISM, 0.0) for point in points],
        yerr=[point.deviations.get(STRUCTURE, 0.0) for point in points],
        fmt="o",
        color="0.65",
        label="other settings" if front else "settings",
    )
    if front:
        best = [point.means[REALISM] for point in front], [point.means[STRUCTURE] for point in front]
        axis.plot(*best, "o-", color="C3", label="Pareto front", zorder=3)
    for rank, point in enumerate(front or points):
        place = (point.means[REALISM], point.means[STRUCTURE])
        # By turns above and below, since neighbours on a front are close.
        side = {"xytext": (6, 6), "va": "bottom"} if rank % 2 == 0 else {"xytext": (6, -6), "va": "top"}
        axis.annotate(point.name, place, textcoords="offset points", fontsize=8, **side)
    of_axes = [(name, one) for name, one in comparisons(points).items() if name in (STRUCTURE, REALISM)]
    axis.set_title("\n".join(verdict(name, one) for name, one in of_axes if one.nothing), fontsize=10)
    axis.set_xlabel("sliced Wasserstein distance of G1(f(X)) to Y (less is more real)")
    axis.set_ylabel("SSIM(f(x), G1(f(x))) (more keeps more structure)")
    axis.set_xlim(_span([point.means[REALISM] for point in points], margin=0.15))
    axis.set_ylim(_span([point.means[STRUCTURE] for point in points], margin=0.15))
    axis.ticklabel_format(useOffset=False)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def _span(values: npt.ArrayLike, margin: float = 0.0) -> tuple[float, float]:
    """From the least to the largest value, and a share of that beyond; not too narrow."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    half = max(high - low, LEAST_SPAN) * (0.5 + margin)
    return (low + high) / 2 - half, (low + high) / 2 + half


def _written(figure: Figure, path: Path) -> Path:
    with replacing(path) as partial, rc_context({"text.parse_math": False}):  # a $ in a path is no formula
        figure.savefig(partial, dpi=110)
    return path


def _as_best(compared: Comparison | None, point: Point) -> bool:
    """Whether a setting, or the best itself, is not told from the best."""
    return compared is not None and point.name in {compared.best, *compared.differences} - compared.beyond


def _title(name: str, compared: Comparison | None) -> str:
    better = "less" if COMPARED[name] else "more"
    told = "" if compared is None else f"\n{compared.nothing or AS_BEST}"
    return f"{name.replace('/', ' ')} ({better} is better){told}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _sorted(values: set[str]) -> list[str]:
    """By number where all are numbers, else by text."""
    numbers = {value: _number(value) for value in values}
    if None in numbers.values():
        return sorted(values)
    return sorted(values, key=lambda value: numbers[value] or 0.0)
