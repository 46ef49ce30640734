"""Nothing lost: checkpoints during an epoch and at its end, at a signal, and of the best epochs."""

from __future__ import annotations

import math
import os
import re
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Checkpoint

from ctsr.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)  # a scheduler's "you have to go", its warning, and Ctrl-C
STOPPED = 75  # exit code: everything is saved, start again with resume=auto (EX_TEMPFAIL of sysexits.h)
INTERRUPTED = 128 + signal.SIGINT  # exit code after Ctrl-C, as of any program: nobody starts that again unasked
STDERR = 2
STOPPING = b"stopping: what is under way is finished and saved; press Ctrl-C again to end at once\n"


class Checkpoints(Checkpoint):
    """Saves `last.ckpt`, and the best epochs beside it; every file is whole or not there.

    A checkpoint holds networks, optimizers, schedules, scaler, pools, random state and the place in the epoch, so that
    a resumed run does what the uninterrupted one would have done. At SIGTERM, SIGUSR1 or Ctrl-C the batch under way is
    finished and saved, and `Stopped` is raised in every process; a second Ctrl-C ends the process at once.

    Args:
        folder: Where to.
        every_n_batches: Also during epochs; 0: at their ends only.
        monitor: Validation metric that says which epochs are best; None: keep none.
        mode: Whether less or more of it is better.
        best: How many to keep, as `best-<metric>=<value>-epoch=<n>.ckpt`.
    """

    def __init__(
        self, folder: Path, every_n_batches: int, monitor: str | None, mode: Literal["min", "max"], best: int
    ) -> None:
        self.folder, self.every_n_batches = folder, every_n_batches
        self.monitor, self.mode, self.best = monitor, mode, best
        self._signal: int | None = None
        self._random: Mapping[str, Any] | None = None
        self._handlers: dict[int, Any] = {}
        self._tells = False
        self._resumed_at = -1

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.folder / "last.ckpt"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listens to signals, in place of Lightning's own way, and draws on from where a resumed run stopped."""
        self._handlers = {number: signal.signal(number, self._note) for number in SIGNALS}
        self._tells = trainer.is_global_zero
        self._resumed_at = _batches(trainer)
        if self._random is not None:
            torch.set_rng_state(self._random["cpu"])
            if torch.cuda.is_available() and self._random["cuda"] is not None:
                torch.cuda.set_rng_state(self._random["cuda"])

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Saves between two batches: what the one before reported is in the loggers by now."""
        done = _batches(trainer)
        if self._asked_to_stop(trainer):
            self._stop(trainer)
        if batch_idx and self.every_n_batches and done % self.every_n_batches == 0 and done != self._resumed_at:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves, and keeps the epoch if it is among the best."""
        if _batches(trainer) != self._resumed_at:  # else all this was done before
            self._save(trainer)
            if trainer.is_global_zero:
                self._keep_best(trainer)
        if self._asked_to_stop(trainer):
            self._stop(trainer, save=False)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gives signals back to whoever had them."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the random state; a batch that is about to start is none that was done."""
        cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
        checkpoint["random"] = {"cpu": torch.get_rng_state(), "cuda": cuda}
        for counts in checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"].values():
            if isinstance(counts, dict):
                counts["ready"] = counts["completed"]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Takes the random state, to be set when training starts."""
        self._random = checkpoint.get("random")

    def _note(self, number: int, frame: object) -> None:
        self._signal = number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, self._handlers.get(number) or signal.default_int_handler)
            if self._tells:
                with suppress(OSError):  # it may be closed
                    os.write(STDERR, STOPPING)  # print may be what was interrupted

    def _asked_to_stop(self, trainer: Trainer) -> bool:
        """Whether any process got a signal: all have to save in the same batch."""
        if trainer.world_size == 1:
            return self._signal is not None
        return trainer.strategy.reduce_boolean_decision(self._signal is not None, all=False)

    def _stop(self, trainer: Trainer, save: bool = True) -> None:
        if save:
            self._save(trainer)
        name = signal.Signals(self._signal).name if self._signal is not None else "a signal to another process"
        # Not creates_processes_externally: where Lightning has started the others, it says so of them and of itself.
        launched = isinstance(getattr(trainer.strategy, "cluster_environment", None), LightningEnvironment)
        code = INTERRUPTED if self._signal == signal.SIGINT else STOPPED
        if launched and not trainer.is_global_zero:
            code = 0  # Lightning, which watches it, takes any other for a failure
        raise Stopped(f"stopped by {name} after batch {_batches(trainer)}, saved in {self.last}", code)

    def _save(self, trainer: Trainer) -> None:
        """Every process takes part, one writes; the loggers' files are as far as the checkpoint."""
        for logger in trainer.loggers:
            logger.save()
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.last.with_name(".last.partial")
        try:
            trainer.save_checkpoint(partial)
            if trainer.is_global_zero:
                os.replace(partial, self.last)
        finally:
            if trainer.is_global_zero:
                partial.unlink(missing_ok=True)

    def _keep_best(self, trainer: Trainer) -> None:
        value = trainer.callback_metrics.get(self.monitor or "")
        if value is None or not self.best or not math.isfinite(value):
            return
        metric = (self.monitor or "").removeprefix("val/")
        epoch = self.folder / f"best-{metric}={float(value):.5g}-epoch={trainer.current_epoch + 1}.ckpt"
        epoch.unlink(missing_ok=True)
        try:
            os.link(self.last, epoch)  # no second copy: last.ckpt is replaced, never written to
        except OSError:
            shutil.copyfile(self.last, epoch)
        for worse in ranked(self.folder, self.monitor, self.mode)[self.best :]:
            worse.unlink()


def ranked(folder: Path, monitor: str | None, mode: Literal["min", "max"]) -> list[Path]:
    """The epochs that were kept for a validation metric, best first; of equal ones the earlier.

    Args:
        folder: Of checkpoints.
        monitor: The metric, such as val/swd; None: none were kept.
        mode: Whether less or more of it is better.
    """
    sign, metric = (1.0 if mode == "min" else -1.0), re.escape((monitor or "").removeprefix("val/"))
    found = []
    for path in folder.glob("best-*.ckpt"):
        if match := re.fullmatch(rf"best-{metric}=([^=]+)-epoch=(\d+)\.ckpt", path.name):
            found.append((sign * float(match[1]), int(match[2]), path))
    return [path for *_, path in sorted(found)]


def _batches(trainer: Trainer) -> int:
    return int(trainer.fit_loop.epoch_loop.batch_progress.total.completed)
