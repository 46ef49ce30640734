"""Where a run shows a bar, and where it prints lines."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import ProgressBar

import train
from ctsr.training.callbacks.bar import Bar
from ctsr.training.callbacks.lines import Lines
from ctsr.training.loggers import WandbRun
from ctsr.training.run_folder import stage_folders
from ctsr.training.trainer import build_trainer
from tests.conftest import REPOSITORY


def told(tmp_path: Path, *asked: str) -> list[tuple[str, str, str]]:
    """Group, name and job type in W&B of each stage of a run into `night`."""
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        run = train.typed(compose("train", ["hardware=cpu", "logger=wandb", "logger.offline=true", *asked]))
    settings = []
    for stage, folder in stage_folders(run, tmp_path / "night"):
        _, dashboard = build_trainer(run, stage, folder).loggers
        assert isinstance(dashboard, WandbRun)
        settings.append(dashboard._wandb_init)
    return [(one["group"], one["name"], one["job_type"]) for one in settings]


def test_the_stages_of_a_run_stand_in_one_group_of_the_dashboard(tmp_path: Path) -> None:
    one, other = told(tmp_path / "a", "stage=all", "logger.name=mine")
    assert (one, other) == (("night", "mine-synth", "synth"), ("night", "mine-sr", "sr"))
    job = [("sweep", "job-synth", "synth"), ("sweep", "job-sr", "sr")]
    assert told(tmp_path / "b", "stage=all", "logger.group=sweep", "logger.name=job") == job
    assert told(tmp_path / "b", "stage=all", "logger.name=all-2026-11-29_21-19-33") == job, "a time alone is no name"
    assert told(tmp_path / "c", "stage=synth", "logger.name=mine") == [(None, "mine", "synth")]


@pytest.mark.parametrize(
    ("terminal", "wanted", "kind"),
    [(True, "true", Bar), (True, "false", Lines), (False, "true", Lines), (False, "false", Lines)],
)
def test_a_bar_in_a_terminal_lines_elsewhere(
    terminal: bool, wanted: str, kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctsr.training.trainer.Console", lambda: SimpleNamespace(is_interactive=terminal))
    asked = ["stage=synth", "hardware=cpu", "method=scanner", f"trainer.enable_progress_bar={wanted}"]
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        run = train.typed(compose("train", asked))
    trainer = build_trainer(run, run.stages[0], tmp_path)
    (shown,) = [callback for callback in trainer.callbacks if isinstance(callback, Lines | ProgressBar)]  # type: ignore[attr-defined]
    assert type(shown) is kind
    if isinstance(shown, Lines):
        assert shown.method == "scanner"
