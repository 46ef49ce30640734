"""Pooling, ranking and the Pareto front, worked out by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ctsr.sweeps.figures import draw_sweep
from ctsr.sweeps.table import markdown, pareto_front, pooled, ranked, read_jobs, swept, write_table

Values = dict[str, float]


def sweep(folder: Path, jobs: list[tuple[dict[str, str], int, Values | None]]) -> Path:
    """Job folders as a sweep leaves them; figures are validation figures of ours."""
    for number, (overrides, returncode, values) in enumerate(jobs):
        job = folder / ",".join(f"{key}={value}" for key, value in overrides.items())
        job.mkdir(parents=True)
        (job / "job.json").write_text(json.dumps({"number": number, "overrides": overrides, "returncode": returncode}))
        if values is not None:
            rows = [{"protocol": "validation", "method": "ours", "metric": k, "value": v} for k, v in values.items()]
            (job / "summary.json").write_text(json.dumps({"method": "ours", "rows": rows}))
    return folder


@pytest.fixture
def synth(tmp_path: Path) -> Path:
    return sweep(
        tmp_path,
        [
            ({"stage": "synth", "loss.lambda1": "0.1", "seed": "0"}, 0, {"ssim_G1": 0.80, "swd": 0.02}),
            ({"stage": "synth", "loss.lambda1": "0.1", "seed": "1"}, 0, {"ssim_G1": 0.84, "swd": 0.04}),
            ({"stage": "synth", "loss.lambda1": "0.5", "seed": "0"}, 0, {"ssim_G1": 0.90, "swd": 0.05}),
            ({"stage": "synth", "loss.lambda1": "0.5", "seed": "1"}, 2, None),
            ({"stage": "synth", "loss.lambda1": "0.9", "seed": "0"}, 0, {"ssim_G1": 0.81, "swd": 0.06}),
        ],
    )


def test_seeds_are_pooled(synth: Path) -> None:
    jobs = read_jobs(synth)
    assert swept(jobs) == {"loss.lambda1": {"0.1": "0.1", "0.5": "0.5", "0.9": "0.9"}}
    points = pooled(jobs)
    assert [(point.name, len(point.folders)) for point in points] == [
        ("lambda1=0.1", 2),
        ("lambda1=0.5", 1),
        ("lambda1=0.9", 1),
    ]
    assert points[0].means["validation/swd"] == pytest.approx(0.03)
    assert points[0].deviations["validation/ssim_G1"] == pytest.approx(0.02 * 2**0.5)
    assert points[1].deviations == {}


def test_the_front_and_the_ranks(synth: Path) -> None:
    points = pooled(read_jobs(synth))
    # 0.9 keeps less than 0.1 (0.81 against 0.82) and is less real (0.06 against 0.03).
    assert [point.name for point in pareto_front(points)] == ["lambda1=0.1", "lambda1=0.5"]
    assert [point.name for point in ranked(points)] == ["lambda1=0.1", "lambda1=0.5", "lambda1=0.9"]


def test_equal_points_are_both_on_the_front(tmp_path: Path) -> None:
    same = {"ssim_G1": 0.8, "swd": 0.02}
    folder = sweep(
        tmp_path, [({"a": "1"}, 0, same), ({"a": "2"}, 0, same), ({"a": "3"}, 0, {"ssim_G1": 0.8, "swd": 0.03})]
    )
    assert [point.name for point in pareto_front(pooled(read_jobs(folder)))] == ["a=1", "a=2"]


def test_enlargement_is_ranked_by_its_own_ssim(tmp_path: Path) -> None:
    folder = sweep(tmp_path, [({"x": str(n)}, 0, {"ssim": s, "swd": 1 - s}) for n, s in enumerate((0.4, 0.6, 0.5))])
    assert [point.name for point in ranked(pooled(read_jobs(folder)))] == ["x=1", "x=2", "x=0"]
    assert "each network about images of its own G1" in markdown(read_jobs(folder)), "which ranks no methods"


def test_tables_hold_every_job_and_name_what_failed(synth: Path) -> None:
    jobs = read_jobs(synth)
    write_table(jobs, synth / "sweep.csv")
    with (synth / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["returncode"] for row in rows] == ["0", "0", "0", "2", "0"]
    assert [row["validation/swd"] for row in rows] == ["0.02", "0.04", "0.05", "", "0.06"]
    text = markdown(jobs)
    folders = ", ".join(f"`stage=synth,loss.lambda1=0.1,seed={seed}`" for seed in (0, 1))
    assert f"| 0.1 | 2 * | 0.8200 ± 0.0283 | 0.0300 ± 0.0141 | {folders} |" in text
    assert "Failed: 1 of 5 jobs" in text
    assert "`stage=synth,loss.lambda1=0.5,seed=1/log.txt` (exit code 2)" in text


def test_keys_that_end_alike_are_told_in_full(tmp_path: Path) -> None:
    figures = {"ssim": 0.5}
    roots = [{"data.clinical.root": c, "data.micro.root": m, "k.a": m} for c in ("x", "y") for m in ("1", "2")]
    jobs = read_jobs(sweep(tmp_path, [(overrides, 0, figures) for overrides in roots]))
    assert pooled(jobs)[0].name == "data.clinical.root=x, data.micro.root=1, a=1"
    assert markdown(jobs).startswith("| data.clinical.root | data.micro.root | a | seeds |")


def test_values_that_are_paths_are_shown_by_what_differs(tmp_path: Path) -> None:
    figures = {"ssim": 0.5}
    paths = ["/data/g|1/checkpoints/last.ckpt", "/data/g$2$/checkpoints/last.ckpt"]
    jobs = []
    for number, path in enumerate(paths):
        folder = tmp_path / f"job={number}"
        folder.mkdir()
        job = {"number": number, "overrides": {"synth_ckpt": path}, "returncode": 0}
        (folder / "job.json").write_text(json.dumps(job))
        rows = [{"protocol": "validation", "method": "ours", "metric": k, "value": v} for k, v in figures.items()]
        (folder / "summary.json").write_text(json.dumps({"method": "ours", "rows": rows}))
    jobs = read_jobs(tmp_path)
    assert [point.name for point in pooled(jobs)] == ["synth_ckpt=g|1", "synth_ckpt=g$2$"]
    rows_of_table = [line for line in markdown(jobs).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows_of_table} == {5}, "a | in a path parts no cell"
    assert draw_sweep(pooled(jobs), swept(jobs), tmp_path) == [tmp_path / "lines.png"], "nor is a $ a formula"
    write_table(jobs, tmp_path / "sweep.csv")
    with (tmp_path / "sweep.csv").open() as file:
        assert [(row["job"], row["synth_ckpt"]) for row in csv.DictReader(file)] == [
            ("job=0", paths[0]),
            ("job=1", paths[1]),
        ]


@pytest.mark.parametrize("keys", [1, 2, 3])
def test_pictures_fit_the_number_of_keys(tmp_path: Path, keys: int) -> None:
    values = [("0.01", 0.8), ("1", 0.7), ("bad", 0.6)][: 3 if keys == 1 else 2]
    jobs: list[tuple[dict[str, str], int, Values | None]] = []
    for index in np.ndindex(*[len(values)] * keys):
        overrides = {f"k{axis}": values[place][0] for axis, place in enumerate(index)}
        figure = float(np.prod([values[place][1] for place in index]))
        jobs.append((overrides, 0, {"ssim_G1": figure, "swd": 1 - figure**2}))
    found = read_jobs(sweep(tmp_path, jobs))
    drawn = draw_sweep(pooled(found), swept(found), tmp_path)
    expected = {1: ["lines.png", "pareto.png"], 2: ["heatmap.png", "pareto.png"], 3: ["pareto.png"]}[keys]
    assert sorted(path.name for path in drawn) == expected
    for path in drawn:
        assert np.asarray(Image.open(path).convert("L")).std() > 10


def test_a_value_that_always_failed_has_its_place_in_the_heat_map(tmp_path: Path) -> None:
    figures = {"ssim_G1": 0.8, "swd": 0.1}
    good: list[tuple[dict[str, str], int, Values | None]] = [
        ({"a": a, "b": b}, 0, figures) for a in ("1", "2") for b in ("1", "2")
    ]
    bad: list[tuple[dict[str, str], int, Values | None]] = [({"a": "3", "b": b}, 2, None) for b in ("1", "2")]
    pictures = []
    for name, jobs in (("good", good), ("all", good + bad)):
        found = read_jobs(sweep(tmp_path / name, jobs))
        draw_sweep(pooled(found), swept(found), tmp_path / name)
        pictures.append(np.asarray(Image.open(tmp_path / name / "heatmap.png").convert("L")))
    assert not np.array_equal(*pictures)
