"""What a run asks for beside its scans: is it there? Asked before a folder is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from ctsr.errors import CollectedError, UserError, as_typed
from ctsr.files import same_file, within
from ctsr.methods import check_g1
from ctsr.records.clashes import AUTO, uneven
from ctsr.records.run import Run, read_run
from ctsr.records.settings import no_such_key
from ctsr.records.stages import SRStage, SynthStage
from ctsr.records.trainer import counted
from ctsr.training.given import forget, look_at
from ctsr.training.run_folder import stage_folders
from ctsr.writable import check_writable

# Lightning and torch take seconds to import: each function that asks them does it, so that mistakes do not wait.
if TYPE_CHECKING:
    from ctsr.data.plan import Plan

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
    "plugins": OURS,
    "logger": OURS,
}


def refuse(composed: Sequence[Mapping[str, Any]], folder: Path | None) -> None:
    """Refuses what a command line asks for wrongly.

    Args:
        composed: The configuration of the run, or of each job of a sweep, in plain values.
        folder: The run's; None: they are jobs of a sweep, whose folders, and devices, may be another machine's.

    Raises:
        CollectedError: A line for each wrong key.
    """
    problems: dict[str, None] = {}
    runs: list[Run] = []
    for job in composed:
        try:
            runs.append(read_run(job))
        except CollectedError as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        raise CollectedError(list(problems))
    if folder is not None:
        (run,) = runs
        check(run, folder)
        return
    for run in runs:
        check_arguments(run)
        check_checkpoints(run)
    forget()  # each job reads its own


def check(run: Run, folder: Path) -> None:
    """Makes sure that what a run asks for beside its scans is there: loggers, checkpoints, devices.

    Raises:
        UserError: It is not; the key, and what to do, are named.
    """
    check_folder(run, folder)
    check_arguments(run)
    check_places(run, folder)
    check_checkpoints(run, folder)
    if not run.prepare_only:  # which needs no device, and may be done where there is none
        check_devices(run, folder)


def check_folder(run: Run, folder: Path) -> None:
    """Makes sure that a run does not write over what it is made of.

    Raises:
        CollectedError: It would: a line for each key.
    """
    keys, first = run.data, run.stages[0]
    given = {"clinical": keys.clinical.root, "micro": keys.micro.root, "paired": keys.paired.root}
    roots = {f"data.{kind}.root": Path(root).expanduser() for kind, root in given.items() if root is not None}
    g1 = run.synth_ckpt if isinstance(first, SRStage) and first.inputs == "G1" else None
    problems = []
    for _, place in stage_folders(run, folder):
        last = place / "checkpoints" / "last.ckpt"
        problems += [f"{key}={root} is the folder of this run" for key, root in roots.items() if same_file(root, place)]
        if g1 is not None and (within(Path(g1).resolve(), [last.parent]) or same_file(Path(g1), last)):
            problems.append(f"synth_ckpt={g1} lies in the folder of this run, whose checkpoints replace it")
        going_on = run.resume is not None and last.is_file()  # with the list that it wrote itself
        if keys.listed is not None and same_file(Path(keys.listed).expanduser(), place / "split.csv") and not going_on:
            problems.append(f"data.list={keys.listed} is where this run writes its own split")
    if problems:
        raise CollectedError([f"{problem}: give another hydra.run.dir=" for problem in problems])


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


def check_checkpoints(run: Run, folder: Path | None = None) -> None:
    """Makes sure that checkpoints to begin with are of the stage and the method that they are for.

    Args:
        run: The run.
        folder: Where resume=auto looks for them; None: not there.

    Raises:
        UserError: They are not.
    """
    first = run.stages[0]
    if run.synth_ckpt and isinstance(first, SRStage) and first.inputs == "G1":
        check_takes_g1(run, run.synth_ckpt)
    if run.resume is None or (run.resume == AUTO and folder is None):
        return
    from ctsr.training.resume import check_resume, path_to_resume
    from ctsr.training.summary import finished

    for stage, place in stage_folders(run, folder or Path()):
        if stage is not run.stages[-1] and (done := finished(place)):
            check_takes_g1(run, done["checkpoint"])
        elif path := path_to_resume(run, place):
            check_resume(run, stage, path)


def check_places(run: Run, folder: Path) -> None:
    """Makes sure that the folders which a run writes into can be written.

    Raises:
        UserError: One cannot; its key is named.
    """
    from ctsr.data.preparing.store import check_store

    check_writable("hydra.run.dir", folder)
    check_store("data.cache", run.data.cache)
    if (phantom := run.data.made) is not None and not (root := Path(phantom.root)).is_dir():
        check_writable("data.phantom.root", root.resolve().parent, named=root)


def check_takes_g1(run: Run, path: str) -> None:
    """Makes sure that stage sr of a run can take its G1 from a checkpoint.

    Raises:
        UserError: The checkpoint has none, or is of another method.
    """
    given = look_at(path)
    check_g1(run.name, given.card.name, path)
    given.must_hold("G1")


def check_devices(run: Run, folder: Path) -> None:
    """Makes sure that this machine has the devices and the processes, and that Lightning can use them as it is told.

    Raises:
        UserError: It has not, or cannot.
    """
    from lightning import Trainer
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from ctsr.training.processes import check_processes
    from ctsr.training.trainer import devices, on_gpu, trainer_arguments

    check_processes(run.trainer, devices(run.trainer), folder)
    if on_gpu(run.trainer):
        import torch

        asked, found = run.trainer.devices, torch.cuda.device_count()
        if found < (counted(asked) or 1):
            key = f"trainer.accelerator={run.trainer.accelerator} trainer.devices={as_typed(asked)}"
            raise UserError(f"{key}: {found or 'no'} GPUs are found here: give hardware=cpu, or fewer devices")
    if problems := list(uneven(run.data.global_batch_size, devices(run.trainer), run.data.accumulate)):
        raise CollectedError(problems)
    try:
        arguments = trainer_arguments(run.trainer, run.epochs_of(run.stages[0]))
        Trainer(**arguments, logger=False, enable_model_summary=False)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"trainer: {error}") from error


def check_data(run: Run, plan: Plan) -> None:
    """Make sure that a run's scans go with its other files: with the G1 that it takes, and with what it measures on.

    Raises:
        UserError: G1 was trained on images that were prepared otherwise, or lungs seen by both scanners are not there.
    """
    from ctsr.data.pairs import find_pairs

    first, last = run.stages[0], run.stages[-1]
    if run.synth_ckpt and isinstance(first, SRStage) and first.inputs == "G1":
        plan.check_preparation(look_at(run.synth_ckpt).card, run.synth_ckpt)
    if run.evaluate and not isinstance(last, SynthStage) and run.data.paired.root is not None:
        find_pairs(Path(run.data.paired.root))


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
    return named - {"self", "save_dir", "mode", "experiment", "together"}  # which the program gives
