"""Which checkpoint a run goes on from, and whether it may."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ctsr.errors import UserError
from ctsr.inference.checkpoint import read_resumable
from ctsr.methods import check_resumed
from ctsr.records.clashes import AUTO
from ctsr.records.run import Run
from ctsr.records.stages import Best, Stage
from ctsr.training.callbacks.checkpoints import ranked


def checkpoint_to_resume(run: Run, folder: Path) -> Path | None:
    """The checkpoint that the run goes on from."""
    if run.resume != AUTO:
        return Path(run.resume) if run.resume else None
    last = folder / "checkpoints" / "last.ckpt"
    return last if last.is_file() else None


def check_resume(run: Run, stage: Stage, path: Path) -> None:
    """Whether a checkpoint is of the training that is to go on.

    Raises:
        UserError: It is of another stage or method, or of other networks; or no training can go on from it.
    """
    card = read_resumable(path)
    if card["stage"] != stage.name:
        raise UserError(
            f"resume: {path} is of stage={card['stage']}, this is stage={stage.name}: give one of this stage"
        )
    check_resumed(run.method, card["name"], str(path))
    own = stage.networks.to_plain()
    for network, arguments in card["networks"].items():
        for key, value in own.get(network, {}).items():  # G1 of stage sr is synth_ckpt's
            if key in arguments and arguments[key] != value:
                raise UserError(
                    f"networks.{network}.{key}={value}, but {path}, which goes on, has {arguments[key]}: give that"
                )


def good_checkpoint(folder: Path, best: Best) -> Path | None:
    """The best of the kept epochs, or else the last checkpoint; None if there is none."""
    checkpoints = folder / "checkpoints"
    kept = [*ranked(checkpoints, best.monitor, best.mode), checkpoints / "last.ckpt"]
    return next((path for path in kept if path.is_file()), None)


def finished(folder: Path) -> dict[str, Any] | None:
    """What a stage that was trained to its end left."""
    summary = folder / "summary.json"
    return json.loads(summary.read_text()) if summary.is_file() else None
