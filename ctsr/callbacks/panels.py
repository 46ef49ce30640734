"""Pictures of the same few patches after each epoch: the quickest way to see a training go wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from matplotlib.figure import Figure
from torch import Tensor


class Panels(Callback):
    """Writes `panels/<name>_epoch_0001.png` from the first validation batch, which never changes.

    The module's `panels(batch)` gives panel name -> column title -> images (N, 1, H, W) in [-1, 1]; a row is a patch.

    Args:
        folder: Where the pictures go.
        count: Rows.
        every: Epochs between two pictures; the last epoch always gets one.
    """

    def __init__(self, folder: Path, count: int, every: int) -> None:
        self.folder, self.count, self.every = folder, count, every

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draws on the first process, once an epoch."""
        epoch = trainer.current_epoch + 1
        due = epoch % self.every == 0 or epoch == trainer.max_epochs
        if batch_idx or not due or trainer.sanity_checking or not trainer.is_global_zero:
            return
        few = {name: images[: self.count] for name, images in batch.items()}
        for name, columns in pl_module.panels(few).items():  # type: ignore[operator]
            path = self.folder / f"{name}_epoch_{epoch:04d}.png"
            draw_panel(columns, path)
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.log_image(f"panels/{name}", [str(path)])


def draw_panel(columns: dict[str, Tensor], path: Path) -> None:
    """Draws images (N, 1, H, W) in [-1, 1] side by side, a column for each title, and writes a PNG."""
    rows = len(next(iter(columns.values())))
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(2.2 * len(columns), 2.2 * rows + 0.3), layout="constrained")
        axes = figure.subplots(rows, len(columns), squeeze=False)
        for column, (title, images) in enumerate(columns.items()):
            axes[0, column].set_title(title)
            for row, image in enumerate(images.detach().float().cpu()):
                axes[row, column].imshow(image[0], cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
                axes[row, column].set_axis_off()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
