"""What `infer.py` is told: the keys of `conf/infer/task/`, typed and checked before anything else is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ctsr.errors import CollectedError, UserError, as_typed
from ctsr.imaging.volume import SCALE
from ctsr.records.scan_settings import Kernel, ScanSettings
from ctsr.records.settings import Settings, Takes, Wording, read
from ctsr.records.values import AsList, Count, Flag, Name, PathText, Share, Text

LEAST_TILE = 64  # micro-CT pixels: less is too little for spectra and patches of textures
TileSide = Annotated[
    int, Field(ge=LEAST_TILE, multiple_of=SCALE), Takes(f"a multiple of {SCALE}, {LEAST_TILE} or more")
]


class Enlargement(ScanSettings):
    """One scan is enlarged."""

    usage: ClassVar[str] = "python infer.py ckpt=<checkpoint> input=<scan> output=<x>.nii.gz"

    task: Literal["scan"]
    ckpt: PathText
    input: PathText
    output: PathText


class Comparison(Settings):
    """Networks are compared on test cases."""

    usage: ClassVar[str] = "python infer.py task=evaluate ckpt=[<checkpoint>,...] data=<folder> output=<folder>"

    task: Literal["evaluate"]
    ckpt: Annotated[PathText | Annotated[tuple[PathText, ...], AsList], Takes("one path, or several: [<path>,...]")]
    data: PathText
    output: PathText
    clinical: PathText | None
    overwrite: Flag
    cache: PathText
    tile_micro: TileSide
    cover: Share
    slices_per_case: Count
    kernel: Kernel
    reference: Name | None
    wandb: Text | None
    device: Text
    workers: Count | Literal["auto"]

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """Their files, also where one is given."""
        return (self.ckpt,) if isinstance(self.ckpt, str) else self.ckpt


TASKS: Mapping[str, type[Enlargement] | type[Comparison]] = {"scan": Enlargement, "evaluate": Comparison}


def read_task(composed: Mapping[str, Any]) -> Enlargement | Comparison:
    """Read a composed configuration.

    Args:
        composed: Plain dicts, lists and values, everything resolved.

    Raises:
        UserError: There is no such task, or paths are not given.
        CollectedError: Keys that the task has not, or values that they do not take: a line each.
    """
    name = as_typed(composed.get("task"))
    if (kind := TASKS.get(name)) is None:
        raise UserError(f"task={name}: give {' or '.join(TASKS)}")
    needed = [key for key in ("ckpt", "input", "data", "output") if key in kind.model_fields]
    if missing := [f"{key}=" for key in needed if not composed.get(key)]:
        raise UserError(f"{' '.join(missing)} missing: {kind.usage}")
    wrong: dict[str, str] = {}
    task = read(kind, composed, wrong, wording=Wording(place=f"task={name}"))
    if task is None:
        raise CollectedError(list(wrong.values()))
    return task
