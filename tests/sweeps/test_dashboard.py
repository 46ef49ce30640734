"""What W&B is given of a sweep, read back from disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import wandb
from PIL import Image

from ctsr.sweeps.dashboard import log_sweep
from ctsr.sweeps.table import read_jobs
from tests import wandb_file

JOBS = {"1_1,seed=0": ("1_1", "0", 0.25), "1_1,seed=1": ("1_1", "1", 0.75), "1_2,seed=0": ("1_2", "0", 0.125)}
LOGGER = "logger: {project: lungs, group: nights, name: one, offline: true}"


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two cases and two seeds, one job of which has failed."""
    for number, (name, (case, seed, swd)) in enumerate([*JOBS.items(), ("1_2,seed=1", ("1_2", "1", None))]):
        folder = tmp_path / "night" / name
        folder.mkdir(parents=True)
        overrides = {"data.split.val": case, "loss.lambda1": "0.5", "seed": seed}
        record = {"number": number, "overrides": overrides, "returncode": 0 if swd else 2}
        (folder / "job.json").write_text(json.dumps(record))
        if swd:
            rows = [{"protocol": "validation", "method": "ours", "metric": "swd", "value": swd}]
            (folder / "summary.json").write_text(json.dumps({"method": "ours", "rows": rows}))
    return tmp_path / "night"


def test_a_sweep_is_a_run_of_its_own_with_numbers_and_pictures(sweep: Path) -> None:
    (sweep / "1_1,seed=1" / "config.yaml").write_text(LOGGER)
    Image.new("RGB", (8, 8), "red").save(sweep / "pareto.png")
    log_sweep(read_jobs(sweep), [sweep / "pareto.png"], sweep)
    wandb.teardown()
    (file,) = sweep.glob("wandb/offline-run-*/*.wandb")
    assert wandb_file.run(file) == ("night", "nights", "sweep")
    best, second = wandb_file.table(file, "tables/sweep")
    assert (best["data.split.val"], best["seeds"], best["validation/swd"]) == ("1_2", 1, 0.125), "best first"
    assert (second["data.split.val"], second["seeds"], second["validation/swd"]) == ("1_1", 2, 0.5)
    assert second["validation/swd deviation"] == pytest.approx(0.5 * 0.5**0.5)
    assert best["validation/swd less the best"] is None
    assert second["validation/swd less the best"] == 0.5 - 0.125
    # One degree of freedom: the pooled deviation is that of the two seeds, .5 / sqrt(2); t(.975, 1) = 12.7062.
    assert second["validation/swd less the best, high"] == pytest.approx(
        0.375 + 12.7062 * 0.5 / 2**0.5 * 1.5**0.5, rel=1e-4
    )
    assert second["validation/swd beyond seeds"] == "no"
    jobs = wandb_file.table(file, "tables/jobs")
    assert [job["validation/swd"] for job in jobs] == [0.25, 0.75, 0.125, None]
    assert [(job["returncode"], job["loss.lambda1"]) for job in jobs] == [(0, 0.5), (0, 0.5), (0, 0.5), (2, 0.5)]
    assert [job["data.split.val"] for job in jobs] == ["1_1", "1_1", "1_2", "1_2"], "no numbers"
    (row,) = (row for row in wandb_file.history(file) if "pictures/pareto/path" in row)
    assert (file.parent / "files" / row["pictures/pareto/path"]).is_file()


def test_nothing_is_logged_where_no_job_was(sweep: Path) -> None:
    (sweep / "1_1,seed=0" / "config.yaml").write_text("logger: {}")
    log_sweep(read_jobs(sweep), [], sweep)
    assert not (sweep / "wandb").exists()
    assert not (sweep / "wandb_id").exists()


def test_a_dashboard_that_fails_is_warned_of(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sweep / "1_1,seed=1" / "config.yaml").write_text(LOGGER)
    log_sweep(read_jobs(sweep), [sweep / "no such picture.png"], sweep)
    wandb.teardown()
    assert "logger: the sweep's tables may be missing there" in capsys.readouterr().err
