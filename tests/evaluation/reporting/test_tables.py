"""Tables whose cells can be worked out by hand."""

from __future__ import annotations

from math import nan

import pytest

from ctsr.evaluation.reporting.tables import (
    Table,
    difference_table,
    gap_table,
    projections_table,
    protocol_tables,
    table_1,
)

LUNGS = ("a", "b", "c", "d")


def alike(value: float, step: float = 0.0) -> dict[str, float]:
    return {lung: value + step * number for number, lung in enumerate(LUNGS)}


VALUES = {
    ("paired", "bicubic_mapped", "ssim"): alike(0.3, 0.01),
    ("paired", "ours", "ssim"): alike(0.39, 0.01),
    ("paired", "ceiling", "ssim"): alike(0.4, 0.01),
    ("paired", "bicubic_mapped", "grid_peak"): alike(1.0),
    ("paired", "ours", "grid_peak"): alike(2.0),
    ("clinical", "ours", "consistency_hu"): {"scan": 11.32},
    ("clinical", "bicubic_mapped", "consistency_hu"): {"scan": 18.76},
    ("synthetic", "ours", "ssim"): alike(0.45),
    ("synthetic_own", "ours", "ssim"): alike(0.45),
    ("synthetic_own", "fx", "ssim"): alike(0.47),
}


def row(table: Table | None, name: str) -> list[str]:
    assert table is not None
    (line,) = (line for line in table.lines if line[0] == name)
    return list(line)


def test_gap_closed_is_the_share_of_the_way_to_the_ceiling() -> None:
    table = gap_table(VALUES, "paired")
    assert table is not None
    assert table.head == ["method", "ssim"], "no gap of what shall be small"
    assert row(table, "ours") == ["ours", "90%"]
    assert gap_table(VALUES, "synthetic") is None


def test_better_and_worse_know_which_way_a_measure_goes() -> None:
    assert row(difference_table(VALUES, "paired", "ours"), "ours - bicubic_mapped") == [
        "ours - bicubic_mapped",
        "+0.090 [+0.090, +0.090] better",
        "+1.000 [+1.000, +1.000] worse",
    ]
    assert row(difference_table(VALUES, "paired", "ours"), "ours - ceiling")[1:] == [
        "-0.010 [-0.010, -0.010] worse",
        "",
    ]


def test_what_is_shown_is_kept_as_a_number_with_its_interval() -> None:
    """Four cases, all 0.09 apart: the interval has no width; a gap of means has none."""
    table = difference_table(VALUES, "paired", "ours")
    assert table is not None
    numbers = table.numbers()
    assert numbers.head == ["method", "measure", "mean", "low", "high", "cases"]
    first, second, third = numbers.lines
    assert first == ["ours - bicubic_mapped", "ssim", *[pytest.approx(0.09)] * 3, 4]
    assert second == ["ours - bicubic_mapped", "grid_peak ↓", 1.0, 1.0, 1.0, 4]
    assert third[:2] == ["ours - ceiling", "ssim"], "the empty cell is none"
    gaps = gap_table(VALUES, "paired")
    assert gaps is not None
    (gap,) = gaps.numbers().lines
    assert gap == ["ours", "ssim", pytest.approx(0.9), *[pytest.approx(nan, nan_ok=True)] * 2, 4]
    (consistency, _) = (t for t in protocol_tables(VALUES, {"clinical": "a scan", "synthetic": "x"}))
    assert consistency.numbers().lines[0] == ["ours", "consistency_hu ↓", 11.32, 11.32, 11.32, 1]


def test_a_method_without_a_common_figure_has_no_row() -> None:
    values = VALUES | {
        ("paired", "truth", "slice_step"): alike(1.5),
        ("paired", "elsewhere", "ssim"): {"another lung": 0.4},
        ("synthetic", "truth", "slice_step"): alike(1.5),
    }
    table = difference_table(values, "paired", "ours")
    assert table is not None
    assert [line[0] for line in table.lines] == ["ours - bicubic_mapped", "ours - ceiling"]
    assert difference_table(values, "synthetic", "ours") is None
    gaps = gap_table(values, "paired")
    assert gaps is not None
    assert [line[0] for line in gaps.lines] == ["ours", "elsewhere"]


def test_one_case_has_no_interval() -> None:
    tables = {table.title: table for table in protocol_tables(VALUES, {"paired": "x", "clinical": "none"})}
    clinical = tables["clinical: further measures"]
    assert row(clinical, "ours") == ["ours", "11.3"]
    assert "One case" in clinical.note
    paired = tables["paired"]
    assert "4 cases" in paired.note
    mean, ends = row(paired, "ours")[1].split(" ", 1)
    assert mean == "0.405"
    low, high = map(float, ends.strip("[]").split(", "))
    assert 0.39 <= low < 0.405 < high <= 0.42


def test_each_kind_of_projections_has_its_gain_over_bicubic() -> None:
    values = VALUES | {
        ("projections/edge", "nearest", "ssim"): alike(0.1),
        ("projections/edge", "bicubic", "ssim"): alike(0.2, 0.01),
        ("projections/edge", "bicubic_mapped", "ssim"): alike(0.15, 0.01),
        ("projections/edge", "ours", "ssim"): {"b": 0.31, "e": 0.9},
        ("projections/soft", "bicubic", "ssim_fitted"): alike(0.4),
        ("projections/soft", "ours", "ssim_fitted"): dict(zip(LUNGS, (0.3, 0.5, 0.3, 0.6), strict=True)),
        ("projections/soft", "ours", "psnr"): alike(20.0),
    }
    table = projections_table(values)
    assert table is not None
    assert table.title == "projections: less the better bicubic"
    measures = ["ssim", "ssim_312um", "grad_corr", "dice", "ssim_fitted", "ssim_312um_fitted"]
    assert table.head == ["kind", "method", *measures]
    none = [""] * 5
    assert table.lines[0] == ["edge", "bicubic_mapped", "-0.050 [-0.050, -0.050] worse", *none]
    assert table.lines[1] == ["edge", "ours", "+0.100", *none], "of the one case that both have"
    (soft,) = table.lines[2:]
    assert (soft[0], soft[1], soft[6][:10]) == ("soft", "ours", "+0.025 [-0")
    assert "er" not in soft[6], "neither better nor worse"
    assert projections_table(VALUES) is None


def test_bicubic_counts_as_it_is_or_after_the_filter_whichever_is_better() -> None:
    measures = {"ssim": (0.2, 0.3), "grad_corr": (0.5, 0.4)}
    values = {
        ("projections/edge", f"bicubic{ending}", metric): alike(both[place])
        for metric, both in measures.items()
        for place, ending in enumerate(("", "_matched"))
    } | {("projections/edge", "ours_matched", metric): alike(0.45) for metric in measures}
    table = projections_table(values)
    assert table is not None
    (line,) = table.lines
    assert line[1] == "ours_matched"
    assert (line[2][:6], line[4][:6]) == ("+0.150", "-0.050")


def test_figures_after_a_line_have_a_table_of_their_own() -> None:
    values = {("projections/soft", "ours", metric): alike(0.5) for metric in ("ssim", "ssim_fitted", "psnr_fitted")}
    main, fitted = protocol_tables(values, {"projections/soft": "HU"})
    assert (main.title, list(main.head)) == ("projections/soft", ["method", "ssim"])
    assert fitted.title == "projections/soft: after a fitted line"
    assert list(fitted.head) == ["method", "ssim_fitted", "psnr_fitted"]


def test_table_1_has_plain_fx_beside_and_says_that_it_certifies_nothing() -> None:
    table = table_1(VALUES)
    assert table is not None
    assert [line[0] for line in table.lines[:2]] == ["ours", "fx"]
    assert row(table, "fx")[1].startswith("0.470")
    assert row(table, "the paper's SR-CycleGAN")[1] == "0.40"
    assert row(table, "the paper's method, by its authors")[1] == "0.51"
    assert "certifies nothing" in table.note
    assert table_1({("synthetic", "ours", "ssim"): alike(0.4)}) is None, "another protocol"
