"""Losses and validation figures of a run in one picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from lightning import Callback, LightningModule, Trainer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ctsr.files import replacing
from ctsr.records.row import COMPARED, validation_name
from ctsr.training.loggers import less_is_better, log_picture

COLUMNS = 4
SMOOTHING = 0.05  # share of a curve that a point of the drawn mean spans

Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]  # batches, values


class Curves(Callback):
    """Keeps `curves.png` in the run folder up to date with its `metrics.csv`.

    Args:
        folder: The run folder.
        every: Epochs between two drawings; the end of a run, also an early one, always gets one.
        method: Name of the method that is trained.
    """

    def __init__(self, folder: Path, every: int, method: str) -> None:
        self.folder, self.every, self.method = folder, every, method

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws."""
        if (trainer.current_epoch + 1) % self.every == 0:
            self._draw(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws all of it, and shows it to the loggers."""
        if self._draw(trainer):
            log_picture(
                trainer.loggers, "curves", self.folder / "curves.png", trainer.fit_loop.epoch_loop.total_batch_idx
            )

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draws what there is of a run that was stopped."""
        self._draw(trainer)

    def _draw(self, trainer: Trainer) -> bool:
        if not trainer.is_global_zero:
            return False
        for logger in trainer.loggers:
            logger.save()
        return draw_curves(self.folder / "metrics.csv", self.folder / "curves.png", self.method)


def draw_curves(metrics: Path, path: Path, method: str) -> bool:
    """Draws every scalar of a `metrics.csv` over batches, validation figures of several methods on one axis.

    Returns:
        Whether there was anything to draw.
    """
    charts = read_charts(metrics, method) if metrics.exists() else {}
    if not charts:
        return False
    rows = -(-len(charts) // COLUMNS)
    figure = Figure(figsize=(4.2 * COLUMNS, 2.7 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axis, (title, curves) in zip(axes, charts.items(), strict=False):
        _draw_chart(axis, title, curves)
    for axis in axes[len(charts) :]:
        axis.set_axis_off()
    figure.supxlabel("batches", fontsize=9)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=90)
    return True


def read_charts(metrics: Path, method: str) -> dict[str, dict[str, Curve]]:
    """The curves of a `metrics.csv`: chart -> label -> (batches, values); training first, then validation."""
    with metrics.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    names = [name for name in (rows[0] if rows else {}) if name not in ("step", "epoch")]
    charts: dict[str, dict[str, Curve]] = {}
    for name in sorted(names, key=lambda name: (not name.startswith("train/"), not name.startswith("val/"), name)):
        points = [(float(row["step"]), float(row[name])) for row in rows if row[name]]
        if not points:
            continue
        steps, values = np.array(points).T
        title, label = _place(name, method)
        charts.setdefault(title, {})[label] = (steps, values)
    return charts


def best_values(metrics: Path, method: str) -> dict[str, float]:
    """The best value that each validation metric of the trained method had, over all epochs of a `metrics.csv`."""
    charts = read_charts(metrics, method) if metrics.exists() else {}
    values = {title: curves[method][1] for title, curves in charts.items() if title.startswith("val/")}
    return {
        title.removeprefix("val/"): float((np.nanmin if less_is_better(title) else np.nanmax)(of))
        for title, of in values.items()
        if np.isfinite(of).any()
    }


def _place(name: str, trained: str) -> tuple[str, str]:
    """The chart that a scalar is drawn in, and what its curve is called there."""
    if name.startswith("val/"):
        metric, method = validation_name(name, trained)
        return f"val/{metric}", method
    return ("learning rate" if name.startswith("lr_") else name), name


def _draw_chart(axis: Axes, title: str, curves: Mapping[str, Curve]) -> None:
    axis.set_title(title, fontsize=9)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.3)
    several = len(curves) > 1
    for label, (steps, values) in curves.items():
        if title.startswith("train/") and len(values) > 20:
            width = max(3, round(SMOOTHING * len(values)))
            axis.plot(steps, values, linewidth=0.6, alpha=0.35, color="C0")
            steps, values = (np.convolve(array, np.ones(width) / width, mode="valid") for array in (steps, values))
        style = "--" if label in COMPARED else "-"
        axis.plot(
            *(steps, values, style),
            color=f"C{COMPARED.index(label) + 1}" if label in COMPARED else None,
            marker="." if len(values) < 30 else "",
            label=label if several else None,
        )
    if several:
        axis.legend(fontsize=7, loc="upper right")  # "best" is slow to find, and warns of it
