"""The bar of a run in a terminal."""

from __future__ import annotations

from lightning.pytorch.callbacks import RichProgressBar


class Bar(RichProgressBar):
    """Lightning's bar, which counts epochs from 1, as pictures, kept checkpoints and `metrics.csv` do."""

    def _get_train_description(self, current_epoch: int) -> str:
        epochs = self.trainer.max_epochs
        described = f"Epoch {current_epoch + 1}" if epochs in (None, -1) else f"Epoch {current_epoch + 1}/{epochs}"
        return described.ljust(len(self.validation_description))  # as wide as that, or the bar would jump
