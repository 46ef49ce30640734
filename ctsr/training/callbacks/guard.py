"""Notices a training that has gone wrong, when it does and not in the morning."""

from __future__ import annotations

import math
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch import Callback

from ctsr.errors import Collapsed, warn
from ctsr.records.trainer import Action

SATURATED = 1e-4  # a discriminator's loss that leaves its generator nothing to learn from
NARROW = 0.02  # of the spread of greys that a generator should make
DRIFTED = 0.5  # mean difference of greys in [-1, 1] between G1(f(X)) and Y


class Guard(Callback):
    """Looks for losses that are no numbers, saturated discriminators, constant outputs and greys that run away.

    The module must have the attributes `losses` and `ratio_of_std` of `lightning_modules.gan.GAN`.

    Args:
        every: Batches between two looks; before each checkpoint, losses are looked at too.
        patience: Looks in a row that must agree on a saturated discriminator or a constant output; and validations in a
            row on greys that are far off, until they have been near once: a ResNet's start anywhere.
        action: "warn" says it once for each reason; the others raise `Collapsed`.
    """

    def __init__(self, every: int, patience: int, action: Action) -> None:
        self.every, self.patience, self.action = every, patience, action
        self._far = patience  # validations left in which greys may be far off
        self._seen: dict[str, int] = {}
        self._said: set[str] = set()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Looks, every so many batches: reading a loss makes the device wait."""
        if _batch(trainer) % self.every:  # counted over epochs, which may be shorter
            return
        losses, ratios = _read(pl_module, "losses"), _read(pl_module, "ratio_of_std")
        saturated = {name for name, loss in losses.items() if name.startswith("D") and loss < SATURATED}
        narrow = {name for name, share in ratios.items() if share < NARROW}
        lasting = self._lasting(
            {f"{name} is saturated (loss below {SATURATED:g})" for name in saturated}
            | {f"{name} makes images of one grey" for name in narrow}
        )
        self._tell(trainer, _not_numbers(losses) | lasting)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the greys, where they are compared."""
        greys = trainer.callback_metrics.get("val/greys")
        if greys is None:
            return
        self._far = self._far - 1 if float(greys) > DRIFTED else 1
        if self._far < 1:
            self._tell(trainer, {f"the greys of G1 are {float(greys):.2f} away from those of clinical images"})

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Nothing that is no number is saved over what was."""
        self._tell(trainer, _not_numbers(_read(pl_module, "losses")))

    def _lasting(self, reasons: set[str]) -> set[str]:
        self._seen = {reason: self._seen.get(reason, 0) + 1 for reason in reasons}
        return {reason for reason, times in self._seen.items() if times >= self.patience}

    def _tell(self, trainer: Trainer, reasons: set[str]) -> None:
        if trainer.world_size > 1:  # all stop, or none
            anywhere = trainer.strategy.reduce_boolean_decision(bool(reasons), all=False)
            if anywhere and not reasons:
                reasons = {"another process has seen a collapse"}
        for reason in sorted(reasons - self._said):
            message = f"batch {_batch(trainer)}: {reason}"
            if self.action != "warn":
                raise Collapsed(message)
            self._said.add(reason)
            if trainer.is_global_zero:
                warn(message)


def _batch(trainer: Trainer) -> int:
    """The batch under way, counted from 1 since the run began."""
    return int(trainer.fit_loop.epoch_loop.batch_progress.total.ready)


def _read(module: LightningModule, values: str) -> dict[str, float]:
    return {name: float(value) for name, value in getattr(module, values).items()}


def _not_numbers(losses: dict[str, float]) -> set[str]:
    return {f"the loss {name} is {loss}" for name, loss in losses.items() if not math.isfinite(loss)}
