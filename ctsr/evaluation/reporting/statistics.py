"""Means over cases, and how sure a difference is: per case first, then over cases, seeds pooled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy.stats import bootstrap

from ctsr.records.row import Row

RESAMPLES = 9999

Key = tuple[str, str, str]  # protocol, method, metric


@dataclass(frozen=True)
class Interval:
    """A mean over cases with its 95 % bootstrap interval.

    Attributes:
        mean: Over cases.
        low: Lower bound; the mean where there is one case only.
        high: Upper bound.
        cases: How many.
    """

    mean: float
    low: float
    high: float
    cases: int

    @property
    def above_zero(self) -> bool:
        """Whether the interval lies above zero; never with one case."""
        return self.cases > 1 and self.low > 0

    @property
    def below_zero(self) -> bool:
        """Whether the interval lies below zero; never with one case."""
        return self.cases > 1 and self.high < 0


def per_case(rows: Iterable[Row]) -> dict[Key, dict[str, float]]:
    """Values of each case, averaged over seeds; what is no number is left out."""
    values: dict[Key, dict[str, list[float]]] = {}
    for row in rows:
        if row.case is not None and np.isfinite(row.value):
            values.setdefault((row.protocol, row.method, row.metric), {}).setdefault(row.case, []).append(row.value)
    return {key: {case: fmean(of) for case, of in cases.items()} for key, cases in values.items()}


def interval(values: Iterable[float]) -> Interval:
    """Mean and 95 % interval of values of independent cases (bias-corrected accelerated bootstrap, fixed seed)."""
    sample = np.asarray(list(values), dtype=np.float64)
    mean = float(sample.mean())
    if len(sample) < 2 or np.ptp(sample) < 1e-12:
        return Interval(mean, mean, mean, len(sample))
    found = bootstrap((sample,), np.mean, n_resamples=RESAMPLES, rng=np.random.default_rng(0)).confidence_interval
    return Interval(mean, float(found.low), float(found.high), len(sample))


def difference(one: Mapping[str, float], other: Mapping[str, float]) -> Interval | None:
    """Interval of the paired per-case difference one - other; None without a common case."""
    common = [case for case in one if case in other]
    return interval(one[case] - other[case] for case in common) if common else None


def gap_closed(value: float, start: float, ceiling: float) -> float:
    """Share of the way from mapped bicubic to the ceiling: (value - start) / (ceiling - start)."""
    return (value - start) / (ceiling - start) if abs(ceiling - start) > 1e-9 else float("nan")
