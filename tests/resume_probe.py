"""Trains a stage, is killed after given batches and resumed each time: `resume_probe.py FOLDER STAGE BATCHES...`.

Without batches it runs through. Each life is a process of its own, forked from one that has imported everything.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from lightning import Callback, LightningModule, Trainer

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

import train  # noqa: E402
from ctsr.data.plan import Plan  # noqa: E402
from ctsr.training import trainer  # noqa: E402


class Killer(Callback):
    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.fit_loop.epoch_loop.batch_progress.total.ready == self.batch:
            os.kill(os.getpid(), signal.SIGKILL)


def live(folder: Path, stage: str, killed_at: int | None) -> None:
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        cfg = compose(
            "train",
            [
                *(f"stage={stage}", "experiment=smoke", "method=scanner", "resume=auto", "evaluate=false", "seed=3"),
                *("trainer.max_epochs=3", "trainer.enable_progress_bar=false", "checkpoint.every_n_batches=2"),
                *("data.patches_per_case=24", "data.workers=1", "panels.every=3"),
                *((f"synth_ckpt={folder.parent / 'synth/checkpoints/last.ckpt'}",) if stage == "sr" else ()),
            ],
        )
    build = trainer.build_trainer

    def with_killer(*arguments: Any) -> Trainer:
        made = build(*arguments)
        if killed_at is not None:
            made.callbacks.append(Killer(killed_at))
        return made

    trainer.build_trainer = with_killer
    run = train.typed(cfg)
    train.fit(run, Plan.of(run), run.stages[0], folder)


def main(folder: Path, stage: str, batches: list[int]) -> None:
    for killed_at in (*batches, None):
        child = os.fork()
        if child == 0:
            live(folder, stage, killed_at)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        assert ended == (0 if killed_at is None else signal.SIGKILL), (killed_at, ended)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], [int(batch) for batch in sys.argv[3:]])
