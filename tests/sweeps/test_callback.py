"""What Hydra's callback checks, and how it ends a program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

import train  # noqa: F401 - registers the resolver of run folders
from ctsr.errors import CollectedError
from ctsr.sweeps.callback import SweepCallback, composed, overrides_of_jobs
from tests.conftest import REPOSITORY

Jobs = Sequence[Mapping[str, Any]]


@contextmanager
def loaded(mode: RunMode, *overrides: str) -> Iterator[DictConfig]:
    """What Hydra has composed when it calls a callback."""
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        yield GlobalHydra.instance().config_loader().load_configuration("train", list(overrides), mode)


class Seen:
    """A check that keeps what it is given."""

    def __init__(self) -> None:
        self.jobs: Jobs = []
        self.asked = 0

    def __call__(self, jobs: Jobs, folder: Path | None) -> None:
        self.jobs, self.folder, self.asked = jobs, folder, self.asked + 1


def test_a_run_is_checked_as_it_was_composed() -> None:
    check = Seen()
    with loaded(RunMode.RUN, "stage=synth", "loss.lambda1=0.25", "hydra.run.dir=a") as config:
        SweepCallback(check).on_run_start(config)
        assert config.hydra.run.dir == "a", "what Hydra goes on with is as it was"
    (job,) = check.jobs
    assert (job["stage"], job["loss"]["lambda1"], check.folder) == ("synth", 0.25, Path("a"))
    assert "hydra" not in job


def test_every_job_of_a_sweep_is_checked() -> None:
    check = Seen()
    asked = ("loss.lambda1=choice(0.1,0.5)", "seed=range(3)", "stage=synth,all")
    with loaded(RunMode.MULTIRUN, *asked) as config:
        SweepCallback(check).on_multirun_start(config)
    found = {(job["loss"]["lambda1"], job["seed"], job["stage"]) for job in check.jobs}
    assert found == {(weight, seed, stage) for weight in (0.1, 0.5) for seed in range(3) for stage in ("synth", "all")}
    assert len(check.jobs) == 12
    assert (check.folder, check.asked) == (None, 1)


def test_a_sweep_that_conf_has_ready_is_checked_with_its_own_values() -> None:
    check = Seen()
    with loaded(RunMode.MULTIRUN, "sweep=constants", "loss.lambda1=1,2") as config:
        SweepCallback(check).on_multirun_start(config)
    found = {(j["loss"]["lambda1"], j["loss"]["ssim"]["C1"], j["loss"]["ssim"]["C2"], j["seed"]) for j in check.jobs}
    assert found == {
        (w, c1, c2, s) for w in (1, 2) for c1 in (0.0004, 0.02) for c2 in (0.0036, 0.06) for s in (0, 1, 2)
    }


W = (0.1, 0.5)


@pytest.mark.parametrize(
    ("asked", "folders"),
    [
        (
            ["loss.lambda1=choice(0.1,0.5)", "seed=range(2)"],
            [f"loss.lambda1={w},seed={s}" for w in (0.1, 0.5) for s in (0, 1)],
        ),
        (["stage=sr", "synth_ckpt='/a/g=1/l.ckpt','/a/g,2/l.ckpt'"], ["synth_ckpt=g=1", "synth_ckpt=g,2"]),
        (["data.split.val=['1_1'],['1_2','b']"], ["data.split.val=1_1", "data.split.val=1_2,b"]),
        (["stage=synth"], ["job=0"]),
        (["seed=1,2", "data.cache='${oc.env:NOWHERE}/c'"], ["seed=1", "seed=2"]),
        (["seed=1,2", "hydra.sweep.subdir=own/${seed}"], ["own/1", "own/2"]),
    ],
)
def test_jobs_have_folders_named_by_what_differs(asked: list[str], folders: list[str]) -> None:
    """As Hydra's sweeper resolves them for each job."""
    given = [*(["stage=synth"] if not asked[0].startswith("stage") else []), *asked]
    with loaded(RunMode.MULTIRUN, *given) as config:
        SweepCallback(Seen()).on_multirun_start(config)
        found = []
        for number, overrides in enumerate(overrides_of_jobs(config)):
            job = composed(config, overrides)
            with open_dict(job):
                job.hydra.job.num = number
            HydraConfig.instance().set_config(job)
            found.append(OmegaConf.select(job, "hydra.sweep.subdir"))
    assert found == folders


def test_what_hydra_knows_only_of_a_running_job_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    check = Seen()
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # as it is before a job; another test may have had one
    with loaded(RunMode.RUN, "stage=synth", "logger=wandb", "logger.name=${hydra:job.num}") as config:
        SweepCallback(check).on_run_start(config)
    assert check.asked == 0


@pytest.mark.parametrize(
    ("mode", "call", "key"),
    [(RunMode.RUN, "on_run_start", "hydra.run.dir"), (RunMode.MULTIRUN, "on_multirun_start", "hydra.sweep.dir")],
)
def test_a_folder_without_a_name_is_refused(
    mode: RunMode, call: str, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with loaded(mode, "stage=synth", f"{key}=''") as config, pytest.raises(SystemExit):
        getattr(SweepCallback(Seen()), call)(config)
    assert capsys.readouterr().err == f"error: {key}=: give a path\n"


def test_a_mistake_ends_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    def check(jobs: Jobs, folder: Path | None) -> None:
        raise CollectedError(["seed=-1: give another", "typo: no such key"])

    for mode, call in ((RunMode.RUN, "on_run_start"), (RunMode.MULTIRUN, "on_multirun_start")):
        with loaded(mode, "stage=synth") as config, pytest.raises(SystemExit) as exit_:
            getattr(SweepCallback(check), call)(config)
        assert exit_.value.code == 2
        assert capsys.readouterr().err == "error: seed=-1: give another\nerror: typo: no such key\n"
