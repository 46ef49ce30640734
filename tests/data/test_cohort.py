"""What is worth a warning, on facts written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ctsr.data.cohort import Parts, notes_of, scale_notes, scale_ratio, twins, warnings_of
from ctsr.data.preparing.preparation import case_facts
from ctsr.imaging.volume import Header, Volume
from ctsr.records.case import CaseFacts

ONE = 0.078125  # mm: eight of them are 0.625


def facts_of(domain: str, **given: Any) -> CaseFacts:
    others = {
        "format": "nifti",
        "name": "a",
        "source": "/scans/a.nii",
        "content": "0" * 64,
        "voxels": "0" * 32,
        "shape": [10, 100, 100],
        "affine": np.eye(4).tolist(),
        "scanned_shape": [10, 100, 100],
        "files": {},
    }
    return CaseFacts.model_validate({"domain": domain, **others, **given})


def clinical(**changes: Any) -> CaseFacts:
    usual = {
        "spacing": [0.8, 0.625, 0.625],
        "scanned_spacing": [0.8, 0.65, 0.65],
        "settings": {"spacing": 0.625},
        "window": {"low": -1000, "high": 100},
        "greys": [-990.0, -850.0, 50.0],
        "volume_ml": 4000.0,
        "at_ends": [0.0, 0.0],
    }
    return facts_of("clinical", **usual | changes)


def micro(**changes: Any) -> CaseFacts:
    usual = {
        "spacing": [0.05, 0.078125, 0.078125],
        "scanned_spacing": [0.05, 0.05, 0.05],
        "settings": {"spacing": 0.078125},
        "window": {"low": 5000.0, "high": 25000.0},
        "greys": [5000.0, 9000.0, 25000.0],
        "volume_ml": 1.0,
        "at_ends": [0.0, 0.001],
    }
    return facts_of("micro", **usual | changes)


@pytest.mark.parametrize("usual", [clinical(), micro()])
def test_nothing_to_say_of_a_usual_case(usual) -> None:
    assert warnings_of(usual, [usual] * 3, patches=1000) == []


@pytest.mark.parametrize(
    ("case", "warning"),
    [
        # thin slices do not hide coarse pixels
        (clinical(scanned_spacing=[0.8, 1.4, 1.4]), "pixels of 1.4 mm brought to 0.625 mm: detail is interpolated"),
        (clinical(spacing=[5.0, 0.625, 0.625]), "slices 5 mm apart: too thick"),
        (clinical(spacing=[1.25, 0.625, 0.625]), "slice distance 1.25 mm, where 0.8 mm is usual here"),
        (clinical(greys=[-100.0, 40.0, 90.0]), "median of 40 HU in the lung"),
        (clinical(volume_ml=900.0), "900 ml: part of the lungs only"),
        (micro(window={"low": 0.0, "high": 255.0}), "greys span 255, where 2e+04 is usual here"),
        (micro(at_ends=[0.0, 0.05]), "5% of the specimen have the brightest grey: saturated"),
    ],
)
def test_what_is_odd_is_told(case, warning) -> None:
    usual = clinical() if case.domain == "clinical" else micro()
    assert [text for text in warnings_of(case, [usual, usual, usual, case], patches=1000) if warning in text]


def test_where_scanners_differ_no_case_is_the_odd_one() -> None:
    """Slices of four scanners: one line for all, from the thinnest on, and no warning on each."""
    distances = {"a": 0.8, "b": 2.12, "c": 1.25, "d": 2.5, "e": 0.8}
    cohort = [clinical(name=name, spacing=[z, 0.625, 0.625]) for name, z in distances.items()]
    assert [text for case in cohort for text in warnings_of(case, cohort, patches=1000)] == []
    assert notes_of(cohort) == [
        "clinical cases differ: slice distance from 0.8 mm to 2.5 mm, none of them usual "
        "(a 0.8 mm, e 0.8 mm, c 1.25 mm, b 2.12 mm, ...)"
    ]


@pytest.mark.parametrize(
    ("distances", "odd", "spread"),
    [
        ((0.8, 0.9, 1.0), [], False),
        ((0.8, 2.0), [], True),
        ((0.8, 0.8, 2.0), [], True),  # two alike may be the two odd ones
        ((0.8, 0.8, 0.8, 2.0), [2.0], False),
        ((0.8, 0.8, 0.8, 2.0, 2.0, 2.0), [], True),  # half are no majority
        ((0.8, 0.85, 0.8, 0.8, 0.4, 2.0, 1.25), [0.4, 2.0, 1.25], False),
        ((0.8,), [], False),
    ],
)
def test_usual_is_what_three_cases_and_more_than_half_share(
    distances: tuple[float, ...], odd: list[float], spread: bool
) -> None:
    cohort = [clinical(spacing=[z, 0.625, 0.625]) for z in distances]
    warned = [case.spacing[0] for case in cohort if any("usual" in t for t in warnings_of(case, cohort, 1000))]
    assert warned == odd
    assert bool(notes_of(cohort)) == spread


def test_greys_of_several_scanners_are_one_line_with_their_slices() -> None:
    greys = {"a": 255.0, "b": 4000.0, "c": 60000.0}
    cohort = [
        micro(name=name, window={"low": 0.0, "high": high}, spacing=[high / 1e6, 0.07, 0.07])
        for name, high in greys.items()
    ]
    assert [text for case in cohort for text in warnings_of(case, cohort, patches=1000)] == []
    (line,) = notes_of(cohort)
    assert line.endswith("greys span from 255 to 6e+04, none of them usual (a 255, b 4000, c 6e+04)")
    assert line.startswith("micro cases differ: slice distance from 0.000255 mm to 0.06 mm")


def test_few_places_for_patches() -> None:
    assert "only 3 places for patches" in warnings_of(clinical(), [clinical()], patches=3)[0]


def test_native_pixels_are_never_too_coarse() -> None:
    facts = clinical(scanned_spacing=[0.8, 3.0, 3.0], settings={"spacing": None})
    assert warnings_of(facts, [facts], patches=1000) == []


def test_facts_of_a_volume_worked_by_hand() -> None:
    array = np.zeros((2, 4, 5), np.int16)
    array[0, 0, :4] = (100, 100, 200, 300)
    mask = array > 0
    scanned = Header((2, 8, 10), np.diag([3.0, 1.0, 1.0, 1.0]), "nrrd", 0)
    facts = case_facts(scanned, Volume(array, np.diag([3.0, 2.0, 2.0, 1.0])), mask)
    assert (facts["format"], facts["scanned_shape"], facts["scanned_spacing"]) == ("nrrd", [2, 8, 10], [3, 1, 1])
    assert facts["volume_ml"] == pytest.approx(4 * 12 / 1000)
    assert facts["greys"][1] == 150
    assert facts["at_ends"] == [0, 0.25]
    assert "scanned_thickness" not in facts
    told = case_facts(replace(scanned, thickness=1.25), Volume(array, np.diag([3.0, 2.0, 2.0, 1.0])), mask)
    assert told["scanned_thickness"] == 1.25


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


def test_any_mark_that_two_share_tells() -> None:
    assert twins({"a": ["1", "x"], "b": ["2", "y"], "c": ["3", "z"]}) is None
    assert twins({"a": ["1", "x"], "b": ["2", "x"]}) == "a and b are the same scan: give each scan once"
    assert str(twins({"a": ["1"], "b": ["2"], "c": ["2"], "d": ["1"]})).startswith(
        "b and c are the same scan; so are 1 more"
    )
