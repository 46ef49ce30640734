"""Differences beyond seeds, against scipy's tests and by hand."""

from __future__ import annotations

from math import isfinite, sqrt

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from ctsr.sweeps.differences import NONE, ONE_SEED, compare, difference


def by_seed(*values: float) -> dict[str, float]:
    return {str(seed): value for seed, value in enumerate(values)}


def test_equal_seeds_are_compared_with_each_other() -> None:
    one, other = [1.0, 2.0, 3.5], [0.5, 1.0, 2.0]
    found = difference(by_seed(*one), by_seed(*other))
    # Differences 0.5, 1 and 1.5: mean 1, standard deviation 0.5; 4.302653 is the t of two degrees of freedom.
    half = 4.302653 * 0.5 / sqrt(3)
    assert (found.mean, found.low, found.high) == pytest.approx((1.0, 1 - half, 1 + half), rel=1e-6)
    expected = ttest_rel(one, other)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_seeds_in_other_orders_and_numbers_are_found() -> None:
    one, other = {"2": 3.5, "0": 1.0, "1": 2.0}, by_seed(0.5, 1.0, 2.0, 100.0)
    assert difference(one, other) == difference(by_seed(1.0, 2.0, 3.5), by_seed(0.5, 1.0, 2.0))


def test_without_common_seeds_the_spread_is_pooled() -> None:
    one, other = [1.0, 2.0, 3.5], [0.5, 1.0]
    found = difference(by_seed(*one), {"7": other[0], "8": other[1]})
    expected = ttest_ind(one, other, equal_var=True)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.mean == pytest.approx(np.mean(one) - np.mean(other))
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_one_seed_each_has_no_interval() -> None:
    found = difference({"0": 3.0}, {"0": 1.0})
    assert found.mean == 2.0
    assert not any(map(isfinite, (found.low, found.high, found.p)))
    compared = compare({"a": {"0": 3.0}, "b": {"0": 1.0}}, less_is_better=True)
    assert compared is not None
    assert (compared.best, compared.beyond, compared.nothing) == ("b", frozenset(), ONE_SEED)


def test_figures_without_any_spread() -> None:
    same = compare({"a": by_seed(0.5, 0.5), "b": by_seed(0.5, 0.5)}, less_is_better=True)
    apart = compare({"a": by_seed(0.5, 0.25), "b": by_seed(0.75, 0.5)}, less_is_better=False)
    assert same is not None
    assert apart is not None
    assert (same.nothing, apart.nothing) == (NONE, "")
    assert (apart.best, apart.beyond) == ("b", {"a"})


def test_more_settings_ask_for_more() -> None:
    base = by_seed(0.0, 0.0, 0.0)
    far = by_seed(1.0, 1.2, 1.4)  # p of the paired t test: 0.0092
    assert ttest_rel(list(far.values()), list(base.values())).pvalue == pytest.approx(0.0092, abs=1e-4)
    two = compare({"base": base, "far": far}, less_is_better=True)
    assert two is not None
    assert two.beyond == {"far"}
    noisy = {f"noisy{n}": by_seed(0.1 * n, 3.0 + n, -0.2) for n in (1, 2)}  # told from nobody
    four = compare({"base": base, "far": far, **noisy}, less_is_better=True)
    assert four is not None
    assert four.differences["far"] == two.differences["far"], "each interval is its own"
    assert four.beyond == frozenset(), "of six pairs: 6 x 0.0092 is more than 0.05"


def test_equal_settings_seldom_seem_to_differ() -> None:
    generator = np.random.default_rng(0)
    told = 0
    for _ in range(200):
        noise = generator.normal(0.8, 0.01, (4, 3)) + generator.normal(0, 0.05, 3)  # a seed's split moves all settings
        found = compare({str(n): by_seed(*row) for n, row in enumerate(noise)}, less_is_better=False)
        assert found is not None
        told += bool(found.beyond)
    assert told <= 17, "5 % of 200 are 10, and more than 17 of that come once in a hundred times"


def test_what_is_no_number_is_left_out() -> None:
    found = compare({"a": by_seed(1.0, 1.1), "b": by_seed(float("nan"), 1.0), "c": {}}, less_is_better=True)
    assert found is None
