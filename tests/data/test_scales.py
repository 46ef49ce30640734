"""Pixels of named cases, compared by hand."""

from __future__ import annotations

import pytest

from ctsr.data.scales import Parts, scale_notes, scale_ratio

ONE = 0.078125  # mm: eight of them are 0.625


def parts(train: dict[str, float], val: dict[str, float] | None = None, test: dict[str, float] | None = None) -> Parts:
    return {"train": train, "val": val or {}, "test": test or {}}


def test_ratio_of_medians_by_hand() -> None:
    assert scale_ratio([0.6, 0.625, 0.7], [0.078125]) == 1.0
    assert scale_ratio([0.7], [0.05, 0.05, 0.2]) == pytest.approx(1.75)


@pytest.mark.parametrize("micro", [ONE, ONE / 1.5, ONE * 1.5])
def test_nothing_to_say_of_what_is_near_enough(micro: float) -> None:
    clinical = parts({"a": 0.625, "b": 0.625 * (1 + 1e-7)}, {"c": 0.625})
    assert scale_notes({"clinical": clinical, "micro": parts({"m": micro}, {"n": micro})}) == []


@pytest.mark.parametrize(
    ("micro", "told"),
    [
        (0.0390625, "by 2: clinical structures cover fewer pixels than micro ones (train a, train b: 0.625 mm against"),
        (0.15625, "by 2: micro structures cover fewer pixels than clinical ones (train m: 0.156 mm against"),
    ],
)
def test_either_domain_may_be_the_coarser(micro: float, told: str) -> None:
    (line,) = scale_notes({"clinical": parts({"a": 0.625, "b": 0.625}), "micro": parts({"m": micro})})
    assert told in line
    assert line.endswith("data.clinical.spacing=8 x data.micro.spacing brings them to one")


def test_a_coarse_validation_does_not_hide_what_is_trained_on() -> None:
    """0.7 / (8 x 0.0195) = 4.49, 8 x 0.141 / 0.7 = 1.61, 0.141 / 0.0195 = 7.23; the ratio of medians is 1.09."""
    clinical = parts({"c0": 0.7}, {"c1": 0.7})
    finer, coarser, between = scale_notes({"clinical": clinical, "micro": parts({"fine": 0.0195}, {"coarse": 0.141})})
    assert "by 4.49: clinical" in finer
    assert "train c0, val c1: 0.7 mm against train fine: 0.0195 mm" in finer
    assert "by 1.61: micro" in coarser
    assert "val coarse: 0.141 mm against train c0, val c1: 0.7 mm" in coarser
    assert between.startswith(
        "micro pixels differ in size by 7.23 (val coarse: 0.141 mm against train fine: 0.0195 mm), so"
    )


def test_one_case_among_many_is_not_averaged_away() -> None:
    micro = {f"m{k}": ONE for k in range(9)} | {"odd": ONE / 3}
    across, within = scale_notes({"clinical": parts({"a": 0.625}), "micro": parts(micro)})
    assert "by 3: clinical" in across
    assert "train a: 0.625 mm against train odd: 0.026 mm" in across
    assert "train m0, train m1, train m2, ...: 0.0781 mm against train odd: 0.026 mm" in within


def test_cases_in_all_parts_are_told_without_one() -> None:
    """As in mode slab."""
    clinical, micro = {"a": 0.625}, {"m": ONE / 2}
    everywhere = {"clinical": parts(clinical, clinical, clinical), "micro": parts(micro, micro, micro)}
    (line,) = scale_notes(everywhere)
    assert "a: 0.625 mm against m: 0.0391 mm" in line


def test_one_domain_is_compared_with_itself() -> None:
    (line,) = scale_notes({"micro": parts({"a": 0.02}, {}, {"b": 0.04, "c": 0.0201})})
    assert line == (
        "micro pixels differ in size by 2 (test b: 0.04 mm against train a, test c: 0.02 to 0.0201 mm), so one "
        "network sees structures at both sizes; data.micro.spacing=<mm> brings them to one"
    )
