"""What Hydra calls: before a folder is made, and when all jobs of a sweep are done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import InterpolationResolutionError

from ctsr.arguments import in_quotes
from ctsr.cli import run_cli
from ctsr.errors import CollectedError, UserError
from ctsr.files import replacing
from ctsr.records.run import AS_TYPED
from ctsr.sweeps.jobs import as_mapping
from ctsr.sweeps.names import folder_names
from ctsr.sweeps.table import markdown, pooled, read_jobs, swept, write_table
from ctsr.writable import check_writable

FOLDERS = "hydra.callbacks.sweeps.folders"
FAILED = 1  # exit code of a sweep with jobs that failed

Check = Callable[[Sequence[Mapping[str, Any]], Path | None], None]


class SweepCallback(Callback):
    """Refuses a run, or a sweep before its first job; reports on a sweep at its end.

    Hydra makes warnings of what a callback raises: only an exit ends the program.

    Args:
        check: Is given what is composed, in plain values, for each job, and the folder of a single run; raises
            `UserError` for what is wrong.
    """

    def __init__(self, check: Check) -> None:
        self._check = check

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Checks a single run."""
        exit_if_wrong(lambda: check_given("hydra.run.dir", config.hydra.run.dir))
        exit_if_wrong(lambda: self._check_jobs([config], Path(config.hydra.run.dir)))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Checks a sweep's folder and its jobs, and names these; not where a sweeper chooses values as it goes."""
        exit_if_wrong(lambda: check_given("hydra.sweep.dir", config.hydra.sweep.dir))
        exit_if_wrong(lambda: check_writable("hydra.sweep.dir", Path(config.hydra.sweep.dir)))
        if config.hydra.sweeper._target_.endswith(BasicSweeper.__name__):
            jobs = (composed(config, overrides) for overrides in overrides_of_jobs(config))
            exit_if_wrong(lambda: self._check_jobs(jobs, None))
            name_folders(config)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Writes `sweep.csv`, `sweep.md` and pictures into the sweep's folder, and tells which jobs failed."""
        exit_if_wrong(lambda: report(Path(config.hydra.sweep.dir)))

    def _check_jobs(self, jobs: Iterable[DictConfig], folder: Path | None) -> None:
        try:
            values = [plain(job) for job in jobs]
        except InterpolationResolutionError:  # of what Hydra knows of a job when it runs: told then
            return
        self._check(values, folder)


def exit_if_wrong(check: Callable[[], int | None]) -> None:
    """End the program where a check raises, or returns an exit code."""
    if code := run_cli(check):
        sys.exit(code)


def check_given(key: str, folder: str) -> None:
    """Make sure that a folder is named.

    Raises:
        UserError: It is not, as where a variable of the shell is not set.
    """
    if not folder:
        raise UserError(f"{key}=: give a path")


def report(folder: Path) -> int:
    """Write and print what a sweep found; returns an exit code that says whether a job failed."""
    from ctsr.sweeps.dashboard import log_sweep  # here: Hydra makes the callback for each run
    from ctsr.sweeps.figures import draw_sweep

    if not (jobs := read_jobs(folder)):
        return 0
    write_table(jobs, folder / "sweep.csv")
    with replacing(folder / "sweep.md") as partial:
        partial.write_text(markdown(jobs), encoding="utf-8")
    pictures = draw_sweep(pooled(jobs), swept(jobs), folder)
    print(f"{markdown(jobs)}\nsweep: {folder / 'sweep.md'}", flush=True)
    log_sweep(jobs, pictures, folder)
    if not (failed := [f"{job.folder}/log.txt" for job in jobs if job.failed]):
        return 0
    told = "1 job" if len(failed) == 1 else f"{len(failed)} jobs"
    print(f"error: {told} of the sweep failed, see {', '.join(failed)}", file=sys.stderr)
    return FAILED


def overrides_of_jobs(sweep: DictConfig) -> list[list[str]]:
    """The overrides of each job of a sweep, as Hydra's own sweeper will give them."""
    loader = GlobalHydra.instance().config_loader()
    params = [f"{key}={value}" for key, value in (sweep.hydra.sweeper.params or {}).items()]
    task = OmegaConf.to_container(sweep.hydra.overrides.task, resolve=False)  # ${...} is for each job
    assert isinstance(task, list)
    parsed = OverridesParser.create(config_loader=loader).parse_overrides([*params, *task])
    return [job for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]


def composed(sweep: DictConfig, overrides: list[str]) -> DictConfig:
    """The configuration of a job, as Hydra's own sweeper will compose it."""
    return GlobalHydra.instance().config_loader().load_sweep_config(sweep, overrides)


def name_folders(sweep: DictConfig) -> None:
    """Give each job of a sweep a folder directly below the sweep's, unless the user has said how they are named.

    What Hydra knows of a job when its folder is made is the job's number and overrides that all jobs have; so these
    hold the names.
    """
    given = sweep.hydra.overrides.hydra
    if any(override.startswith("hydra.sweep.subdir=") for override in given):
        return
    jobs = [as_mapping(AS_TYPED.unquoted(job)) for job in overrides_of_jobs(sweep)]
    listed = ",".join(map(in_quotes, folder_names(jobs)))
    with read_write(given):
        given += [f"+{FOLDERS}=[{listed}]", f"hydra.sweep.subdir='${{oc.select:{FOLDERS}.${{hydra:job.num}}}}'"]


def plain(config: DictConfig) -> dict[str, Any]:
    """What was composed as plain dicts, lists and values, without Hydra's own keys.

    Raises:
        CollectedError: A key has no value.
    """
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    if missing := OmegaConf.missing_keys(own):
        raise CollectedError([f"{key}=???: give a value" for key in sorted(missing)])
    values = OmegaConf.to_container(own, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
