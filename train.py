"""Trains a stage: `python train.py stage=synth|sr|all [key=value ...]`; see conf/ and README.md."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Sequence
from datetime import datetime
from inspect import Parameter, signature
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import hydra
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationResolutionError

from ctsr.cli import in_quotes, quoted, run_cli
from ctsr.errors import Collapsed, CollectedError, Stopped, UserError, as_typed, warn
from ctsr.methods import check_g1, check_resumed, described
from ctsr.records.clashes import AUTO, uneven
from ctsr.records.run import Run, as_yaml, read_run
from ctsr.records.settings import no_such_key
from ctsr.records.stages import SRStage, Stage, SynthStage
from ctsr.records.trainer import LoggerSettings, TrainerSettings, counted
from ctsr.sweeps.jobs import run_job

# Lightning and torch take six seconds to import: each function that works with them does it, so that help and mistakes
# do not wait for them.
if TYPE_CHECKING:
    from lightning import Trainer
    from lightning.pytorch.loggers import Logger

    from ctsr.evaluation.results import Row
    from datamodules import ScansDataModule
    from lightning_modules.gan import GAN

ROOTS = ("data.clinical.root", "data.micro.root", "data.paired.root", "data.list", "data.cache")
PATHS = ("synth_ckpt", "resume", *ROOTS, "sr.pairs")
TEXTS = tuple(f"data.{domain}.{key}" for domain in ("clinical", "micro") for key in ("series", "files", "patient"))
STOPPED = 75  # exit code after a signal: everything is saved, start again with resume=auto (EX_TEMPFAIL of sysexits.h)
OURS = "the program sets it: leave it out"
NOT_OF_LIGHTNING = {  # arguments of its Trainer that are no keys of a run, and what to give in their place
    "gradient_clip_val": "clipping is <stage>.optimizer.clip: give that",
    "gradient_clip_algorithm": "clipping is by norm: give <stage>.optimizer.clip",
    "accumulate_grad_batches": "give data.accumulate, the parts that each batch is worked through in",
    "use_distributed_sampler": OURS,
    "num_sanity_val_steps": OURS,
    "enable_model_summary": OURS,
    "default_root_dir": OURS,
    "callbacks": OURS,
    "logger": OURS,
}
QUIET = (  # what Lightning says of things that are meant
    ".*isinstance.treespec, LeafSpec.*",
    ".*does not have many workers.*",
    ".*exists and is not empty.*",
    ".*module.s. in eval mode at the start of training.*",  # G1
    ".*dataloader is not resumable.*",  # the DataModule goes on with the next batch
    ".*lr_scheduler.step.* before .optimizer.step.*",  # DS during the warm-up
)


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
        done = (_finished(place) if run.resume == AUTO else None) or fit(run, stage, place)
        check_g1(run.method, read_card(done["checkpoint"])["name"], done["checkpoint"])
        run = run.changed(synth_ckpt=done["checkpoint"])
    return fit(run, last, folder)


def tell(line: str) -> None:
    """Prints a line, once for all processes of a run."""
    from lightning.pytorch.utilities import rank_zero_only

    rank_zero_only(print)(line)


def _finished(folder: Path) -> dict[str, Any] | None:
    """What a stage that was trained to its end left."""
    summary = folder / "summary.json"
    return json.loads(summary.read_text()) if summary.is_file() else None


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
    from ctsr.training.summary import print_summary, write_summary
    from datamodules.build import build_data
    from lightning_modules import CycleGANSSIM

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
            resume = good_checkpoint(folder)
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
    from ctsr.inference.checkpoint import read_resumable

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


def good_checkpoint(folder: Path) -> Path | None:
    """The best of the kept epochs, or else the last checkpoint; None if there is none."""
    checkpoints = folder / "checkpoints"
    best = sorted(checkpoints.glob("best-*.ckpt"), key=lambda path: path.stat().st_mtime)
    return next((path for path in (*best[-1:], checkpoints / "last.ckpt") if path.is_file()), None)


def trainer_arguments(asked: TrainerSettings, epochs: int) -> dict[str, Any]:
    """The trainer's keys as Lightning is given them, told to keep quiet about what is meant."""
    for message in QUIET:
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    settings = asked.to_plain()
    if settings["max_epochs"] is None:
        settings["max_epochs"] = epochs
    if settings["strategy"] == "auto" and devices(asked) > 1:
        settings["strategy"] = "ddp_find_unused_parameters_true"  # each step uses one side's parameters only
    if settings["precision"] == "auto":
        settings["precision"] = "bf16-mixed" if on_gpu(asked) else "32-true"
    return settings


def build_trainer(run: Run, stage: Stage, folder: Path, resume: Path | None = None) -> Trainer:
    """Lightning's Trainer with our callbacks and loggers."""
    import torch
    from lightning import Trainer
    from lightning.pytorch.callbacks import RichProgressBar

    from ctsr.training.callbacks.checkpoints import Checkpoints
    from ctsr.training.callbacks.curves import Curves
    from ctsr.training.callbacks.guard import Guard
    from ctsr.training.callbacks.panels import Panels
    from ctsr.training.callbacks.throughput import Throughput
    from ctsr.training.metrics_csv import MetricsCSV

    settings = trainer_arguments(run.trainer, stage.epochs)
    done = None if resume is None else torch.load(resume, weights_only=True, mmap=True)["ctsr"]["batches"]
    best = stage.best
    callbacks: list[Any] = [
        Guard(run.trainer.log_every_n_steps, run.guard.patience, run.guard.action),
        Checkpoints(folder / "checkpoints", run.checkpoint.every_n_batches, best.monitor, best.mode, best.best),
        Panels(folder / "panels", run.panels.count, run.panels.every),
        Curves(folder, run.panels.every, run.method),
        Throughput(),
    ]
    if settings["enable_progress_bar"]:
        callbacks.append(RichProgressBar())
    return Trainer(
        **settings,
        logger=[MetricsCSV(folder, done), *dashboard(run.logger, folder)],
        callbacks=callbacks,
        default_root_dir=folder,
        use_distributed_sampler=False,  # patches are divided over devices by our own sampler
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )


def dashboard(asked: LoggerSettings, folder: Path) -> list[Logger]:
    """The logger beside `metrics.csv`, where one is asked for.

    Raises:
        UserError: It cannot be made.
    """
    if asked.target is None:
        return []
    arguments = {key: value for key, value in asked.to_plain().items() if key != "_target_"}
    try:
        return [resolve_name(asked.target)(save_dir=str(folder), **arguments)]
    except Exception as error:  # a library's, of any kind: of its account, its settings or its files
        raise UserError(f"logger: {asked.target} cannot be made: {error}") from error


def check(run: Run) -> None:
    """Makes sure that what a run asks for beside its scans is there: loggers, checkpoints, devices.

    Raises:
        UserError: It is not; the key, and what to do, are named.
    """
    check_arguments(run)
    check_checkpoints(run)
    if not run.prepare_only:  # which needs no device, and may be done where there is none
        check_devices(run)


def check_arguments(run: Run) -> None:
    """Makes sure that keys which are handed on to Lightning's Trainer and to loggers are arguments of theirs.

    Raises:
        CollectedError: They are not: a line each.
    """
    problems = []
    if appended := run.trainer.model_extra:
        from lightning import Trainer

        known = signature(Trainer).parameters
        problems += [f"trainer.{key}: {NOT_OF_LIGHTNING[key]}" for key in appended if key in NOT_OF_LIGHTNING]
        problems += [no_such_key(f"trainer.{key}", "lightning.Trainer", known) for key in appended if key not in known]
    if (target := run.logger.target) is not None:
        try:
            kind = resolve_name(target)
        except (ImportError, AttributeError, ValueError):
            kind = None
        if not isinstance(kind, type):
            problems.append(f"logger._target_={target}: there is no such class: give logger=wandb or tensorboard")
        else:
            given = run.logger.to_plain()
            named = arguments_of(kind) or given.keys()
            others = [key for key in given if key not in named and key != "_target_"]
            problems += [no_such_key(f"logger.{key}", kind.__name__, sorted(named)) for key in others]
    if problems:
        raise CollectedError(problems)


def check_checkpoints(run: Run) -> None:
    """Makes sure that checkpoints to begin with are of the stage and the method that they are for.

    Raises:
        UserError: They are not.
    """
    from ctsr.inference.checkpoint import read_card

    first = run.stages[0]
    if run.synth_ckpt and isinstance(first, SRStage) and first.inputs == "G1":
        check_g1(run.method, read_card(run.synth_ckpt)["name"], run.synth_ckpt)
    if run.resume not in (None, AUTO):
        check_resume(run, first, Path(run.resume))


def check_devices(run: Run) -> None:
    """Makes sure that this machine has the devices, and that Lightning can use them as it is told.

    Raises:
        UserError: It has not, or cannot.
    """
    from lightning import Trainer
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    if on_gpu(run.trainer):
        import torch

        asked, found = run.trainer.devices, torch.cuda.device_count()
        if found < (counted(asked) or 1):
            key = f"trainer.accelerator={run.trainer.accelerator} trainer.devices={as_typed(asked)}"
            raise UserError(f"{key}: {found or 'no'} GPUs are found here: give hardware=cpu, or fewer devices")
    if problems := list(uneven(run.data.global_batch_size, devices(run.trainer), run.data.accumulate)):
        raise CollectedError(problems)
    arguments = trainer_arguments(run.trainer, run.stages[0].epochs)
    try:
        Trainer(**arguments, logger=False, enable_model_summary=False)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"trainer: {error}") from error


def arguments_of(logger: type) -> set[str]:
    """The arguments that a logger takes, also those it hands on; nothing where nobody can tell."""
    from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

    takers: list[Any] = [vars(one)["__init__"] for one in logger.__mro__[:-1] if "__init__" in vars(one)]
    if issubclass(logger, WandbLogger):
        import wandb

        takers.append(wandb.init)
    elif issubclass(logger, TensorBoardLogger):
        from torch.utils.tensorboard import SummaryWriter

        takers.append(SummaryWriter.__init__)
    parameters = [parameter for taker in takers for parameter in signature(taker).parameters.values()]
    if any(one.kind is Parameter.VAR_KEYWORD for one in signature(takers[-1]).parameters.values()):
        return set()
    named = {one.name for one in parameters if one.kind is not Parameter.VAR_KEYWORD}
    return named - {"self", "save_dir", "mode", "experiment"}  # which the program gives


def evaluate(run: Run, module: GAN, data: ScansDataModule, folder: Path) -> list[Row]:
    """Scores the trained network on held-out cases, as far as there are any."""
    from ctsr.evaluation.contestants import Contestant, TestSet
    from ctsr.evaluation.held_out import measure
    from ctsr.evaluation.pairs import find_pairs, load_pair
    from ctsr.evaluation.samples import Cut
    from ctsr.evaluation.synthesis import Synthesis
    from ctsr.imaging.intensity import Window
    from lightning_modules import SRGAN, SRCycleGAN

    assert isinstance(module, SRGAN | SRCycleGAN)
    generator = module.G1 if isinstance(module, SRGAN) else module.GB
    contestant = Contestant(
        run.method,
        run.seed,
        module.enlarger.cpu(),
        Synthesis(generator.cpu(), of_x=isinstance(module, SRCycleGAN)),
        Window(*data.keys["clinical"]["window"]),
        module.grey_maps,
    )
    percentiles = data.keys["micro"]["percentiles"]
    pairs = [] if data.paired_root is None else [load_pair(path, percentiles) for path in find_pairs(data.paired_root)]
    test = TestSet(data.cases["micro"]["test"], pairs if "clinical" in module.grey_maps else [])
    return measure(contestant, test, folder, Cut(cover=data.keys["micro"]["cover"]))


def validation_rows(trainer: Trainer, method: str) -> list[dict[str, Any]]:
    """The last validation's figures, as rows of the summary."""
    from ctsr.evaluation.results import validation_name

    return [
        {"protocol": "validation", "method": who, "metric": metric, "value": float(value)}
        for name, value in trainer.callback_metrics.items()
        if name.startswith("val/")
        for metric, who in [validation_name(name, method)]
    ]


def on_gpu(asked: TrainerSettings) -> bool:
    """Whether the run uses CUDA devices."""
    if asked.accelerator != "auto":
        return asked.accelerator in ("gpu", "cuda")
    import torch

    return torch.cuda.is_available()


def devices(asked: TrainerSettings) -> int:
    """Processes of the run, over all nodes."""
    count = counted(asked.devices)
    if count is None:
        import torch

        count = torch.cuda.device_count() if on_gpu(asked) else 1
    return max(count, 1) * asked.num_nodes


def plain(node: DictConfig) -> dict[str, Any]:
    """A configuration node as plain dicts and lists, which load with `weights_only=True`."""
    values = OmegaConf.to_container(node, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def typed(cfg: DictConfig) -> Run:
    """The typed configuration.

    Raises:
        CollectedError: A line for each wrong key.
    """
    if missing := OmegaConf.missing_keys(cfg):
        raise CollectedError([f"{key}=???: give a value" for key in sorted(missing)])
    return read_run(plain(cfg))


def compositions(arguments: Sequence[str]) -> tuple[list[DictConfig], bool]:
    """What a command line comes to, without Hydra's own keys, and whether it is a sweep.

    Returns:
        One configuration, or that of each job of a sweep; none where Hydra only tells something, or where a sweeper
        chooses the jobs' values as it goes.
    """
    asked = get_args_parser().parse_args(arguments)
    if asked.help or asked.hydra_help or asked.cfg or asked.info or asked.shell_completion or asked.experimental_rerun:
        return [], False
    overrides = list(asked.overrides)
    if asked.config_dir:
        overrides.append(f"hydra.searchpath=[{in_quotes(f'file://{Path(asked.config_dir).absolute()}')}]")
    with initialize_config_dir(str(Path(__file__).resolve().parent / "conf"), version_base="1.3", job_name="train"):
        loader = GlobalHydra.instance().config_loader()
        mode = RunMode.MULTIRUN if asked.multirun else RunMode.RUN
        whole = loader.load_configuration(asked.config_name or "train", overrides, mode)
        if not asked.multirun and whole.hydra.mode != RunMode.MULTIRUN:
            return [without_hydra(whole)], False
        if not whole.hydra.sweeper._target_.endswith(BasicSweeper.__name__):
            return [], True
        params = [f"{key}={value}" for key, value in (whole.hydra.sweeper.params or {}).items()]
        parsed = OverridesParser.create(config_loader=loader).parse_overrides([*params, *whole.hydra.overrides.task])
        jobs = [job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]
        return [without_hydra(loader.load_sweep_config(whole, job)) for job in jobs], True


def without_hydra(cfg: DictConfig) -> DictConfig:
    """A configuration as the program is given it."""
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def refuse(arguments: Sequence[str]) -> None:
    """Refuses what a command line asks for wrongly, in any job of a sweep, before Hydra makes a folder.

    Raises:
        CollectedError: A line for each wrong key.
    """
    problems: dict[str, None] = {}
    runs: list[Run] = []
    jobs, sweep = compositions(arguments)
    for cfg in jobs:
        try:
            runs.append(typed(cfg))
        except InterpolationResolutionError:  # of what Hydra knows of a job when it runs: told then
            return
        except CollectedError as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        raise CollectedError(list(problems))
    for run in runs:
        if sweep:  # the devices of its jobs may be another machine's
            check_arguments(run)
            check_checkpoints(run)
        else:
            check(run)


if __name__ == "__main__":
    sys.argv[1:] = quoted(sys.argv[1:], PATHS, existing=True, texts=TEXTS)
    if {"--help", "-h"} & set(sys.argv) and not any(argument.startswith("stage=") for argument in sys.argv):
        sys.argv.append("stage=all")  # help needs none, but Hydra composes the configuration first
    code = run_cli(lambda: refuse(sys.argv[1:])) or run_cli(main)
    from ctsr.sweeps.report import failed

    if failed:
        print(f"error: {len(failed)} jobs of the sweep failed: {'; '.join(failed)}", file=sys.stderr)
    sys.exit(code or min(len(failed), 1))
