"""Where scalars, pictures and a stage's final figures go beside `metrics.csv`: W&B and TensorBoard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from ctsr.errors import warn
from ctsr.evaluation.reporting.tables import LESS_IS_BETTER
from ctsr.records.row import validation_name
from ctsr.wandb_runs import Numbers, identity, is_offline

STEP = "batch"
"""The axis that W&B draws every scalar over: batches seen, whatever the number of optimizers."""


def from_one(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What Lightning logs, the epoch, where there is one, counted from 1 in place of 0."""
    return {name: value + 1 if name == "epoch" else value for name, value in metrics.items()}


class WandbRun(WandbLogger):
    """W&B's logger with an axis of its own, that works without an account.

    W&B keeps what it has: where a run goes on from before its last batch, as after a crash, these batches are not
    logged again.

    Args:
        save_dir: The run folder.
        offline: Keep everything on disk, to be sent by `wandb sync`; None: if no key is known.
        together: The group where none is given.
        **settings: Of `WandbLogger`, such as `project`, `name` and `group`.
    """

    def __init__(
        self, save_dir: str, offline: bool | None = None, together: str | None = None, **settings: Any
    ) -> None:
        offline = is_offline(offline)
        settings = {"resume": "allow"} | settings | identity(Path(save_dir), settings, together)
        super().__init__(save_dir=save_dir, mode="offline" if offline else None, **settings)
        self._defined: set[str] = set()
        self._held = -1  # the last batch of which W&B had anything when this logger was made

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs scalars or media, with the batch they belong to."""
        if not self._defined:
            self.experiment.define_metric(STEP)
            self.experiment.define_metric("*", step_metric=STEP, step_sync=True)
            self._held = int(self.experiment.summary.get(STEP, -1))
        if step is not None and step < self._held:
            return
        for name in metrics.keys() - self._defined:
            if name.startswith("val/"):  # the summary holds the best beside the last
                best = "min" if less_is_better(name) else "max"
                self.experiment.define_metric(name, step_metric=STEP, step_sync=True, summary=f"{best},last")
        self._defined |= {STEP, *metrics}
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


def log_end(
    loggers: Iterable[Logger], summary: Mapping[str, Any], best: Mapping[str, float], folder: Path, step: int
) -> None:
    """Logs what a stage came to, as numbers by which runs can be sorted, and ends the runs of W&B.

    `summary.json` holds all of it: a dashboard that cannot be reached is warned of.

    Args:
        loggers: Of the training.
        summary: What `summary.json` holds.
        best: The best value of each validation metric, see `ctsr.training.callbacks.curves.best_values`.
        folder: The run folder, for its `paired.png`.
        step: The last batch.
    """
    figures = {f"final/{row['protocol']}/{row['method']}/{row['metric']}": row["value"] for row in summary["rows"]}
    figures |= {f"best/{metric}": value for metric, value in best.items()}
    try:
        for logger in loggers:
            if isinstance(logger, WandbLogger):
                tables = {f"final/{name}": as_numbers(summary.get(name, ())) for name in ("rows", "per_case")}
                logger.log_metrics(figures, step)
                logger.log_metrics({name: table.for_wandb() for name, table in tables.items() if table.lines}, step)
            elif isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(logger.hparams, figures, step)
        if summary.get("per_case") and (picture := folder / "paired.png").is_file():
            log_picture(loggers, picture.stem, picture, step)
        finish(loggers)
    except Exception as error:  # a library's, of any kind: of its account, its server or its files
        warn(f"logger: the final figures may be missing there, summary.json holds them: {error}")


def as_numbers(rows: Iterable[Mapping[str, Any]]) -> Numbers:
    """Rows of `summary.json` as a table."""
    rows = list(rows)
    head = list(dict.fromkeys(key for row in rows for key in row))
    return Numbers(head, [[row.get(key) for key in head] for row in rows])


def less_is_better(name: str) -> bool:
    """Whether a validation's figure, such as val/swd, is the better the less it is."""
    return validation_name(name, "")[0] in LESS_IS_BETTER


def finish(loggers: Iterable[Logger]) -> None:
    """Ends W&B runs, so that the next run of the same process is one of its own, and closes TensorBoard's files."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.close()
