"""The study's scripts: who is asked again, and what its tables say, against figures worked by hand."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from ctsr.records.row import Row, read_csv, write_csv
from tests.checkpoints import sr_checkpoint
from tests.conftest import REPOSITORY
from tests.data.projected import write_lung


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scores() -> ModuleType:
    return load("study_scores")


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    return load("study_tables")


def test_only_who_is_new_is_asked(scores: ModuleType, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_lung(tmp_path / "data/projections" / name, seed=len(name))
    checkpoint = tmp_path / "last.ckpt"
    torch.save(sr_checkpoint(), checkpoint)
    scores.main(tmp_path / "out", tmp_path / "data", "soft", [f"one={checkpoint}"])
    (file,) = (tmp_path / "out").iterdir()
    rows = read_csv(file)
    assert {row.protocol for row in rows} == {"projections/soft"}
    assert {row.case for row in rows} == {"a", "b"}
    assert {row.metric for row in rows} == {"ssim", "ssim_312um", "grad_corr", "dice", "grid_peak"}
    named = {"nearest", "bicubic", "bicubic_mapped", "one"}
    assert named <= {row.method for row in rows} <= named | {f"{name}_matched" for name in named}
    # What was found before is kept as it is, and not found anew.
    marked = [Row(row.protocol, row.method, row.metric, 7.0, row.case, row.seed) for row in rows]
    write_csv(marked, file)
    scores.main(tmp_path / "out", tmp_path / "data", "soft", [f"one={checkpoint}", f"two={checkpoint}"])
    again = read_csv(file)
    assert again[: len(marked)] == marked
    assert {row.method.removesuffix("_matched") for row in again[len(marked) :]} == {"two"}


def test_lungs_by_the_first_scanner_are_asked_as_they_are(scores: ModuleType, tmp_path: Path) -> None:
    write_lung(tmp_path / "lung")
    (folder := tmp_path / "data/paired/lung_100").mkdir(parents=True)
    for name, file in (("clinical", "soft"), ("micro", "micro"), ("labels", "labels")):
        (tmp_path / "lung" / f"{file}.nii.gz").rename(folder / f"{name}.nii.gz")
    torch.save(sr_checkpoint(), tmp_path / "last.ckpt")
    scores.main(tmp_path / "out", tmp_path / "data", "paired", [str(tmp_path / "last.ckpt")])
    rows = read_csv(tmp_path / "out/paired.csv")
    assert {(row.protocol, row.case) for row in rows} == {("paired", "lung_100")}
    assert {"scanner", "bicubic", "bicubic_mapped"} <= {row.method for row in rows}
    assert not any(row.method.endswith("_matched") for row in rows)


def a_method(name: str, values: dict[int | None, tuple[float, float]], protocol: str = "paired") -> list[Row]:
    """Each measure of two lungs is the same."""
    return [
        Row(protocol, name, metric, value, case, seed)
        for seed, of in values.items()
        for case, value in zip("ab", of, strict=True)
        for metric in ("ssim", "ssim_312um", "grad_corr", "dice", "grid_peak")
    ]


def test_a_lead_has_an_interval_over_lungs_and_one_over_seeds(tables: ModuleType) -> None:
    rows = a_method("scanner", {0: (0.5, 0.7), 1: (0.6, 0.6), 2: (0.7, 0.8)})
    rows += a_method("paper", {0: (0.4, 0.6), 1: (0.3, 0.5), 2: (0.5, 0.4)})
    cell = tables.lead(rows, "paired", "scanner", dict.fromkeys(tables.MEASURES, "paper"))[0]
    # At equal seeds .1, .2 and .3: their mean, and 4.30265 deviations of .1 over the root of three each way.
    assert cell.startswith("+0.200 [")
    assert cell.endswith("over seeds [-0.048, +0.448]")


def test_a_lead_over_a_method_with_one_seed_is_that_seed_s(tables: ModuleType) -> None:
    rows = a_method("scanner", {0: (0.5, 0.7), 1: (0.9, 0.9)}) + a_method("l2", {0: (0.4, 0.6)})
    cell = tables.lead(rows, "paired", "scanner", dict.fromkeys(tables.MEASURES, "l2"))[0]
    assert cell == "+0.100 [+0.100, +0.100]"


def test_a_lead_over_interpolation_tells_each_seed_s(tables: ModuleType) -> None:
    rows = a_method("scanner", {0: (0.5, 0.7), 1: (0.7, 0.8)}) + a_method("bicubic", {None: (0.4, 0.5)})
    cell = tables.lead(rows, "paired", "scanner", dict.fromkeys(tables.MEASURES, "bicubic"))[0]
    assert cell.startswith("+0.225 [")
    assert cell.endswith("seeds +0.150 to +0.300")


def test_the_better_bicubic_is_chosen_among_four(tables: ModuleType) -> None:
    kind = "projections/edge"
    rows = a_method("bicubic", {None: (0.4, 0.4)}, kind) + a_method("bicubic_mapped", {None: (0.3, 0.3)}, kind)
    rows += a_method("bicubic_matched", {None: (0.2, 0.2)}, kind)
    rows += a_method("bicubic_mapped_matched", {None: (0.45, 0.45)}, kind)
    rows += a_method("scanner", {0: (0.9, 0.9)}, kind) + a_method("scanner_matched", {0: (0.5, 0.6)}, kind)
    assert tables.better_base(tables.per_case(rows), kind, "ssim") == "bicubic_mapped_matched"
    (*_, line) = tables.by_kind(rows, "_matched").splitlines()
    assert line == "| `edge` | .450 / .450 / .450 / .450 | .550 / .550 / .550 / .550 |"
    (*_, line) = tables.leads_by_kind(rows, "scanner", None).splitlines()
    assert line.startswith("| `edge` | +0.100 [+0.050, +0.150]")


def test_files_in_pieces_give_one_table(tables: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = a_method("bicubic", {None: (0.4, 0.5)})
    write_csv([*base, *a_method("scanner", {0: (0.5, 0.7), 1: (0.5, 0.7)})], tmp_path / "one.csv")
    write_csv([*base, *a_method("paper_in_place", {0: (0.5, 0.6)})], tmp_path / "two.csv")
    tables.main([tmp_path / "one.csv", tmp_path / "two.csv"])
    told = capsys.readouterr().out
    assert "| `bicubic` |  | 0.450 | 0.450 | 0.450 | 0.450 | 0.5 |" in told
    assert "| `scanner` | 2 | 0.600 |" in told
    assert "| `scanner` | 1 | 0.600 |" in told, "each seed by itself"
    assert "### First scanner: paper_in_place less others" in told
