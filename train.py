"""Train a stage: `python train.py stage=synth|sr|all [key=value ...]`; see conf/ and README.md."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ctsr.arguments import asks_for_sweep
from ctsr.cli import run_cli
from ctsr.errors import Stopped
from ctsr.methods import described
from ctsr.records.clashes import AUTO
from ctsr.records.run import AS_TYPED, Run, read_run
from ctsr.records.stages import Stage
from ctsr.sweeps.callback import plain
from ctsr.sweeps.jobs import run_job
from ctsr.training.commands import to_resume
from ctsr.training.run_folder import check_shared, run_id, stage_folders, write_config

# Lightning and torch take six seconds to import: each function that works with them does it, so that help and mistakes
# do not wait for them.
if TYPE_CHECKING:
    from ctsr.data.plan import Plan

OmegaConf.register_new_resolver("run_id", run_id, use_cache=True, replace=True)


def train(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Train what `cfg.stage` says.

    Args:
        cfg: The composed configuration.
        folder: The run folder; stage `all` keeps stage synth in `folder/synth` and stage sr in `folder` itself.

    Returns:
        What `summary.json` holds.

    Raises:
        UserError: Something is wrong with what the run is told, its data or its files, or the training has collapsed.
        Stopped: A signal came; everything is saved.
    """
    run = typed(cfg)
    from ctsr.data.plan import Plan
    from ctsr.training.check import check, check_data
    from ctsr.training.resume import completed
    from ctsr.training.summary import finished, tell, tell_again, tell_complete
    from datamodules.build import build_data, prepare

    check(run, folder)
    tell(described(run.name))
    *before, (stage, place) = stage_folders(run, folder)
    if not run.prepare_only and (done := completed(run, stage, place)) is not None:
        return tell_again(run, stage, done)
    plan = Plan.of(run)
    for each in run.stages:
        build_data(run, each, plan).check()
    check_data(run, plan)
    if run.prepare_only:
        return prepare(build_data(run, run.stages[0], plan), folder)
    for synth, beside in before:  # from which sr takes G1
        trained = finished(beside) if run.resume == AUTO else None
        if trained is not None:
            tell_complete(synth)
        run = run.changed(synth_ckpt=(trained or fit(run, plan, synth, beside))["checkpoint"])
    return fit(run, plan, stage, place)


def fit(run: Run, plan: Plan, stage: Stage, folder: Path) -> dict[str, Any]:
    """Train one stage of a run into a folder, measure it, and return what its `summary.json` holds."""
    from lightning import seed_everything

    from ctsr.training.callbacks.curves import best_values
    from ctsr.training.loggers import log_config, log_end
    from ctsr.training.metrics_csv import NAME as METRICS
    from ctsr.training.resume import Attempts, checkpoint_to_resume
    from ctsr.training.summary import summarise, tell
    from ctsr.training.trainer import build_trainer
    from ctsr.versions import versions
    from datamodules.build import build_data
    from lightning_modules.build import build_module, take_g1
    from lightning_modules.measure import measure_held_out

    started = time.monotonic()
    tell(f"stage {stage.name}")
    resume, G1, config = checkpoint_to_resume(run, stage, folder), take_g1(run, stage), run.config_of(stage)
    seed_everything(run.seed, workers=True, verbose=False)
    data = build_data(run, stage, plan)
    data.prepare_data()
    data.setup("fit")
    for attempt in Attempts(run.guard, stage.best, folder, resume):  # one, and more after a collapse
        module = build_module(run, stage, data, G1, attempt.lr_factor)
        trainer = build_trainer(run, stage, folder, attempt.resume)
        if trainer.is_global_zero:
            write_config(config, folder)
            data.write_overview(folder)
            log_config(trainer.loggers, config | {"versions": versions()})
        with attempt.catching(trainer, module):
            trainer.fit(module, datamodule=data, ckpt_path=attempt.path, weights_only=True)
    seconds = time.monotonic() - started
    rows = measure_held_out(module, data, folder) if run.evaluate and trainer.is_global_zero else []
    summary = summarise(run, stage, trainer, module.card, rows, seconds, folder)
    if trainer.is_global_zero:
        best = best_values(folder / METRICS, run.name)
        log_end(trainer.loggers, summary, best, folder, trainer.fit_loop.epoch_loop.total_batch_idx)
    return summary


def typed(cfg: DictConfig) -> Run:
    """Read a composed configuration.

    Raises:
        CollectedError: Keys, or values, are wrong: a line each.
    """
    if not HydraConfig.initialized():
        return read_run(plain(cfg))
    job = HydraConfig.get()
    own = [f"--config-dir={source.path}" for source in job.runtime.config_sources if source.provider == "command-line"]
    return read_run(plain(cfg), own + AS_TYPED.unquoted(job.overrides.task))


def run_once(cfg: DictConfig) -> None:
    """Train into Hydra's run folder; in a sweep, start the job's own process."""
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    if job.mode == RunMode.MULTIRUN:
        number, at_once = int(job.job.num), job.launcher.get("n_jobs", 1)
        run_job(Path(__file__).resolve(), job.overrides.task, plain(cfg), folder, number, at_once)
        return
    check_shared(named=any(override.startswith("hydra.run.dir=") for override in job.overrides.hydra))
    folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    try:
        train(cfg, folder)
    except Stopped as stop:
        if stop.code:  # else another process of the run tells it
            print(f"{stop}; go on with:\n{to_resume(typed(cfg), folder)}", file=sys.stderr)
        sys.exit(stop.code)


@hydra.main(config_path="conf", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """Run as the command line says."""
    if code := run_cli(lambda: run_once(cfg)):  # caught in here: Hydra would add lines of its own
        sys.exit(code)


if __name__ == "__main__":
    sys.argv[1:] = AS_TYPED.quoted(sys.argv[1:], asks_for_sweep(sys.argv))
    if {"--help", "-h"} & set(sys.argv) and not any(argument.startswith("stage=") for argument in sys.argv):
        sys.argv.append("stage=all")  # help needs none, but Hydra composes the configuration first
    sys.exit(run_cli(main))
