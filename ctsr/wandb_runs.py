"""W&B's runs: which one a folder's is, also when it goes on, and runs that hold tables and pictures alone."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctsr.files import replacing

_BY_TIME = re.compile(r"\w+-\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(-\w+)?")  # the name of conf/logger/wandb.yaml; a stage


@dataclass(frozen=True)
class Numbers:
    """A table whose numbers are numbers.

    Attributes:
        head: Headings of the columns.
        lines: Cells; None where there is nothing.
    """

    head: Sequence[str]
    lines: Sequence[Sequence[str | float | None]]

    def for_wandb(self) -> Any:
        """W&B's own kind of table."""
        import wandb  # half a second, for those who ask for it

        return wandb.Table(columns=list(self.head), data=[list(line) for line in self.lines])


def log_report(tables: Mapping[str, Numbers], pictures: Iterable[Path], folder: Path, **settings: Any) -> None:
    """Logs tables and pictures to W&B as a run of their own; offline without an account.

    Args:
        tables: By title; logged as tables/<title>, for a picture may have the same.
        pictures: PNG files; logged as pictures/<stem>.
        folder: Where an offline run is kept, and what the run is named after.
        **settings: Of `wandb.init`, such as `project`, `group` and `job_type`; `offline` as in conf/logger.
    """
    import wandb

    offline = settings.pop("offline", None)
    settings |= {"name": folder.resolve().name, "dir": str(folder), "resume": "allow"}
    settings |= {"mode": "offline" if is_offline(offline) else None}
    with wandb.init(**settings | identity(folder, settings)) as run:
        media: dict[str, Any] = {f"tables/{title}": table.for_wandb() for title, table in tables.items()}
        run.log(media | {f"pictures/{picture.stem}": wandb.Image(str(picture)) for picture in pictures})


def identity(folder: Path, given: Mapping[str, Any], together: str | None = None) -> dict[str, Any]:
    """Id, name and group of a run, kept in its folder, so that a resumed run is the same one, in its place.

    Args:
        folder: The run folder.
        given: What this start of it was given: a group counts, and so does a name that does not tell a time only.
        together: The group where none was given, now or before.
    """
    file = folder / "wandb_id"
    kept = file.read_text(encoding="utf-8").split("\n") if file.is_file() else [uuid.uuid4().hex[:8]]
    run, name, group, *_ = [*kept, "", ""]  # older files hold an id alone
    typed = given.get("name")
    name = typed if typed and not (name and _BY_TIME.fullmatch(typed)) else name
    group = given.get("group") or group or together or ""
    if [run, name, group] != kept:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(file) as partial:
            partial.write_text("\n".join((run, name, group)), encoding="utf-8")
    return {"id": given.get("id") or run, "name": name or None, "group": group or None}


def is_offline(asked: bool | None) -> bool:
    """Whether all is kept on disk: as asked for, or else where no key is known and WANDB_MODE says nothing."""
    if asked is not None:
        return asked
    import wandb

    return "WANDB_MODE" not in os.environ and not wandb.login(prompt=False)
