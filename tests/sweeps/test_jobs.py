"""What each job of a sweep finds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ctsr.sweeps.jobs import as_mapping, job_environment, run_job
from tests.conftest import REPOSITORY


def test_jobs_share_cores_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,7")
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    found = [job_environment(number, at_once=3) for number in range(4)]
    assert [job["CUDA_VISIBLE_DEVICES"] for job in found] == ["4", "5", "7", "4"]
    assert found[0]["OMP_NUM_THREADS"] == "2"
    assert "WORLD_SIZE" not in found[0]
    alone = job_environment(3, at_once=1)
    assert alone["CUDA_VISIBLE_DEVICES"] == "4,5,7"
    assert "OMP_NUM_THREADS" not in alone


TRAINS = """
import signal, sys, time
from pathlib import Path

here = Path(__file__).parent
def save(number, frame):
    (here / "saved").write_text(signal.Signals(number).name)
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
(here / "arguments").write_text(repr(sys.argv[1:]))
time.sleep(60)
"""
SWEEPS = """
import sys
from pathlib import Path
from ctsr.cli import run_cli
from ctsr.sweeps.jobs import run_job

here = Path(sys.argv[1])
config = {"logger": {}, "stage": "sr", "networks": {"G1": {"kind": "scanner"}}}
sys.exit(run_cli(lambda: run_job(here / "train.py", ["seed=1"], config, here / "sweep" / "seed=1", 0, 1)))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_stopped_waits_until_its_job_has_saved(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAINS, encoding="utf-8")
    (tmp_path / "sweep" / "seed=1").mkdir(parents=True)
    ours = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    sweep = subprocess.Popen([sys.executable, "-c", SWEEPS, tmp_path], stdout=subprocess.PIPE, text=True, env=ours)
    until = time.monotonic() + 60
    while not (tmp_path / "arguments").exists() and time.monotonic() < until:
        time.sleep(0.05)
    sweep.send_signal(number)
    said, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 128 + number
    assert (tmp_path / "saved").read_text() == "SIGTERM"
    assert said == f"job 0: seed=1: stopped; go on with resume=auto hydra.sweep.dir={tmp_path / 'sweep'}\n"
    assert not (tmp_path / "sweep" / "seed=1" / "job.json").exists(), "it is none that is done"


def test_a_job_is_given_its_overrides_as_they_were_typed(tmp_path: Path) -> None:
    program = tmp_path / "train.py"
    program.write_text("import sys; print(sys.argv[1:]); sys.exit(3)", encoding="utf-8")
    folder = tmp_path / "my sweep" / "synth_ckpt=a,b"
    folder.mkdir(parents=True)
    config = {"logger": {"project": "p"}, "stage": "sr", "networks": {"G1": {"kind": "scanner"}}}
    run_job(program, ["synth_ckpt='a=1/l.ckpt'", "data.split.val=['1_1','b']", "seed=1"], config, folder, 7, 1)
    typed = ["synth_ckpt=a=1/l.ckpt", "data.split.val=[1_1,b]", "seed=1"]
    given = [f"hydra.run.dir={folder}", "logger.group=my sweep", "logger.name=synth_ckpt=a,b"]
    assert (folder / "log.txt").read_text(encoding="utf-8") == f"{[*typed, *given]}\n"
    record = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    assert record == {"number": 7, "overrides": as_mapping(typed), "returncode": 3}
