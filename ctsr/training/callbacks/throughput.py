"""How fast training goes."""

from __future__ import annotations

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Logs `patches_per_s` over all devices, averaged since it was last logged; validation does not count."""

    def __init__(self) -> None:
        self.patches, self.seconds, self.started = 0, 0.0, 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock anew, so that validation and checkpoints between epochs are left out."""
        self.started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts a batch; logs when the other scalars are logged."""
        now = time.perf_counter()
        self.seconds += now - self.started
        self.started = now
        self.patches += len(next(iter(batch.values()))) * trainer.world_size
        if (trainer.fit_loop.epoch_loop.total_batch_idx + 1) % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            pl_module.log("patches_per_s", self.patches / self.seconds, prog_bar=True)
            self.patches, self.seconds = 0, 0.0
