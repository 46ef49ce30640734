"""What Hydra calls: before a folder is made, and when all jobs of a sweep are done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from ctsr.cli import run_cli
from ctsr.errors import CollectedError
from ctsr.files import check_writable, replacing
from ctsr.sweeps.table import markdown, pooled, read_jobs, swept, write_table

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
        self._exit_if_wrong(lambda: ([config], Path(config.hydra.run.dir)))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Checks a sweep's folder, and all its jobs; not where a sweeper chooses their values as it goes."""
        if code := run_cli(lambda: check_writable("hydra.sweep.dir", Path(config.hydra.sweep.dir))):
            sys.exit(code)
        if config.hydra.sweeper._target_.endswith(BasicSweeper.__name__):
            self._exit_if_wrong(lambda: (jobs_of(config), None))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Writes `sweep.csv`, `sweep.md` and pictures into the sweep's folder, and tells which jobs failed."""
        from ctsr.sweeps.figures import draw_sweep  # here: Hydra makes this callback for each run

        folder = Path(config.hydra.sweep.dir)
        if not (jobs := read_jobs(folder)):
            return
        write_table(jobs, folder / "sweep.csv")
        with replacing(folder / "sweep.md") as partial:
            partial.write_text(markdown(jobs))
        draw_sweep(pooled(jobs), swept(jobs), folder)
        print(f"{markdown(jobs)}\nsweep: {folder / 'sweep.md'}")
        if failed := [job.folder.name for job in jobs if job.failed]:
            print(f"error: {len(failed)} jobs of the sweep failed: {'; '.join(failed)}", file=sys.stderr)
            sys.exit(FAILED)

    def _exit_if_wrong(self, asked: Callable[[], tuple[Sequence[DictConfig], Path | None]]) -> None:
        def check() -> None:
            try:
                jobs, folder = asked()
                composed = [plain(job) for job in jobs]
            except InterpolationResolutionError:  # of what Hydra knows of a job when it runs: told then
                return
            self._check(composed, folder)

        if code := run_cli(check):
            sys.exit(code)


def jobs_of(sweep: DictConfig) -> list[DictConfig]:
    """The configuration of each job of a sweep, as Hydra's own sweeper will compose it."""
    loader = GlobalHydra.instance().config_loader()
    params = [f"{key}={value}" for key, value in (sweep.hydra.sweeper.params or {}).items()]
    parsed = OverridesParser.create(config_loader=loader).parse_overrides([*params, *sweep.hydra.overrides.task])
    batches = BasicSweeper.split_arguments(parsed, None)
    return [loader.load_sweep_config(sweep, job) for batch in batches for job in batch]


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
