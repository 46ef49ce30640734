"""Rows, their means and their tables."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ctsr.records.row import Row, means, read_csv, validation_name, write_csv

ROWS = [
    Row("paired", "bicubic", "ssim", 0.2, "a"),
    Row("paired", "bicubic", "ssim", 0.4, "b"),
    Row("paired", "ours", "ssim", 0.5, "a"),
    Row("paired", "ours", "ssim", 0.7, "b"),
    Row("paired", "ours", "grid_peak", 2.0, "a"),
    Row("synthetic", "ours", "ssim", 0.9, "c"),
]


def test_means_over_cases_keep_protocols_apart() -> None:
    averaged = {(row.protocol, row.method, row.metric): round(row.value, 6) for row in means(ROWS)}
    assert averaged == {
        ("paired", "bicubic", "ssim"): 0.3,
        ("paired", "ours", "ssim"): 0.6,
        ("paired", "ours", "grid_peak"): 2.0,
        ("synthetic", "ours", "ssim"): 0.9,
    }
    assert means(ROWS)[0].to_dict().keys() == {"protocol", "method", "metric", "value"}
    assert ROWS[0].to_dict()["case"] == "a"


def test_csv_has_every_case(tmp_path: Path) -> None:
    write_csv(ROWS, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as stream:
        read = list(csv.DictReader(stream))
    assert [(row["case"], float(row["value"])) for row in read] == [(row.case, row.value) for row in ROWS]
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_rows_are_read_back(tmp_path: Path) -> None:
    rows = [*ROWS, Row("paired", "ours", "psnr", 20.25, None, 3)]
    write_csv(rows, tmp_path / "table.csv")
    assert read_csv(tmp_path / "table.csv") == rows


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val/ssim", ("ssim", "ours")),
        ("val/bicubic_ssim", ("ssim", "bicubic")),
        ("val/bicubic_mapped_psnr", ("psnr", "bicubic_mapped")),
        ("val/fx_spectrum_db", ("spectrum_db", "fx")),
        ("val/real_swd", ("swd", "real")),
        ("val/ssim_cycle", ("ssim_cycle", "ours")),
    ],
)
def test_validation_names(name, expected) -> None:
    assert validation_name(name, "ours") == expected


def test_only_validation_figures_have_a_method() -> None:
    with pytest.raises(ValueError, match="train/L2"):
        validation_name("train/L2", "ours")
