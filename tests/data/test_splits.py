"""Splits by patient, and slabs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctsr.data.finding.cases import Case
from ctsr.data.splits import SlabSplit, Split, shared_cases, split_cases
from ctsr.errors import UserError

NAMES = [f"lung_{index:02d}" for index in range(10)]
PUBLISHED = {
    "clinical": {"train": ["lung_002", "lung_003", "lung_005"], "val": ["lung_001"], "test": ["lung_000", "lung_004"]},
    "micro": {
        "train": ["specimen_002", "specimen_003", "specimen_004", "specimen_006"],
        "val": ["specimen_001"],
        "test": ["specimen_000", "specimen_005"],
    },
}


def split(names: list[str], val=0.2, test=0.2, seed: int = 0) -> Split:
    """Of cases that are a patient each."""
    return split_cases({"micro": [Case(name, Path(name)) for name in names]}, val, test, seed)["micro"]


@pytest.mark.parametrize("n", range(2, 11))
@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 0.9])
def test_every_case_is_in_one_part(n, share) -> None:
    parts = split(NAMES[:n], share, share, seed=1)
    assert sorted([*parts["train"], *parts["val"], *parts["test"]]) == NAMES[:n]
    assert len(parts["train"]) >= 1
    assert len(parts["val"]) >= 1
    assert bool(parts["test"]) == (n >= 3 and share > 0)
    assert not shared_cases(parts)


def test_shares_are_kept() -> None:
    assert [len(part) for part in split(NAMES[:3], 0.5, 0.2).values()] == [1, 1, 1]
    assert [len(part) for part in split(NAMES, 0.2, 0.3).values()] == [5, 2, 3]


def test_depends_on_names_and_seed_only() -> None:
    parts = split(NAMES, seed=3)
    assert split(NAMES[::-1], seed=3) == parts
    assert any(split(NAMES, seed=seed) != parts for seed in range(3))


def test_one_case_serves_twice_and_is_told() -> None:
    parts = split(["only"])
    assert parts == {"train": ["only"], "val": ["only"], "test": []}
    assert shared_cases(parts) == ["only"]


def test_named_cases() -> None:
    parts = split(NAMES, val=["lung_03"], test=["lung_07", "lung_01"])
    assert (parts["val"], parts["test"]) == (["lung_03"], ["lung_01", "lung_07"])
    assert len(parts["train"]) == 7
    mixed = split(NAMES, val=0.2, test=["lung_07"])
    assert (len(mixed["val"]), mixed["test"]) == (2, ["lung_07"])
    assert "lung_07" not in mixed["train"] + mixed["val"]


@pytest.mark.parametrize(
    ("val", "test", "message"),
    [
        (["lung_99"], 0.2, r"data\.split\.val names lung_99"),
        (["lung_01"], ["lung_01"], "both val and test"),
        (NAMES[:5], NAMES[5:], "no micro case to train on"),
        (1.0, 0.2, r"data\.split\.val=1\.0 is no share"),
        (0.2, -0.1, r"data\.split\.test=-0\.1 is no share"),
    ],
)
def test_wrong_names(val, test, message) -> None:
    with pytest.raises(UserError, match=message):
        split(NAMES, val, test)


def of(**patients: str) -> list[Case]:
    """case=patient, or case="patient:part"."""
    told = {name: who.partition(":") for name, who in patients.items()}
    return [Case(name, Path(name), who, part=part or None) for name, (who, _, part) in told.items()]


def parts_of_patients(cases: dict[str, list[Case]], splits: dict[str, Split]) -> dict[str, set[str]]:
    """Patient -> parts that a case of theirs is in, over both domains."""
    found: dict[str, set[str]] = {}
    for domain, parts in splits.items():
        patient = {case.name: case.patient for case in cases[domain]}
        for part, names in parts.items():
            for name in names:
                found.setdefault(patient[name], set()).add(part)
    return found


def test_the_draw_is_the_one_of_published_figures() -> None:
    """The demo's phantom: each case is a patient; drawn by the program before it knew patients."""
    cases = {
        "clinical": [Case(f"lung_{k:03d}", Path()) for k in range(6)],
        "micro": [Case(f"specimen_{k:03d}", Path()) for k in range(7)],
    }
    assert split_cases(cases, 0.15, 0.25, seed=0) == PUBLISHED


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_a_patient_is_in_one_part_over_both_domains(seed, share) -> None:
    clinical = {f"c{k}": f"p{k // 2}" for k in range(12)}  # two scans of each of p0 to p5
    micro = {f"m{k}": f"p{k + 3}" for k in range(6)}  # p3 to p5 again, and p6 to p8
    cases = {"clinical": of(**clinical), "micro": of(**micro)}
    splits = split_cases(cases, share, share, seed)
    assert all(len(parts) == 1 for parts in parts_of_patients(cases, splits).values())
    for domain, parts in splits.items():
        assert sorted(name for names in parts.values() for name in names) == sorted(case.name for case in cases[domain])
        assert all(parts.values())


def test_shares_count_patients() -> None:
    cases = {"micro": of(**{f"m{k:02d}": "big" if k < 11 else f"p{k}" for k in range(20)})}  # 10 patients
    splits = split_cases(cases, 0.2, 0.3)
    counts = [sum(part in parts for parts in parts_of_patients(cases, splits).values()) for part in splits["micro"]]
    assert counts == [5, 2, 3]


def test_a_named_case_takes_its_patient_along_which_is_told(capsys) -> None:
    cases = {"clinical": of(a1="a", a2="a", b="b", c="c", d="d"), "micro": of(m="a", n="n", o="o")}
    splits = split_cases(cases, val=["a2"], test=["d"])
    assert splits["clinical"] == {"train": ["b", "c"], "val": ["a1", "a2"], "test": ["d"]}
    assert splits["micro"]["val"] == ["m"], "the same patient"
    assert "data.split.val names case a2: the other cases of patient a go with it: a1, m" in capsys.readouterr().err
    assert split_cases(cases, val=["a"], test=0)["clinical"]["val"] == ["a1", "a2"], "or by the patient's name"
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match="names a1 for both val and test"):
        split_cases(cases, val=["a2"], test=["a1"])


def test_one_name_needs_no_brackets_and_may_be_a_number() -> None:
    cases = {"micro": [Case(str(k), Path(), f"p{k // 2}") for k in range(6)]}
    assert split_cases(cases, val="p1", test=[4])["micro"] == {
        "train": ["0", "1"],
        "val": ["2", "3"],
        "test": ["4", "5"],
    }


def test_a_domain_of_which_none_is_named_gets_one_for_validation() -> None:
    cases = {"clinical": of(a="a", b="b"), "micro": of(m="m", n="n", o="o")}
    splits = split_cases(cases, val=["b"], test=["o"])
    assert splits["clinical"] == {"train": ["a"], "val": ["b"], "test": []}
    assert [len(splits["micro"][part]) for part in ("train", "val", "test")] == [1, 1, 1]


def test_what_a_list_says_is_kept_and_the_rest_is_drawn() -> None:
    cases = {"micro": of(a="a:test", b="b:test", c="c:train", d="d", e="e", f="f")}
    parts = split_cases(cases, 0.2, 0.2)["micro"]
    assert parts["test"] == ["a", "b"]
    assert "c" in parts["train"]
    assert len(parts["val"]) == 1
    with pytest.raises(UserError, match="case b is for val, but other cases of patient p are for train"):
        split_cases({"micro": of(a="p:train", b="p:val")})
    with pytest.raises(UserError, match="no micro case to train on"):
        split_cases({"micro": of(a="a:val", b="b:test")})


def test_one_patient_serves_twice() -> None:
    parts = split_cases({"micro": of(a="p", b="p")})["micro"]
    assert shared_cases(parts) == ["a", "b"]


def test_slabs_by_hand() -> None:
    assert SlabSplit(val=0.2, test=0.2, gap_mm=1.0).ranges(104, 0.5) == {
        "train": range(60),
        "val": range(62, 82),
        "test": range(84, 104),
    }


@pytest.mark.parametrize("slices", [5, 48, 200])
def test_slabs_share_nothing(slices) -> None:
    parts = SlabSplit(gap_mm=0.3).ranges(slices, 0.3)
    assert parts["val"].start - parts["train"].stop == parts["test"].start - parts["val"].stop == 1
    assert parts["test"].stop == slices


def test_slabs_without_a_test() -> None:
    parts = SlabSplit(val=0.25, test=0).ranges(9, 1.0)
    assert (parts["train"], parts["val"], len(parts["test"])) == (range(6), range(7, 9), 0)


def test_too_few_slices_for_slabs() -> None:
    with pytest.raises(UserError, match=r"4 slices .* too few"):
        SlabSplit(gap_mm=1.0).ranges(4, 1.0)
