"""Notices a training that has gone wrong, when it does and not in the morning."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch import Callback

from ctsr.errors import Collapsed, warn
from ctsr.records.trainer import Action

WON = 0.05  # of the loss that guessing gives: in the study means of DS fell below .01, of D1 and D2 never below .09
NARROW = 0.02  # of the spread of greys that a generator should make
DRIFTED = 0.5  # mean difference of greys in [-1, 1] between G1(f(X)) and Y
MOVED = 0.5  # SSIM(f(x), G1(f(x))): G1s of the study that moved structure ended at .07 to .17, others at .74 to .93
WOVEN = 3.0  # grid_peak of GS's images, above which a grid is seen
EARLY = 200  # batches in which no figure need be near yet, however short the training is


class Guard(Callback):
    """Looks for what ends a training, and for what should be known of one that goes on.

    The former are losses that are no numbers, images of one grey, greys that run away and structure that G1 moves; the
    latter, discriminators that have won and a grid in GS's images, are told once and noted in the card, whatever the
    action. The module must be a `lightning_modules.gan.GAN`.

    Args:
        every: Batches between two looks; before each checkpoint, losses are looked at too.
        patience: Looks in a row that must agree on a constant output, and over which a discriminator's loss is
            averaged; and validations in a row on a figure that is far off, until it has been near once: a ResNet's
            start anywhere. The last validation of a training counts at once.
        action: "warn" says it once for each reason; the others raise `Collapsed`.
    """

    def __init__(self, every: int, patience: int, action: Action) -> None:
        self.every, self.patience, self.action = every, patience, action
        self._far: dict[str, int] = {}  # validations left in which a figure may be far off
        self._seen: dict[str, int] = {}
        self._recent: dict[str, deque[float]] = {}
        self._said: set[str] = set()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Looks, every so many batches: reading a loss makes the device wait."""
        if _batch(trainer) % self.every:  # counted over epochs, which may be shorter
            return
        losses, ratios = _read(pl_module, "losses"), _read(pl_module, "ratio_of_std")
        narrow = {f"{name} makes images of one grey" for name, share in ratios.items() if share < NARROW}
        self._tell(trainer, _not_numbers(losses) | _alone(self._lasting(narrow)))
        self._look_for_winners(trainer, pl_module, losses)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the figures that tell of G1's greys and structure, and of a grid in GS's images."""
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        greys, structure = figures.get("val/greys", 0.0), figures.get("val/ssim_G1", 1.0)
        grid, interpolated = figures.get("val/grid_peak", 0.0), figures.get("val/bicubic_grid_peak", 0.0)
        wrong = {}
        if self._stays(trainer, "greys", greys > DRIFTED):
            wrong["greys"] = f"the greys of G1 are {greys:.2f} away from those of clinical images"
        if self._stays(trainer, "structure", bool(pl_module.can_move_structure) and structure < MOVED):
            wrong["structure"] = (
                f"G1 has moved structure, val/ssim_G1 is {structure:.2f}: GS would learn to paint what is not there; "
                "try another seed=, a larger loss.lambda1= or method=scanner"
            )
        self._tell(trainer, wrong)
        if self._stays(trainer, "grid", grid > max(WOVEN, interpolated)):
            said = (
                f"a grid is in GS's images, val/grid_peak is {grid:.0f}, clean is below {WOVEN:.0f}: "
                "try networks.GS.blur=true or method=scanner"
            )
            self._note(trainer, pl_module, "grid", said)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Nothing that is no number is saved over what was."""
        self._tell(trainer, _not_numbers(_read(pl_module, "losses")))

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run has said, and how patient it still is with its figures."""
        return {"said": sorted(self._said), "far": dict(self._far)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes it back."""
        self._said, self._far = set(state_dict["said"]), dict(state_dict["far"])

    def _look_for_winners(self, trainer: Trainer, module: Any, losses: Mapping[str, float]) -> None:
        """Of single batches the losses jump: their mean tells."""
        for name in sorted({term.partition("_")[0] for term in losses if term.startswith("D")}):
            loss = fmean(value for term, value in losses.items() if term.partition("_")[0] == name)
            recent = self._recent.setdefault(name, deque(maxlen=self.patience))
            recent.append(loss)
            if len(recent) == self.patience and fmean(recent) < WON * module.guessed:
                said = (
                    f"{name} has won, its loss is {fmean(recent):.2g} where guessing gives {module.guessed:.2g}, and "
                    f"teaches little: try networks.{name}.spectral=true or a lower {module.card.stage}.optimizer.lr="
                )
                self._note(trainer, module, name, said)

    def _lasting(self, reasons: set[str]) -> set[str]:
        self._seen = {reason: self._seen.get(reason, 0) + 1 for reason in reasons}
        return {reason for reason, times in self._seen.items() if times >= self.patience}

    def _stays(self, trainer: Trainer, figure: str, far: bool) -> bool:
        """Whether a figure has been far off for too long, or again, or is at the end."""
        self._far[figure] = self._far.get(figure, self.patience) - 1 if far else 1
        return self._far[figure] < 1 or (far and _batch(trainer) >= EARLY and _is_last_validation(trainer))

    def _tell(self, trainer: Trainer, reasons: Mapping[str, str]) -> None:
        """Says why the training is wrong, or ends it; a reason's key stays as it is where its words hold a figure."""
        if trainer.world_size > 1:  # all stop, or none
            anywhere = trainer.strategy.reduce_boolean_decision(bool(reasons), all=False)
            if anywhere and not reasons:
                reasons = _alone(["another process has seen a collapse"])
        for key in sorted(reasons.keys() - self._said):
            message = f"batch {_batch(trainer)}: {reasons[key]}"
            if self.action != "warn":
                raise Collapsed(message)
            self._said.add(key)
            if trainer.is_global_zero:
                warn(message)

    def _note(self, trainer: Trainer, module: Any, key: str, said: str) -> None:
        """Says once what should be known; the first process, which writes the card, looks for all."""
        if trainer.is_global_zero and key not in self._said:
            self._said.add(key)
            message = f"batch {_batch(trainer)}: {said}"
            warn(message)
            module.note(message)


def _batch(trainer: Trainer) -> int:
    """The batch under way, counted from 1 since the run began."""
    return int(trainer.fit_loop.epoch_loop.batch_progress.total.ready)


def _is_last_validation(trainer: Trainer) -> bool:
    """Whether no other will follow in this training."""
    every, interval, epochs = trainer.check_val_every_n_epoch, trainer.val_check_batch, trainer.max_epochs
    assert every is not None
    assert interval is not None
    assert epochs is not None
    batches = trainer.num_training_batches - trainer.fit_loop.epoch_loop.batch_progress.current.ready
    return epochs - trainer.current_epoch - 1 < every and batches < interval


def _read(module: LightningModule, values: str) -> dict[str, float]:
    return {name: float(value) for name, value in getattr(module, values).items()}


def _not_numbers(losses: Mapping[str, float]) -> dict[str, str]:
    return _alone(f"the loss {name} is {loss}" for name, loss in losses.items() if not math.isfinite(loss))


def _alone(reasons: Iterable[str]) -> dict[str, str]:
    """Reasons whose words never change, under themselves."""
    return {reason: reason for reason in reasons}
