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
    """Job folders as a sweep leaves them; figures are ours, of the validation where no protocol stands before them."""
    for number, (overrides, returncode, values) in enumerate(jobs):
        job = folder / ",".join(f"{key}={value}" for key, value in overrides.items())
        job.mkdir(parents=True)
        (job / "job.json").write_text(json.dumps({"number": number, "overrides": overrides, "returncode": returncode}))
        if values is not None:
            named = {tuple(f"validation/{name}".split("/")[-2:]): value for name, value in values.items()}
            rows = [{"protocol": p, "method": "ours", "metric": m, "value": v} for (p, m), v in named.items()]
            (job / "summary.json").write_text(json.dumps({"method": "ours", "rows": rows}))
    return folder


def seeded(folder: Path, key: str, settings: dict[str, dict[str, list[float]]]) -> Path:
    """A sweep of one key: value -> figure -> what seed 0, 1 and so on came to."""
    return sweep(
        folder,
        [
            ({key: value, "seed": str(seed)}, 0, {name: of[seed] for name, of in figures.items()})
            for value, figures in settings.items()
            for seed in range(len(next(iter(figures.values()))))
        ],
    )


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


def test_the_front_and_the_ranks(tmp_path: Path) -> None:
    settings = {
        "0.1": {"ssim_G1": [0.820, 0.821, 0.822], "swd": [0.030, 0.031, 0.032]},
        "0.5": {"ssim_G1": [0.900, 0.9015, 0.902], "swd": [0.050, 0.0515, 0.052]},
        "0.9": {"ssim_G1": [0.810, 0.8105, 0.812], "swd": [0.060, 0.0605, 0.062]},
    }
    points = pooled(read_jobs(seeded(tmp_path, "loss.lambda1", settings)))
    # 0.9 keeps less than 0.1 and is less real.
    assert [point.name for point in pareto_front(points)] == ["lambda1=0.1", "lambda1=0.5"]
    assert [point.name for point in ranked(points)] == ["lambda1=0.1", "lambda1=0.5", "lambda1=0.9"]


def test_what_seeds_do_not_tell_makes_no_front(tmp_path: Path, synth: Path) -> None:
    assert pareto_front(pooled(read_jobs(synth))) == []
    # Structure is 0.01 apart on average, but by -0.02, 0.01 and 0.04 of the seeds; realism is 0.02 apart in each.
    settings = {
        "near": {"ssim_G1": [0.80, 0.80, 0.80], "swd": [0.03, 0.04, 0.05]},
        "far": {"ssim_G1": [0.78, 0.81, 0.84], "swd": [0.05, 0.06, 0.07]},
    }
    points = pooled(read_jobs(seeded(tmp_path / "three", "k", settings)))
    assert [point.name for point in pareto_front(points)] == ["k=near"], "far is better in structure by chance alone"


def test_equal_points_are_both_on_the_front(tmp_path: Path) -> None:
    same = {"ssim_G1": [0.8, 0.81], "swd": [0.02, 0.03]}
    worse = {"ssim_G1": [0.7, 0.71], "swd": [0.04, 0.05]}
    folder = seeded(tmp_path, "a", {"1": same, "2": same, "3": worse})
    assert [point.name for point in pareto_front(pooled(read_jobs(folder)))] == ["a=1", "a=2"]


def test_a_table_says_what_differs_and_what_does_not(tmp_path: Path) -> None:
    # Realism: 0.010, 0.012 and 0.014 more than 0.1, mean 0.012, standard deviation 0.002; the 95 % t interval of three
    # is 4.3027 x 0.002 / sqrt(3) = 0.0050 each way. Structure: -0.01, 0.01 and -0.003 more than 0.5, mean -0.001,
    # standard deviation 0.0101: 0.0252 each way.
    settings = {
        "0.1": {"ssim_G1": [0.80, 0.82, 0.81], "swd": [0.020, 0.020, 0.020]},
        "0.5": {"ssim_G1": [0.81, 0.81, 0.813], "swd": [0.030, 0.032, 0.034]},
    }
    text = markdown(read_jobs(seeded(tmp_path, "loss.lambda1", settings)))
    best, other = (line for line in text.splitlines() if line.startswith("| 0."))
    assert best.startswith("| 0.1 | 3 * | 0.8100 ± 0.0100 | -0.0010 [-0.0262, +0.0242] | 0.0200 ± 0.0000 | best |")
    assert other.startswith("| 0.5 | 3 | 0.8110 ± 0.0017 | best | 0.0320 ± 0.0020 | +0.0120 [+0.0070, +0.0170] |")
    assert "\nno difference beyond seeds in validation ssim_G1\n" in text
    assert "\nvalidation swd: beyond seeds from the best (lambda1=0.1): lambda1=0.5\n" in text


def test_one_seed_tells_nothing(tmp_path: Path) -> None:
    text = markdown(read_jobs(seeded(tmp_path, "k", {"1": {"swd": [0.02]}, "2": {"swd": [0.9]}})))
    assert text.count("\none seed: no difference can be told from chance; add seed=0,1,2\n") == 1
    assert "| 0.9000 | +0.8800 |" in text, "without an interval"
    assert "beyond" not in text


def test_stage_sr_is_ranked_by_real_scans(tmp_path: Path) -> None:
    # a and b: consistency apart by 1, -1 and 0.3 of the seeds; c is 5 to 6 worse. b makes less up than a.
    a = {"clinical/consistency_hu": [10.0, 12.0, 11.0], "clinical/empty_texture": [0.03, 0.03, 0.03]}
    b = {"clinical/consistency_hu": [11.0, 11.0, 11.3], "clinical/empty_texture": [0.01, 0.01, 0.01]}
    c = {"clinical/consistency_hu": [16.0, 17.9, 17.0], "clinical/empty_texture": [0.02, 0.02, 0.02]}
    ssim = {"a": [0.5] * 3, "b": [0.4] * 3, "c": [0.99] * 3}  # on images of its own G1 c is best
    settings = {name: of | {"ssim": ssim[name]} for name, of in {"a": a, "b": b, "c": c}.items()}
    jobs = read_jobs(seeded(tmp_path / "three", "k", settings))
    assert [point.name for point in ranked(pooled(jobs))] == ["k=b", "k=a", "k=c"]
    text = markdown(jobs)
    assert "clinical consistency_hu: beyond seeds from the best (k=a): k=c\n" in text
    assert "neither says what was gained" in text
    assert "validation ssim" in text
    assert "paired" not in text
    one = {name: {figure: of[:1] for figure, of in figures.items()} for name, figures in settings.items()}
    points = ranked(pooled(read_jobs(seeded(tmp_path / "one", "k", one))))
    assert [point.name for point in points] == ["k=a", "k=b", "k=c"], "one seed ties nothing"
    known = {name: of | {"paired/ssim_312um": [0.6, 0.61, 0.62]} for name, of in settings.items()}
    text = markdown(read_jobs(seeded(tmp_path / "known", "k", known)))
    assert "no difference beyond seeds in paired ssim_312um\n" in text
    assert "a truth that no user has" in text


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
    # 0.5 has one seed only, which leaves one degree of freedom: 12.706 x sqrt(0.0008 x (1 / 2 + 1)) = 0.4402.
    assert f"| 0.1 | 2 | 0.8200 ± 0.0283 | -0.0800 [-0.5202, +0.3602] | 0.0300 ± 0.0141 | best | {folders} |" in text
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
    assert {line.count("|") for line in rows_of_table} == {6}, "a | in a path parts no cell"
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


@pytest.mark.parametrize(("worst", "colours"), [(0.031, 1), (0.5, 2)])
def test_cells_that_seeds_do_not_tell_from_the_best_have_its_colour(tmp_path: Path, worst: float, colours: int) -> None:
    jobs: list[tuple[dict[str, str], int, Values | None]] = []
    noise = np.random.default_rng(0).normal(0, 0.01, (2, 2, 5))
    for a, b, seed in np.ndindex(2, 2, 5):
        swd = (worst if (a, b) == (1, 1) else 0.03) + noise[a, b, seed]
        jobs.append(({"a": str(a), "b": str(b), "seed": str(seed)}, 0, {"swd": swd}))
    found = read_jobs(sweep(tmp_path, jobs))
    draw_sweep(pooled(found), swept(found), tmp_path)
    pixels = np.asarray(Image.open(tmp_path / "heatmap.png").convert("RGB")).reshape(-1, 3)
    shades, counts = np.unique(pixels, axis=0, return_counts=True)
    coloured = np.ptp(shades.astype(int), axis=1) > 10  # neither paper nor ink
    assert (counts[coloured] > 0.03 * len(pixels)).sum() == colours
