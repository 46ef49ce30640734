"""`metrics.csv`: every scalar of a run, once, also over interruptions."""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from ctsr.files import replacing
from ctsr.training.loggers import from_one

NAME = "metrics.csv"
EVERY = 100  # rows between two writings; each checkpoint writes too


class MetricsCSV(Logger):
    """Writes scalars as a table: a row for each time that some are logged, a column for each name.

    Lightning's own logger deletes the table of the run that is resumed. Epochs are counted from 1; a table that an
    older version began counts from 0, and is brought to this count when its run is resumed.

    Args:
        folder: Where `metrics.csv` is.
        resumed_at: Batches done by the checkpoint that the run goes on from: later rows of an interrupted run are
            dropped, since they will be logged again; None: a new run, whose table starts empty.
    """

    def __init__(self, folder: Path, resumed_at: int | None = None) -> None:
        super().__init__()
        self.path = folder / NAME
        self._rows: list[Mapping[str, Any]] = []
        self._written = 0
        if resumed_at is not None and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            behind = 1 if rows and rows[0]["epoch"] == "0" else 0
            self._rows = [row | {"epoch": int(row["epoch"]) + behind} for row in rows if int(row["step"]) < resumed_at]

    @property
    def name(self) -> str:
        """Of the logger."""
        return "csv"

    @property
    def version(self) -> str:
        """There is one."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self.path.parent)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The run folder has them as config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds a row."""
        row: dict[str, Any] = {name: float(value) for name, value in from_one(metrics).items()}
        self._rows.append(row | {"epoch": int(row["epoch"]), "step": step})
        if len(self._rows) - self._written >= EVERY:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Writes the table; it is whole at any time."""
        if len(self._rows) == self._written:
            return
        names = sorted({name for row in self._rows for name in row} - {"epoch", "step"})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["epoch", "step", *names])
            writer.writeheader()
            writer.writerows(self._rows)
        self._written = len(self._rows)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes what is left."""
        self.save()
