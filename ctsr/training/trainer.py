"""Lightning's Trainer of a stage, with our callbacks and loggers."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from rich.console import Console

from ctsr.checkpoint import Checkpoint
from ctsr.errors import UserError
from ctsr.records.run import Run
from ctsr.records.stages import Stage
from ctsr.records.trainer import TrainerSettings, counted
from ctsr.training.callbacks.bar import Bar
from ctsr.training.callbacks.checkpoints import Checkpoints
from ctsr.training.callbacks.curves import Curves
from ctsr.training.callbacks.guard import Guard
from ctsr.training.callbacks.lines import Lines
from ctsr.training.callbacks.panels import Panels
from ctsr.training.callbacks.throughput import Throughput
from ctsr.training.loggers import TensorBoardRun, WandbRun
from ctsr.training.metrics_csv import MetricsCSV
from ctsr.training.processes import environment

QUIET = (  # what Lightning says of things that are meant
    ".*isinstance.treespec, LeafSpec.*",
    ".*does not have many workers.*",
    ".*exists and is not empty.*",
    ".*module.s. in eval mode at the start of training.*",  # G1
    ".*dataloader is not resumable.*",  # the DataModule goes on with the next batch
    ".*.srun. command is available.*",  # `ctsr.training.processes` says whether it is meant
    ".*wandb run already in progress.*",  # the same run, after a collapse
    ".*lr_scheduler.step.* before .optimizer.step.*",  # DS during the warm-up
)


def trainer_arguments(asked: TrainerSettings, epochs: int) -> dict[str, Any]:
    """The trainer's keys as Lightning is given them, told to keep quiet about what is meant.

    Raises:
        RuntimeError: Lightning's own, of what a cluster has set.
    """
    for message in QUIET:
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    settings = asked.to_plain() | {"max_epochs": epochs}
    del settings["srun"]
    processes = devices(asked)
    starter = environment(asked, processes)
    settings["plugins"] = [] if starter is None else [starter]
    if settings["strategy"] == "auto" and processes > 1:
        settings["strategy"] = "ddp_find_unused_parameters_true"  # each step uses one side's parameters only
    if settings["precision"] == "auto":
        settings["precision"] = "bf16-mixed" if on_gpu(asked) else "32-true"
    return settings


class ReadAlready(TorchCheckpointIO):
    """Gives Lightning, once, what has been read and checked, in place of reading the file again."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self._checkpoint: Checkpoint | None = checkpoint

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """All that the file holds, on the CPU."""
        assert self._checkpoint is not None
        assert Path(path) == self._checkpoint.path
        content, self._checkpoint = self._checkpoint.release(), None
        return content


def build_trainer(run: Run, stage: Stage, folder: Path, resume: Checkpoint | None = None) -> Trainer:
    """Lightning's Trainer with our callbacks and loggers, which goes on from a checkpoint where one is given."""
    settings = trainer_arguments(run.trainer, run.epochs_of(stage))
    settings["enable_progress_bar"] &= Console().is_interactive  # anywhere else a bar shows nothing
    settings["plugins"] += [] if resume is None else [ReadAlready(resume)]
    best = stage.best
    callbacks: list[Any] = [
        Guard(run.trainer.log_every_n_steps, run.guard.patience, run.guard.action),
        Checkpoints(folder / "checkpoints", run.checkpoint.every_n_batches, best.monitor, best.mode, best.best),
        Panels(folder / "panels", run.panels.count, run.panels.every),
        Curves(folder, run.panels.every, run.name),
        Throughput(),
        Bar() if settings["enable_progress_bar"] else Lines(run.name),
    ]
    return Trainer(
        **settings,
        logger=[
            MetricsCSV(folder, None if resume is None else resume.card.batches),
            *dashboard(run, stage, folder, resume),
        ],
        callbacks=callbacks,
        default_root_dir=folder,
        use_distributed_sampler=False,  # patches are divided over devices by our own sampler
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )


def dashboard(run: Run, stage: Stage, folder: Path, resume: Checkpoint | None) -> list[Logger]:
    """The logger beside `metrics.csv`, where one is asked for.

    In W&B the stages of one run stand in one group, and their names and job types tell the stage.

    Raises:
        UserError: It cannot be made.
    """
    asked = run.logger
    if asked.target is None:
        return []
    arguments = {key: value for key, value in asked.to_plain().items() if key != "_target_"}
    try:
        kind = resolve_name(asked.target)
        if issubclass(kind, WandbRun):
            arguments = {"job_type": stage.name} | arguments
            if len(run.stages) > 1:
                whole = folder if stage.name == run.stages[-1].name else folder.parent
                arguments |= {"name": f"{asked.name or 'run'}-{stage.name}", "together": whole.resolve().name}
        elif issubclass(kind, TensorBoardRun) and resume is not None:
            arguments |= {"purge_step": resume.card.batches}  # later ones will be logged again
        return [kind(save_dir=str(folder), **arguments)]
    except Exception as error:  # a library's, of any kind: of its account, its settings or its files
        raise UserError(f"logger: {asked.target} cannot be made: {error}") from error


def on_gpu(asked: TrainerSettings) -> bool:
    """Whether the run uses CUDA devices."""
    if asked.accelerator != "auto":
        return asked.accelerator in ("gpu", "cuda")

    return torch.cuda.is_available()


def devices(asked: TrainerSettings) -> int:
    """Processes of the run, over all nodes."""
    count = counted(asked.devices)
    if count is None:
        count = torch.cuda.device_count() if on_gpu(asked) else 1
    return max(count, 1) * asked.num_nodes
