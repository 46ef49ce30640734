"""The folder of a report: one that can be written, apart from what the report is made of."""

from __future__ import annotations

from pathlib import Path

from ctsr.data.preparing.store import check_store
from ctsr.errors import UserError
from ctsr.files import same_file, within
from ctsr.records.tasks import Comparison
from ctsr.writable import check_writable

FIGURES = ("paired.png", "projections.png", "synthesis.png", "scans.png", "found_and_made_up.png")
PAGES = ("report.html", "report.md", "evaluation.csv")
_KINDS = ("micro", "paired", "empty", "clinical", "projections")  # of cases below data=


def check_folders(task: Comparison) -> None:
    """Make sure, before anything is read, that test cases are there and that a report can be written.

    Raises:
        UserError: There is a report, or it would come over or among what it is made of, or cannot be written.
    """
    data, folder = Path(task.data), Path(task.output)
    _check_apart(task, data, folder)
    if (folder / PAGES[0]).exists() and not task.overwrite:
        raise UserError(f"{folder} holds a report: choose another output=, or give overwrite=true")
    check_writable("output", folder)
    if not data.is_dir():
        raise UserError(f"data={data} is no folder: give one with micro/, paired/, empty/, clinical/ or projections/")
    check_store("cache", task.cache)


def _check_apart(task: Comparison, data: Path, folder: Path) -> None:
    if same_file(folder, data):
        raise UserError(f"output={folder} is data={data}, which is read: give another output=")
    read = {data / kind: f"data={data}" for kind in _KINDS} | {Path(task.cache): f"cache={task.cache}"}
    read |= {} if task.clinical is None else {Path(task.clinical): f"clinical={task.clinical}"}
    read |= {Path(path): f"ckpt={path}" for path in task.checkpoints}
    for name in (*PAGES, *FIGURES):
        if (place := within(folder / name, read)) is not None:
            where = f"lies in {read[place]}" if place.is_dir() else f"would put {name} over {read[place]}"
            raise UserError(f"output={folder} {where}, which is read: give another output=")
