"""Going on: from which checkpoint, whether it may be, and again after a collapse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from lightning import Trainer

from ctsr.checkpoint import Checkpoint
from ctsr.errors import Collapsed, UserError, warn
from ctsr.methods import check_resumed
from ctsr.records.clashes import AUTO
from ctsr.records.run import Run
from ctsr.records.stages import Best, Stage
from ctsr.records.trainer import GuardSettings
from ctsr.training.callbacks.checkpoints import ranked
from ctsr.training.given import look_at, take
from ctsr.training.summary import finished


def checkpoint_to_resume(run: Run, stage: Stage, folder: Path) -> Checkpoint | None:
    """The checkpoint that a stage goes on from; None: it starts afresh.

    Raises:
        UserError: See `check_resume`.
    """
    if (path := path_to_resume(run, folder)) is None:
        return None
    check_resume(run, stage, path)
    return take(path)


def path_to_resume(run: Run, folder: Path) -> Path | None:
    """Where a stage that is trained into a folder goes on from; None: it starts afresh."""
    if run.resume != AUTO:
        return None if run.resume is None else Path(run.resume)
    path = folder / "checkpoints" / "last.ckpt"
    return path if path.is_file() else None


def check_resume(run: Run, stage: Stage, path: Path) -> None:
    """Make sure that a checkpoint is of the training that is to go on.

    Raises:
        UserError: It is of another stage or method, or of other networks; or no training can go on from it, or need to.
    """
    checkpoint = look_at(path)
    card = checkpoint.card
    if not checkpoint.resumable:
        raise UserError(f"resume: {path} holds networks alone, to use: give a run's checkpoints/last.ckpt")
    if card.stage != stage.name:
        raise UserError(f"resume: {path} is of stage={card.stage}, this is stage={stage.name}: give one of this stage")
    check_resumed(run.name, card.name, str(path))
    asked, trained = run.epochs_of(stage), checkpoint.epochs
    if finished(_run_of(path)) is None and (trained > asked or (trained == asked and run.resume != AUTO)):
        raise UserError(
            f"resume: {path} has {trained} epochs, {asked} are asked for: nothing is left to train, "
            "give more by trainer.max_epochs="
        )
    own = stage.networks.to_plain()
    for network, arguments in card.networks.items():
        for key, value in own.get(network, {}).items():  # G1 of stage sr is synth_ckpt's
            if key in arguments and arguments[key] != value:
                raise UserError(
                    f"networks.{network}.{key}={value}, but {path}, which goes on, has {arguments[key]}: give that"
                )


class Rated(Protocol):
    """A module whose learning rate can be lowered, see `lightning_modules.gan.GAN`."""

    lr_factor: float


class Attempts:
    """The attempts at a training: one, and after each collapse another, if `guard.action` is rewind.

    It goes on from the best checkpoint with half the learning rate.

    Args:
        guard: What is done after a collapse, and how often.
        best: Which checkpoint is best.
        folder: The run folder.
        resume: The checkpoint that the first attempt goes on from.

    Attributes:
        resume: That of the attempt at hand.
        lr_factor: The factor of its learning rate.
    """

    def __init__(self, guard: GuardSettings, best: Best, folder: Path, resume: Checkpoint | None) -> None:
        self.resume, self.lr_factor = resume, 1.0
        self._best, self._folder = best, folder
        self._left = guard.rewinds if guard.action == "rewind" else 0
        self._through = False

    def __iter__(self) -> Iterator[Attempts]:
        while not self._through:
            yield self

    @property
    def path(self) -> Path | None:
        """The file that the attempt at hand goes on from."""
        return None if self.resume is None else self.resume.path

    @contextmanager
    def catching(self, trainer: Trainer, module: Rated) -> Iterator[None]:
        """Train in this block: a collapse in it leads to the next attempt.

        Raises:
            UserError: There is none.
            KeyboardInterrupt: Ctrl-C, of which Lightning makes an exit without a word.
        """
        try:
            yield
            self._through = True
        except Collapsed as collapse:
            good = good_checkpoint(self._folder, self._best)
            if not self._left or good is None:
                raise UserError(f"the training has collapsed, {collapse}") from collapse
            self._left -= 1
            warn(f"the training has collapsed, {collapse}: goes on from {good} with half the learning rate")
            self.resume = take(good)
            self.lr_factor = module.lr_factor / 2  # of what it was, also where an earlier collapse is in the checkpoint
        except SystemExit as exit_:
            if isinstance(exit_.__context__, KeyboardInterrupt):
                raise exit_.__context__ from None
            raise
        finally:
            for logger in trainer.loggers:
                logger.save()


def good_checkpoint(folder: Path, best: Best) -> Path | None:
    """The best of the kept epochs, or else the last checkpoint; None if there is none."""
    checkpoints = folder / "checkpoints"
    kept = [*ranked(checkpoints, best.monitor, best.mode), checkpoints / "last.ckpt"]
    return next((path for path in kept if path.is_file()), None)


def completed(run: Run, stage: Stage, folder: Path) -> Path | None:
    """The folder of the finished run that a stage would go on with; None: there is something left to train."""
    path = path_to_resume(run, folder)
    if path is None or look_at(path).epochs < run.epochs_of(stage) or finished(_run_of(path)) is None:
        return None
    return _run_of(path)


def _run_of(path: Path) -> Path:
    """The folder of the run that a checkpoint is of."""
    return path.parent.parent
