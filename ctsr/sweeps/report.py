"""After a sweep: its table, its pictures, and which jobs failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ctsr.files import replacing
from ctsr.sweeps.table import markdown, pooled, read_jobs, swept, write_table

failed: list[str] = []
"""Jobs of this process's sweep that failed; its exit code tells."""


class SweepReport(Callback):
    """Hydra calls it when all jobs are done; it writes `sweep.csv`, `sweep.md` and pictures into the sweep's folder."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Collects what the jobs left."""
        from ctsr.sweeps.figures import draw_sweep  # here: Hydra makes this callback for each run

        folder = Path(config.hydra.sweep.dir)
        jobs = read_jobs(folder)
        failed.extend(job.folder.name for job in jobs if job.failed)
        if not jobs:
            return
        write_table(jobs, folder / "sweep.csv")
        with replacing(folder / "sweep.md") as partial:
            partial.write_text(markdown(jobs))
        draw_sweep(pooled(jobs), swept(jobs), folder)
        print(f"{markdown(jobs)}\nsweep: {folder / 'sweep.md'}")
