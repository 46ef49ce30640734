"""Pictures of the same few patches after each epoch: the quickest way to see a training go wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from lightning import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from torch import Tensor

from ctsr.files import replacing
from ctsr.training.loggers import log_picture

DIFFERENCE = 0.5
"""Differences of this size, in greys of [-1, 1], have the full colour."""


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a panel.

    Attributes:
        title: What the images are.
        images: (N, 1, H, W): in [-1, 1], or a difference of such images.
        difference: Draw with red for more and blue for less than nothing.
    """

    title: str
    images: Tensor
    difference: bool = False


class Panels(Callback):
    """Writes `panels/<name>_epoch_0001.png` of fixed validation patches, from as many cases as there are.

    The data module's `probes(count)` gives a batch, the same whenever it is asked, and what to write beside each patch;
    the module's `panels(batch)` gives panel name -> columns; a row is a patch.

    Args:
        folder: Where the pictures go.
        count: Rows.
        every: Epochs between two pictures; the last epoch always gets one.
    """

    def __init__(self, folder: Path, count: int, every: int) -> None:
        self.folder, self.count, self.every = folder, count, every

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws on the first process, with the networks as validation has them."""
        epoch = trainer.current_epoch + 1
        due = epoch % self.every == 0 or epoch == trainer.max_epochs
        if not due or trainer.sanity_checking or not trainer.is_global_zero:
            return
        patches, rows = trainer.datamodule.probes(self.count)  # type: ignore[attr-defined]
        batch: Any = {name: images.to(pl_module.device) for name, images in patches.items()}
        with trainer.precision_plugin.val_step_context():
            panels: Mapping[str, Sequence[Column]] = pl_module.panels(batch)  # type: ignore[operator]
        for name, columns in panels.items():
            path = self.folder / f"{name}_epoch_{epoch:04d}.png"
            draw_panel(columns, rows, path)
            log_picture(trainer.loggers, f"panels/{name}", path, trainer.fit_loop.epoch_loop.total_batch_idx)


def draw_panel(columns: Sequence[Column], rows: Sequence[str], path: Path) -> None:
    """Draws columns of images side by side, each row with its name, and writes a PNG."""
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(2.2 * len(columns) + 0.3, 2.2 * len(rows) + 0.3), layout="constrained")
        axes = figure.subplots(len(rows), len(columns), squeeze=False)
        for column, drawn in enumerate(columns):
            axes[0, column].set_title(drawn.title)
            limit, colours = (DIFFERENCE, "RdBu_r") if drawn.difference else (1.0, "gray")
            for row, image in enumerate(drawn.images.detach().float().cpu()):
                axis = axes[row, column]
                shown = axis.imshow(image[0].numpy(), cmap=colours, vmin=-limit, vmax=limit, interpolation="nearest")
                axis.set_xticks([])
                axis.set_yticks([])
            if drawn.difference:
                figure.colorbar(shown, ax=list(axes[:, column]), location="bottom", shrink=0.8, aspect=30)
        for axis, name in zip(axes[:, 0], rows, strict=True):
            axis.set_ylabel(name, fontsize=7)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            figure.savefig(partial, dpi=110)
