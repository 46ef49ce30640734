"""Intervals against normal theory, and means and shares worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ctsr.evaluation.reporting.statistics import Interval, difference, gap_closed, interval, per_case
from ctsr.records.row import Row


def test_interval_of_many_normal_values_is_the_normal_one() -> None:
    values = np.random.default_rng(3).normal(2.0, 0.5, 80)
    low, high = stats.norm.interval(0.95, values.mean(), values.std(ddof=1) / math.sqrt(80))
    found = interval(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.cases == 80
    assert found.low == pytest.approx(low, abs=0.05 * (high - low))
    assert found.high == pytest.approx(high, abs=0.05 * (high - low))


def test_interval_of_skewed_values_leans_to_their_tail() -> None:
    found = interval(np.random.default_rng(0).exponential(size=40))
    assert found.high - found.mean > 1.1 * (found.mean - found.low)


def test_four_intervals_of_five_and_more_hold_the_mean_of_ten_cases() -> None:
    rng = np.random.default_rng(0)
    found = [interval(rng.normal(1.0, 1.0, 10)) for _ in range(100)]
    assert 80 <= sum(one.low <= 1.0 <= one.high for one in found) <= 99
    assert sum(one.above_zero for one in found) > 60  # power of the t test at this effect: 0.80


def test_one_case_proves_nothing() -> None:
    assert interval([0.3]) == Interval(0.3, 0.3, 0.3, 1)
    assert not interval([0.3]).above_zero
    assert not interval([-0.3]).below_zero


def test_equal_cases_have_no_spread() -> None:
    assert interval([0.25] * 4) == Interval(0.25, 0.25, 0.25, 4)
    assert interval([0.25] * 4).above_zero
    assert interval([-0.25] * 4).below_zero


def test_intervals_around_zero_lie_on_neither_side() -> None:
    found = interval([-3.0, -1.0, 1.5, 2.0, -0.5])
    assert not found.above_zero
    assert not found.below_zero


def test_difference_is_paired_by_case() -> None:
    # Cases differ by 10, methods by 0.1: only pairs show it.
    other = {f"lung_{k}": 10.0 * k for k in range(8)}
    ours = {case: value + 0.1 + 0.01 * (k % 3 - 1) for k, (case, value) in enumerate(reversed(other.items()))}
    found = difference(ours | {"only ours": -99.0}, other | {"only theirs": 99.0})
    assert found is not None
    assert found.cases == 8
    assert found.mean == pytest.approx(0.1 - 0.01 / 8)
    assert 0.09 <= found.low < found.mean < found.high <= 0.11
    assert found.above_zero
    backwards = difference(other, ours)
    assert backwards is not None
    assert backwards.below_zero


def test_methods_without_a_common_case_are_not_compared() -> None:
    assert difference({"a": 1.0}, {"b": 1.0}) is None


def test_gap_closed_is_the_share_of_the_way() -> None:
    assert gap_closed(0.7, start=0.3, ceiling=0.8) == pytest.approx(0.8)
    assert gap_closed(4.0, start=10.0, ceiling=2.0) == pytest.approx(0.75)  # where less is better
    assert gap_closed(0.2, start=0.3, ceiling=0.8) == pytest.approx(-0.2)
    assert gap_closed(0.9, start=0.3, ceiling=0.8) == pytest.approx(1.2)
    assert math.isnan(gap_closed(0.5, start=0.3, ceiling=0.3))


def test_seeds_are_averaged_within_a_case() -> None:
    rows = [
        Row("paired", "ours", "ssim", 0.2, "a"),
        Row("paired", "ours", "ssim", 0.4, "a"),
        Row("paired", "ours", "ssim", 0.9, "b"),
        Row("synthetic", "ours", "ssim", 0.8, "a"),
        Row("paired", "ours", "ssim", 0.5),  # a mean over cases
        Row("paired", "ours", "psnr", math.inf, "a"),
        Row("paired", "ours", "psnr", 20.0, "a"),
        Row("paired", "ours", "edge_um", math.nan, "a"),
    ]
    assert per_case(rows) == {
        ("paired", "ours", "ssim"): {"a": pytest.approx(0.3), "b": 0.9},
        ("synthetic", "ours", "ssim"): {"a": 0.8},
        ("paired", "ours", "psnr"): {"a": 20.0},
    }
