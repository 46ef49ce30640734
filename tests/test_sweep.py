"""A sweep as it is typed: jobs of their own, one of which fails."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests import wandb_file

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize(
    ("lambda1", "lambda2"),
    [
        (["0.1", "0.5"], ["0.2", "0.4"]),
        pytest.param(["0.1", "0.5", "1.0"], ["0.2", "0.4", "0.8"], marks=pytest.mark.slow),
    ],
)
def test_a_sweep_of_two_keys_with_two_jobs_at_once(
    lambda1: list[str], lambda2: list[str], smoke_run: Path, workplace: Path, command: Command
) -> None:
    folder = workplace / f"outputs/sweep{len(lambda1)}"
    bad = folder / "loss.lambda1=0.5,loss.lambda2=0.4"
    bad.mkdir(parents=True)
    (bad / "checkpoints").write_text("in the way")  # of one job of them
    done = command(
        *("train.py", "-m", "stage=synth", "experiment=smoke", f"loss.lambda1={','.join(lambda1)}"),
        *(
            f"loss.lambda2={','.join(lambda2)}",
            "synth.epochs=1",
            "hydra/launcher=joblib",
            "hydra.launcher.n_jobs=2",
            f"hydra.sweep.dir={folder}",
        ),
        *("logger=wandb", "panels.every=100"),
        cwd=workplace,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.strip().splitlines()[-1] == f"error: 1 job of the sweep failed, see {bad}/log.txt"
    with (folder / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["loss.lambda1"], row["loss.lambda2"]) for row in rows] == [(a, b) for a in lambda1 for b in lambda2]
    assert [row["returncode"] == "0" for row in rows] == [row["job"] != bad.name for row in rows]
    for row in rows:
        if row["returncode"] == "0":
            config = yaml.safe_load((folder / row["job"] / "config.yaml").read_text())
            assert config["loss"]["lambda1"] == float(row["loss.lambda1"])
            rows_of_job = json.loads((folder / row["job"] / "summary.json").read_text())["rows"]
            (swd,) = (r["value"] for r in rows_of_job if (r["method"], r["metric"]) == ("paper", "swd"))
            assert float(row["validation/swd"]) == swd
    table = (folder / "sweep.md").read_text()
    assert f"- `{bad.name}/log.txt` (exit code" in table
    for picture in ("heatmap.png", "pareto.png"):
        assert np.asarray(Image.open(folder / picture).convert("L")).std() > 10
    first = "loss.lambda1=0.1,loss.lambda2=0.2"
    (offline,) = (folder / f"{first}/wandb").glob("offline-run-*/*.wandb")
    assert wandb_file.run(offline) == (first, folder.name, "synth")
    for row in json.loads((folder / first / "summary.json").read_text())["rows"]:
        name = "final/{protocol}/{method}/{metric}".format(**row)
        assert wandb_file.summary(offline)[name] == pytest.approx(row["value"])
    (own,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    assert wandb_file.run(own) == (folder.name, folder.name, "sweep")
    figures = {row["job"]: float(row["validation/swd"]) for row in rows if row["returncode"] == "0"}
    logged = {job["job"]: job["validation/swd"] for job in wandb_file.table(own, "tables/jobs")}
    assert logged == figures | {bad.name: None}
    assert {"pictures/heatmap/path", "pictures/pareto/path"} <= {
        name for row in wandb_file.history(own) for name in row
    }
