"""Who starts the processes of a run, inside a SLURM job and outside."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from lightning.fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.utilities import rank_zero_only

import train
from ctsr.errors import UserError
from ctsr.records.trainer import TrainerSettings
from ctsr.training.processes import check_processes, environment
from ctsr.training.trainer import devices
from tests.conftest import REPOSITORY

Command = Callable[..., "subprocess.CompletedProcess[str]"]
JOB = {  # what a job's script finds, and an ssh shell or a notebook in it
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "localhost",
    "SLURM_JOB_NUM_NODES": "1",
}
PER_NODE, STEP = {"SLURM_NTASKS_PER_NODE": "4"}, {"SLURM_STEP_ID": "0"}
TORCHRUN = dict.fromkeys(
    ("RANK", "GROUP_RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "TORCHELASTIC_RUN_ID"), "1"
)
CPU = ("trainer.accelerator=cpu", "trainer.precision=32-true")


@pytest.fixture(autouse=True)
def _rank() -> None:
    rank_zero_only.rank = 0


def asked(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str], *overrides: str) -> TrainerSettings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        return train.typed(compose("train", ["stage=synth", *overrides])).trainer


@pytest.mark.parametrize(
    ("variables", "overrides", "kind"),
    [
        ({}, ["hardware=cpu"], LightningEnvironment),
        (JOB, ["hardware=cpu"], LightningEnvironment),
        (JOB | PER_NODE, ["hardware=auto", *CPU], LightningEnvironment),
        (JOB | PER_NODE | STEP, ["hardware=gpu", *CPU], LightningEnvironment),
        (JOB | {"SLURM_PROCID": "3"}, ["hardware=cpu"], LightningEnvironment),
        (JOB, ["hardware=ddp", "trainer.devices=2", *CPU], LightningEnvironment),  # by plain python
        (JOB | PER_NODE | STEP, ["hardware=ddp", "trainer.devices=4", *CPU], SLURMEnvironment),
        (JOB | PER_NODE | STEP, ["hardware=slurm", *CPU], SLURMEnvironment),
        (JOB | PER_NODE | STEP | {"SLURM_JOB_NAME": "bash"}, ["hardware=slurm", *CPU], SLURMEnvironment),
        (JOB | {"SLURM_NTASKS": "1"}, ["hardware=slurm", *CPU], LightningEnvironment),
        ({}, ["hardware=slurm", *CPU], LightningEnvironment),
        (JOB | PER_NODE | STEP | TORCHRUN, ["hardware=cpu"], TorchElasticEnvironment),
        ({}, ["hardware=ddp", "trainer.devices=2", *CPU], type(None)),  # another cluster's, or Lightning's
    ],
)
def test_who_starts_the_processes(
    variables: Mapping[str, str], overrides: list[str], kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = asked(monkeypatch, variables, *overrides)
    check_processes(run, devices(run), Path("outputs/night"))
    assert type(environment(run, devices(run))) is kind


def test_the_only_process_is_the_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    run = asked(monkeypatch, JOB | {"SLURM_PROCID": "3"}, "hardware=cpu")
    rank_zero_only.rank = 3  # as Lightning has it from SLURM_PROCID when it is imported
    environment(run, 1)
    assert rank_zero_only.rank == 0, "who is not writes no metrics.csv"


@pytest.mark.parametrize(
    ("variables", "overrides", "told"),
    [
        (JOB, ["hardware=slurm", *CPU], "--ntasks=4 and no --ntasks-per-node"),
        (JOB | STEP, ["hardware=slurm", *CPU], "--ntasks=4 and no --ntasks-per-node"),
        (
            JOB | PER_NODE,
            ["hardware=slurm", *CPU],
            "none of the job's 4 tasks .trainer.num_nodes=1.: start with srun",
        ),
        (
            JOB | {"SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "2"},
            ["hardware=slurm", *CPU],
            "none of the job's 1 tasks .trainer.num_nodes=2.: start with srun",
        ),
        (JOB | PER_NODE | STEP, ["hardware=slurm", "trainer.devices=1", *CPU], "has started 4 processes.* are 1: ask"),
        (JOB | PER_NODE | STEP, ["hardware=ddp", "trainer.devices=2", *CPU], "has started 4 processes.* are 2: ask"),
    ],
)
def test_a_run_whose_processes_are_not_started_is_refused(
    variables: Mapping[str, str], overrides: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = asked(monkeypatch, variables, *overrides)
    with pytest.raises(UserError, match=told):
        check_processes(run, devices(run), Path("outputs/night"))


def test_processes_of_srun_do_not_train_into_one_folder_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    run = asked(monkeypatch, JOB | STEP | {"SLURM_PROCID": "2"}, "hardware=cpu")
    with pytest.raises(UserError, match="4 processes that would all train into outputs/synth/slurm-4711"):
        check_processes(run, 1, Path("outputs/synth/slurm-4711"))
    check_processes(run, 1, Path("outputs/mine"))


@pytest.mark.parametrize("device_keys", [["hardware=cpu"], ["hardware=ddp", "trainer.devices=2", *CPU]])
def test_a_training_by_plain_python_inside_a_job(
    device_keys: list[str], smoke_run: Path, workplace: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)
    folder = workplace / f"outputs/in_a_job_{len(device_keys)}"
    brief = ("trainer.limit_train_batches=2", "synth.epochs=1", "trainer.log_every_n_steps=1")
    typed = ("stage=synth", "experiment=smoke", "method=scanner", *brief, *device_keys, f"hydra.run.dir={folder}")
    done = command("train.py", *typed, cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert "MEMBER: 1/4" not in done.stderr
    with (folder / "metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file) if row["lr_G"]] == ["0", "1"]


def test_a_job_without_srun_is_refused_before_a_folder_is_made(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)
    done = command("train.py", "stage=synth", "hardware=slurm", *CPU, "experiment=smoke", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n"), list(tmp_path.iterdir())) == (2, 1, [])
    assert done.stderr.startswith("error: hardware=slurm (trainer.srun=true): the job has --ntasks=4")
