"""Structures made up where as many are found: all cases of a method together, and how sure that is.

One lung has few airways, and a method may never find its share of them. Over all lungs the curve of what is made up
over what is found is smooth, and nearly every method has a point on it at the same detection.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan

import numpy as np
import numpy.typing as npt

from ctsr.evaluation.measures.hallucinations import LUMENS, VESSELS, Tally, first_reached, total
from ctsr.evaluation.reporting.statistics import Interval
from ctsr.evaluation.reporting.tables import Number, Table
from ctsr.evaluation.scoring.compare import TallyKey

SHARES = {VESSELS.name: (0.3, 0.5, 0.7), LUMENS.name: (0.1, 0.3, 0.5)}
RESAMPLES = 2000
MOST_LOST = 0.025  # share of the resamples that may miss the detection before an interval is no longer given

Tallies = Mapping[TallyKey, Tally]
Samples = npt.NDArray[np.float64]


def equal_detection_table(tallies: Tallies, reference: str) -> Table | None:
    """Pieces made up per cm² of lung at equal detection; None without counts.

    Args:
        tallies: Of the paired lungs.
        reference: The method that others are compared with.
    """
    kinds = [kind for kind in SHARES if any(key.kind == kind for key in tallies)]
    if not kinds:
        return None
    methods = list(dict.fromkeys(key.name for key in tallies))
    columns = [(kind, share) for kind in kinds for share in SHARES[kind]]
    found = {(name, kind): _resampled(tallies, name, kind) for name in methods for kind in kinds}
    lines = []
    for name in methods:
        cells = [name]
        for kind, share in columns:
            cases = len({key.case for key in tallies if (key.name, key.kind) == (name, kind)})
            cells.append(_cell(found[name, kind], found.get((reference, kind)), share, name != reference, cases))
        lines.append(cells)
    note = (
        "Per cm² of lung, at the level that finds this share of the truth's structures; counts of all cases and seeds "
        f"together, 95 % interval by drawing cases anew ({RESAMPLES} times). *: {reference} makes up fewer, **: more, "
        "with the whole interval of the difference on one side of zero. In brackets alone: the most that is ever found."
    )
    head = ["method", *(f"{kind} at {share:.0%} ↓" for kind, share in columns)]
    return Table("paired: made up at equal detection", note, head, lines)


def _resampled(tallies: Tallies, name: str, kind: str) -> tuple[Samples, Samples]:
    """Detection and hallucinations at each level, (1 + RESAMPLES, levels): of all cases, then of cases drawn anew."""
    cases = sorted({key.case for key in tallies if (key.name, key.kind) == (name, kind)})
    of = [
        total(tally for key, tally in tallies.items() if (key.name, key.kind, key.case) == (name, kind, c))
        for c in cases
    ]
    drawn = np.random.default_rng(0).multinomial(len(of), np.full(len(of), 1 / len(of)), size=RESAMPLES)
    weights = np.concatenate([np.ones((1, len(of))), drawn])
    there, found = (np.array([getattr(tally, what).sum(axis=-1) for tally in of]) for what in ("there", "found"))
    made_up, area = np.array([tally.made_up.sum(axis=-1) for tally in of]), np.array([tally.area_mm2 for tally in of])
    detection = (weights @ found) / np.maximum(weights @ there, 1)[:, None]
    return detection, (weights @ made_up) / (weights @ area / 100.0)[:, None]


def _at(curves: tuple[Samples, Samples], share: float) -> Samples:
    return np.array([first_reached(rising, values, share) for rising, values in zip(*curves, strict=True)])


def _cell(
    curves: tuple[Samples, Samples], reference: tuple[Samples, Samples] | None, share: float, other: bool, cases: int
) -> str:
    values = _at(curves, share)
    if not np.isfinite(values[0]):
        return f"({curves[0][0].max():.0%})"
    interval = _interval(values[1:])
    text = f"{values[0]:.2f}" + ("" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]")
    apart = _interval((_at(reference, share) - values)[1:]) if reference is not None and other else None
    star = "" if apart is None else " *" if apart[1] < 0 else " **" if apart[0] > 0 else ""
    return Number(text + star, Interval(float(values[0]), *(interval or (nan, nan)), cases))


def _interval(values: Samples) -> tuple[float, float] | None:
    """The middle 95 %; None where too many resamples miss the detection."""
    reached = values[np.isfinite(values)]
    if len(reached) < (1 - MOST_LOST) * len(values):
        return None
    low, high = np.quantile(reached, (0.025, 0.975))
    return float(low), float(high)
