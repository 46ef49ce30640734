"""A phantom's data set on disk: its cases, made once, several at a time, and gone on with after a stop."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import Progress

from ctsr.errors import UserError, warn
from ctsr.files import locked
from ctsr.phantom.drawing import Drawn
from ctsr.phantom.projections.lungs import make_lung
from ctsr.phantom.two_scanners import make_chest, make_empty, make_pair, make_specimen
from ctsr.records.phantom import PhantomSettings, ProjectionSettings

FORMAT = 1
MARKER = "phantom.json"
JOURNAL = "done.jsonl"  # of a set that is being made: its settings, then a line for each case that is done
MAX_WORKERS = 4  # each case takes about 0.5 GB at demo size, one of projections 1.1 GB

AnySettings = PhantomSettings | ProjectionSettings


class Case(NamedTuple):
    """A case to make.

    Attributes:
        name: Its file or folder, below the set's.
        make: Makes it, at the path that it is given, and returns what was drawn for it.
    """

    name: str
    make: Callable[[Path], Drawn]


def generate(root: Path, settings: AnySettings, show_progress: bool = True) -> None:
    """Write a phantom's data set, once.

    Nothing is done where `root` holds it already. It appears whole or not at all; what was stopped goes on with the
    cases that are not done, and of two processes that start at once the second waits for the first. Layouts, all NIfTI
    with RAS+ affines::

        root/clinical/lung_000.nii.gz                 HU, int16
        root/micro/specimen_000.nii.gz                uncalibrated greys, uint16
        root/paired/lung_100/clinical.nii.gz          HU, int16
        root/paired/lung_100/micro.nii.gz             uncalibrated greys, uint16
        root/paired/lung_100/labels.nii.gz            `Label` on the µCT's grid, uint8
        root/empty/lung_200/                          the same three files
        root/projections/lung_000/micro.nii.gz        HU, int16
        root/projections/lung_000/labels.nii.gz       as above
        root/projections/lung_000/standard.nii.gz     HU, int16, and so for each kind of acquisition
        root/phantom.json                             format, settings and what was drawn for each case

    Args:
        root: Folder to write, beside which a lock and a half-made copy stand while it is made.
        settings: What to generate.
        show_progress: Whether to show a progress bar.

    Raises:
        UserError: `root` holds a phantom of other settings, or something else.
    """
    root = root.resolve()
    if _is_made(root, settings):  # it may be read-only
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    with locked(root.with_name(f".{root.name}.lock")):
        if _is_made(root, settings):
            return
        unfinished = root.with_name(f"{root.name}.partial")
        drawn = _make(unfinished, settings, show_progress)
        record = {"format": FORMAT, "settings": settings.model_dump(), "cases": dict(sorted(drawn.items()))}
        (unfinished / MARKER).write_text(json.dumps(record, indent=1), encoding="utf-8")
        (unfinished / JOURNAL).unlink()
        os.replace(unfinished, root)


def _is_made(root: Path, settings: AnySettings) -> bool:
    """Whether `root` holds this phantom; False where it is absent or empty, an error where it holds anything else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / MARKER).read_text(encoding="utf-8"))
        form, made, cases = found["format"], found["settings"], found["cases"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{root} holds something that is no phantom: name another folder for the phantom") from error
    if (form, made) != (FORMAT, _plain(settings)):
        raise UserError(f"{root} holds a phantom of other settings: delete it or name another folder")
    for case in cases:
        if not (root / case).exists():
            raise UserError(f"{root / case} is missing from the phantom: delete {root} to have it made anew")
    return True


def _plain(settings: AnySettings) -> object:
    """Settings as JSON has them."""
    return json.loads(json.dumps(settings.model_dump()))


def _cases(settings: AnySettings) -> Iterator[Case]:
    """The largest first, so that no thread is left alone with one at the end."""
    if isinstance(settings, ProjectionSettings):
        for index in range(settings.lungs):
            rng = np.random.default_rng([settings.seed, *settings.set.encode(), index])
            yield Case(f"projections/lung_{index:03}", partial(make_lung, settings=settings, rng=rng))
        return
    kinds = [
        ("paired/lung_{:03}", 100, settings.paired_cases, make_pair),
        ("micro/specimen_{:03}.nii.gz", 0, settings.micro_cases, make_specimen),
        ("clinical/lung_{:03}.nii.gz", 0, settings.clinical_cases, make_chest),
        ("empty/lung_{:03}", 200, settings.empty_cases, make_empty),
    ]
    for kind, (name, first, count, make) in enumerate(kinds):
        for index in range(count):
            rng = np.random.default_rng([settings.seed, kind, index])
            yield Case(name.format(first + index), partial(make, settings=settings, rng=rng))


def _make(folder: Path, settings: AnySettings, show_progress: bool) -> dict[str, Drawn]:
    """Make every case that is not done, several at a time; what was drawn for each."""
    cases = list(_cases(settings))
    drawn = _done(folder, settings)
    futures: dict[Future[Drawn], str] = {}
    with (folder / JOURNAL).open("a", encoding="utf-8") as journal, ThreadPoolExecutor(_workers()) as pool:

        def note(future: Future[Drawn]) -> None:
            name = futures[future]
            drawn[name] = future.result()
            journal.write(json.dumps({"case": name, "drawn": drawn[name]}) + "\n")
            journal.flush()

        try:
            for name, make in cases:
                if name not in drawn:
                    futures[pool.submit(_anew, make, folder / name)] = name
            with Progress(disable=not show_progress) as bar:  # which an error ends, before it is told
                task = bar.add_task("phantom", total=len(cases), completed=len(drawn))
                for future in as_completed(futures):
                    note(future)
                    bar.advance(task)
        except BaseException:  # Ctrl-C, too
            pool.shutdown(cancel_futures=True)  # those under way end, no others start
            for future, name in futures.items():
                if name not in drawn and not future.cancelled() and future.exception() is None:
                    note(future)
            if drawn:
                warn(f"{len(drawn)} of {len(cases)} cases are kept in {folder}: the same settings go on from there")
            else:
                shutil.rmtree(folder)
            raise
    return drawn


def _workers() -> int:
    return min(MAX_WORKERS, os.cpu_count() or 1)


def _anew(make: Callable[[Path], Drawn], path: Path) -> Drawn:
    """Make a case in place of what a process that was killed may have left of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    return make(path)


def _done(folder: Path, settings: AnySettings) -> dict[str, Drawn]:
    """What an earlier run of these settings has made, and drawn; of others nothing is left."""
    journal = folder / JOURNAL
    try:
        first, *lines = journal.read_text(encoding="utf-8").split("\n")
        same = json.loads(first) == _plain(settings)
        noted = [json.loads(line) for line in lines[:-1]] if same else []  # a line that was cut off has no end
    except (OSError, ValueError):
        same, noted = False, []
    if not same:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    noted = [line for line in noted if (folder / line["case"]).exists()]
    text = "".join(json.dumps(line) + "\n" for line in [settings.model_dump(), *noted])
    journal.write_text(text, encoding="utf-8")
    return {line["case"]: line["drawn"] for line in noted}
