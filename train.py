"""Trains a stage: `python train.py stage=synth|sr|all [key=value ...]`; see conf/ and README.md."""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ctsr.cli import quoted, run_cli
from ctsr.errors import Collapsed, Stopped, UserError, warn
from ctsr.methods import check_g1, described
from ctsr.records.clashes import AUTO
from ctsr.records.run import Run, as_yaml, read_run
from ctsr.records.stages import Stage, SynthStage
from ctsr.sweeps.callback import plain
from ctsr.sweeps.jobs import run_job

# Lightning and torch take six seconds to import: each function that works with them does it, so that help and mistakes
# do not wait for them.
if TYPE_CHECKING:
    from lightning import Trainer

    from datamodules import ScansDataModule
    from lightning_modules.gan import GAN

ROOTS = ("data.clinical.root", "data.micro.root", "data.paired.root", "data.list", "data.cache")
PATHS = ("synth_ckpt", "resume", *ROOTS, "sr.pairs")
TEXTS = tuple(f"data.{domain}.{key}" for domain in ("clinical", "micro") for key in ("series", "files", "patient"))
STOPPED = 75  # exit code after a signal: everything is saved, start again with resume=auto (EX_TEMPFAIL of sysexits.h)


def run_id() -> str:
    """Name of a new run's folder, the same in all processes of a cluster's job, also when it is started again."""
    if "SLURM_JOB_ID" in os.environ and "SLURM_PROCID" in os.environ:
        return f"slurm-{os.environ['SLURM_JOB_ID']}"
    if os.environ.get("TORCHELASTIC_RUN_ID", "none") != "none":
        return f"torchrun-{os.environ['TORCHELASTIC_RUN_ID']}"
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


OmegaConf.register_new_resolver("run_id", run_id, use_cache=True, replace=True)


@hydra.main(config_path="conf", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """The command line: trains what was composed into Hydra's run folder."""
    if code := run_cli(lambda: run(cfg)):  # caught in here: Hydra would add lines of its own
        sys.exit(code)


def run(cfg: DictConfig) -> None:
    """Trains into Hydra's run folder."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    if hydra_config.mode == RunMode.MULTIRUN:
        number, at_once = int(hydra_config.job.num), hydra_config.launcher.get("n_jobs", 1)
        run_job(Path(__file__).resolve(), hydra_config.overrides.task, plain(cfg), folder, number, at_once)
        return
    named = any(override.startswith("hydra.run.dir=") for override in hydra_config.overrides.hydra)
    if os.environ.get("TORCHELASTIC_RUN_ID") == "none" and int(os.environ.get("WORLD_SIZE", "1")) > 1 and not named:
        raise UserError("torchrun starts processes that need one folder: give hydra.run.dir=<folder>, or --rdzv-id")
    try:
        train(cfg, folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)
    except Stopped as stop:
        print(f"{stop}: go on with resume=auto hydra.run.dir={folder}", file=sys.stderr)
        sys.exit(0 if stop.exits_first else STOPPED)


def train(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Train what `cfg.stage` says.

    Args:
        cfg: The composed configuration.
        folder: The run folder; stage `all` keeps stage synth in `folder/synth` and stage sr in `folder` itself.

    Returns:
        What `summary.json` holds.
    """
    run = typed(cfg)
    from ctsr.evaluation.pairs import find_pairs
    from ctsr.inference.checkpoint import read_card
    from ctsr.training.check import check
    from ctsr.training.resume import finished
    from ctsr.training.summary import tell
    from datamodules.build import build_data

    check(run)
    tell(described(run.method))
    for stage in run.stages:
        build_data(run, stage).check()
    *before, last = run.stages
    if run.evaluate and not isinstance(last, SynthStage) and run.data.paired.root is not None:
        find_pairs(Path(run.data.paired.root))  # asked for at the end
    if run.prepare_only:
        return prepare(run, folder)
    for stage in before:  # synth, from which sr takes G1
        place = folder / stage.name
        done = (finished(place) if run.resume == AUTO else None) or fit(run, stage, place)
        check_g1(run.method, read_card(done["checkpoint"])["name"], done["checkpoint"])
        run = run.changed(synth_ckpt=done["checkpoint"])
    return fit(run, last, folder)


def prepare(run: Run, folder: Path) -> dict[str, Any]:
    """Prepares every case, and writes what there is to look at before a training."""
    from datamodules.build import build_data

    data = build_data(run, run.stages[0])
    data.prepare_data()
    data.setup("fit")
    folder.mkdir(parents=True, exist_ok=True)
    data.write_report(folder / "data.html")
    data.write_split(folder / "split.csv")
    print(f"cases to look at: {folder / 'data.html'}")
    return {"stage": "prepare", "cases": data.describe()["cases"]}


def fit(run: Run, stage: Stage, folder: Path) -> dict[str, Any]:
    """Trains one stage into a run folder, and measures it."""
    from lightning import seed_everything

    from ctsr.evaluation.results import means
    from ctsr.training.loggers import finish
    from ctsr.training.resume import check_resume, checkpoint_to_resume
    from ctsr.training.summary import print_summary, tell, validation_rows, write_summary
    from datamodules.build import build_data
    from lightning_modules import CycleGANSSIM
    from lightning_modules.measure import evaluate

    started = time.monotonic()
    tell(f"stage {stage.name}")
    if (resume := checkpoint_to_resume(run, folder)) is not None:
        check_resume(run, stage, resume)
    seed_everything(run.seed, workers=True, verbose=False)
    data = build_data(run, stage)
    data.prepare_data()
    data.setup("fit")
    module, trainer = train_through(run, stage, data, folder)
    summary: dict[str, Any] = {
        "stage": stage.name,
        "method": run.method,
        "checkpoint": str(folder / "checkpoints" / "last.ckpt"),
        "versions": module.facts["versions"],
        "seed": run.seed,
        "cases": module.facts["cases"],
        "seconds": round(time.monotonic() - started, 1),
        "rows": [],
    }
    if trainer.is_global_zero:
        rows = evaluate(run, module, data, folder) if run.evaluate and not isinstance(module, CycleGANSSIM) else []
        summary["rows"] = validation_rows(trainer, run.method) + [row.to_dict() for row in means(rows)]
        summary["per_case"] = [row.to_dict() for row in rows]
        write_summary(summary, folder)
        print_summary(summary, folder)
    finish(trainer.loggers)
    return summary


def train_through(run: Run, stage: Stage, data: ScansDataModule, folder: Path) -> tuple[GAN, Trainer]:
    """Trains to the end; after a collapse, if `guard.action` says so, again from the last good checkpoint."""
    from ctsr.files import replacing
    from ctsr.training.loggers import log_config
    from ctsr.training.resume import checkpoint_to_resume, good_checkpoint
    from ctsr.training.trainer import build_trainer
    from ctsr.versions import versions
    from lightning_modules.build import build_module

    resume = checkpoint_to_resume(run, folder)
    config = run.config_of(stage)
    lr_factor = 1.0
    for rewinds in range(run.guard.rewinds + 1):
        module = build_module(run, stage, data)
        module.lr_factor = lr_factor
        trainer = build_trainer(run, stage, folder, resume)
        if trainer.is_global_zero:
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / "config.yaml") as partial:
                partial.write_text(as_yaml(config))
            data.write_report(folder / "data.html")
            data.write_split(folder / "split.csv")
            log_config(trainer.loggers, config | {"versions": versions()})
        try:
            trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
        except Collapsed as collapse:
            resume = good_checkpoint(folder, stage.best)
            if run.guard.action != "rewind" or rewinds == run.guard.rewinds or resume is None:
                raise UserError(f"the training has collapsed, {collapse}") from collapse
            warn(f"the training has collapsed, {collapse}: goes on from {resume} with half the learning rate")
            lr_factor = module.lr_factor / 2  # of what it was, also where an earlier collapse is in the checkpoint
        else:
            return module, trainer
        finally:
            for logger in trainer.loggers:
                logger.save()
    raise AssertionError("the loop returns or raises")


def typed(cfg: DictConfig) -> Run:
    """The typed configuration.

    Raises:
        CollectedError: A line for each wrong key.
    """
    return read_run(plain(cfg))


if __name__ == "__main__":
    sys.argv[1:] = quoted(sys.argv[1:], PATHS, existing=True, texts=TEXTS)
    if {"--help", "-h"} & set(sys.argv) and not any(argument.startswith("stage=") for argument in sys.argv):
        sys.argv.append("stage=all")  # help needs none, but Hydra composes the configuration first
    sys.exit(run_cli(main))
