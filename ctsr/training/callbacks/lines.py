"""What a run says into a log, where no bar can move."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from time import monotonic
from typing import Any

from lightning import Callback, LightningModule, Trainer

from ctsr.records.row import validation_name

EVERY = 180.0  # seconds between two lines of a long epoch


class Lines(Callback):
    """Prints a line at each epoch's end, and every few minutes of a long one: how far, how long still, how well.

    Args:
        method: Name of the method that is trained: of a validation, its own figures are told.
    """

    def __init__(self, method: str) -> None:
        self.method = method
        self._started = self._said = 0.0
        self._done_before = 0
        self._validated = False  # in this epoch: figures stay known until the next validation

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock; what a resumed run has done before says nothing of how long batches take here."""
        self._started = self._said = monotonic()
        self._done_before = _batches(trainer)
        self._validated = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Prints where nothing has been said for long; after the last batch the epoch's own line follows."""
        if monotonic() - self._said >= EVERY and not trainer.is_last_batch:
            self._say(trainer, batch_idx + 1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes that there are new figures."""
        self._validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints, unless this is the end of an epoch that a resumed run had done before."""
        if _batches(trainer) > self._done_before:
            self._say(trainer)
        self._validated = False

    def _say(self, trainer: Trainer, batch: int | None = None) -> None:
        """Prints a line, within an epoch or, without a batch, at its end."""
        self._said = monotonic()
        if not trainer.is_global_zero:
            return
        place = [_of("epoch", trainer.current_epoch + 1, _epochs(trainer))]
        if batch is not None:
            place.append(_of("batch", batch, trainer.num_training_batches))
        seconds = self._seconds_left(trainer, trainer.num_training_batches if batch is None else batch)
        if 0 < seconds < math.inf:
            place.append(f"{timedelta(seconds=round(seconds))} left")
        known = {name: float(value) for name, value in trainer.callback_metrics.items()}
        told = [_listed(_begun_with("train/", known)), _rates(_begun_with("lr_", known))]
        if batch is None and self._validated:
            told.insert(1, _listed(self._figures(known), "validation "))
        said = "; ".join(filter(None, told))
        print(", ".join(place) + (f": {said}" if said else ""), flush=True)

    def _seconds_left(self, trainer: Trainer, batch: float) -> float:
        """By the batches of this process so far, with all that came between them; infinite where nobody can tell."""
        if trainer.max_steps != -1:  # steps of optimizers, of which a batch may take several
            return math.inf
        batches = (_epochs(trainer) - trainer.current_epoch) * trainer.num_training_batches - batch
        return batches * (monotonic() - self._started) / (_batches(trainer) - self._done_before)

    def _figures(self, known: Mapping[str, float]) -> dict[str, float]:
        """The last validation's, of the method that is trained."""
        named = {validation_name(name, self.method): value for name, value in known.items() if name.startswith("val/")}
        return {metric: value for (metric, method), value in named.items() if method == self.method}


def _batches(trainer: Trainer) -> int:
    """Batches done since the run began, with the one that is about to end."""
    return int(trainer.fit_loop.epoch_loop.batch_progress.total.ready)


def _epochs(trainer: Trainer) -> float:
    """Epochs that the run has; infinite where none are set."""
    return math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs


def _of(what: str, number: int, count: float) -> str:
    return f"{what} {number} of {count}" if count < math.inf else f"{what} {number}"


def _begun_with(prefix: str, known: Mapping[str, float]) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in known.items() if name.startswith(prefix)}


def _listed(values: Mapping[str, float], head: str = "") -> str:
    return head + ", ".join(f"{name} {value:.3g}" for name, value in values.items()) if values else ""


def _rates(rates: Mapping[str, float]) -> str:
    """Each side's, or one for both."""
    if len(set(rates.values())) == 1:
        return f"learning rate {next(iter(rates.values())):.3g}"
    return _listed(rates, "learning rate ")
