"""The folder of a run: its name, and what a run was told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ctsr.errors import UserError
from ctsr.files import replacing
from ctsr.records.run import Run, as_yaml
from ctsr.records.stages import Stage


def run_id() -> str:
    """Name a new run's folder, alike in all processes of a cluster's job, also when it is started again."""
    if "SLURM_JOB_ID" in os.environ and "SLURM_PROCID" in os.environ:
        return f"slurm-{os.environ['SLURM_JOB_ID']}"
    if os.environ.get("TORCHELASTIC_RUN_ID", "none") != "none":
        return f"torchrun-{os.environ['TORCHELASTIC_RUN_ID']}"
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def check_shared(named: bool) -> None:
    """Make sure that all processes of a run have one folder.

    Args:
        named: The folder was given.

    Raises:
        UserError: Each would name one of its own.
    """
    if os.environ.get("TORCHELASTIC_RUN_ID") == "none" and int(os.environ.get("WORLD_SIZE", "1")) > 1 and not named:
        raise UserError("torchrun starts processes that need one folder: give hydra.run.dir=<folder>, or --rdzv-id")


def stage_folders(run: Run, folder: Path) -> list[tuple[Stage, Path]]:
    """The stages of a run, each with where it is trained: the last in the run's folder, others below it."""
    *before, last = run.stages
    return [*((stage, folder / stage.name) for stage in before), (last, folder)]


def write_config(config: Mapping[str, Any], folder: Path) -> None:
    """Write `config.yaml`, whole or not at all, into a folder that need not be there."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "config.yaml") as partial:
        partial.write_text(as_yaml(config), encoding="utf-8")
