"""Where scalars and pictures go beside `metrics.csv`: W&B and TensorBoard."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from ctsr.evaluation.reporting.tables import Table
from ctsr.files import replacing

_BY_TIME = re.compile(r"\w+-\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")  # the name of conf/logger/wandb.yaml
STEP = "batch"
"""The axis that W&B draws every scalar over: batches seen, whatever the number of optimizers."""


def from_one(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What Lightning logs, the epoch, where there is one, counted from 1 in place of 0."""
    return {name: value + 1 if name == "epoch" else value for name, value in metrics.items()}


class WandbRun(WandbLogger):
    """W&B's logger with an axis of its own, that works without an account.

    Args:
        save_dir: The run folder.
        offline: Keep everything on disk, to be sent by `wandb sync`; None: if no key is known.
        **settings: Of `WandbLogger`, such as `project`, `name` and `group`.
    """

    def __init__(self, save_dir: str, offline: bool | None = None, **settings: Any) -> None:
        if offline is None:
            offline = not _has_account()
        settings = {"resume": "allow"} | settings | _identity(Path(save_dir), settings)
        super().__init__(save_dir=save_dir, mode="offline" if offline else None, **settings)
        self._axis_defined = False

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs scalars or media, with the batch they belong to."""
        if not self._axis_defined:
            self.experiment.define_metric(STEP)
            self.experiment.define_metric("*", step_metric=STEP, step_sync=True)
            self._axis_defined = True
        super().log_metrics(from_one(metrics) | ({} if step is None else {STEP: step}), step)


class TensorBoardRun(TensorBoardLogger):
    """TensorBoard's logger, which counts epochs from 1."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs scalars."""
        super().log_metrics(from_one(metrics), step)


def log_picture(loggers: Iterable[Logger], name: str, path: Path, step: int) -> None:
    """Gives a PNG to the loggers that show pictures."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [str(path)], step=step)
        elif isinstance(logger, TensorBoardLogger):
            with Image.open(path) as picture:
                logger.experiment.add_image(name, np.asarray(picture.convert("RGB")), step, dataformats="HWC")


def log_config(loggers: Iterable[Logger], config: Mapping[str, Any]) -> None:
    """Gives the configuration to the loggers that show it; the run folder has it as config.yaml."""
    for logger in loggers:
        if isinstance(logger, WandbLogger | TensorBoardLogger):
            logger.log_hyperparams(dict(config))


def log_evaluation(tables: Iterable[Table], figures: Iterable[Path], project: str, folder: Path) -> None:
    """Logs an evaluation's tables and pictures to W&B, as a run of their own; offline without an account.

    Args:
        tables: In order.
        figures: PNG files.
        project: Of W&B.
        folder: Where an offline run is kept, and what the run is named after.
    """
    import wandb

    run = WandbRun(str(folder), project=project, name=folder.name, job_type="evaluate").experiment
    for table in tables:
        run.log({table.title: wandb.Table(columns=list(table.head), data=[list(line) for line in table.lines])})
    for figure in figures:
        run.log({figure.stem: wandb.Image(str(figure))})
    run.finish()


def finish(loggers: Iterable[Logger]) -> None:
    """Ends W&B runs, so that the next run of the same process is one of its own."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


def _identity(folder: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Id, name and group of a run, kept in its folder, so that a resumed run is the same one, in its place.

    Args:
        folder: The run folder.
        given: What this start of it was given: a group counts, and so does a name that does not tell a time only.
    """
    file = folder / "wandb_id"
    kept = file.read_text(encoding="utf-8").split("\n") if file.is_file() else [uuid.uuid4().hex[:8]]
    run, name, group, *_ = [*kept, "", ""]  # older files hold an id alone
    typed = given.get("name")
    name = typed if typed and not (name and _BY_TIME.fullmatch(typed)) else name
    group = given.get("group") or group
    if [run, name, group] != kept:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(file) as partial:
            partial.write_text("\n".join((run, name, group)), encoding="utf-8")
    return {"id": given.get("id") or run, "name": name or None, "group": group or None}


def _has_account() -> bool:
    """Whether a key is known, or WANDB_MODE says what to do."""
    import wandb  # half a second, for those who ask for it

    return "WANDB_MODE" in os.environ or bool(wandb.login(prompt=False))
