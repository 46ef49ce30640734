"""The plan of a training from its configuration file, without the programs that run it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ctsr.data.plan import DOMAINS, Plan
from ctsr.errors import UserError

HOW = "give a run's config.yaml, or what train.py prints with --cfg job --resolve"
_BOTH = ("root", "spacing", "file_spacing", "series", "masks", "patch", "cover")
_WANTED = {
    "clinical": (*_BOTH, "window"),
    "micro": (*_BOTH, "slab_mm", "target", "percentiles"),
    "split": ("mode", "val", "test", "gap_mm"),
}


def planned(file: Path) -> Plan:
    """What a training with a configuration would take for its data.

    Args:
        file: `config.yaml` of a run folder, or what `train.py --cfg job --resolve` printed; paths in it are relative to
            the working folder, as in training.

    Raises:
        UserError: It cannot be read, is no configuration of a training, or still holds `${...}`.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    keys = content.get("data") if isinstance(content, dict) else None
    if not isinstance(keys, dict) or "stage" not in content:
        raise UserError(f"{file} is no configuration of a training: {HOW}")
    for group, names in _WANTED.items():
        for name in names:
            if not isinstance(keys.get(group), dict) or name not in keys[group]:
                raise UserError(f"{file} has no data.{group}.{name}: {HOW}")
    open_ones = [text for text in _texts([keys, content["stage"], content.get("seed")]) if "${" in text]
    if open_ones:
        raise UserError(f"{file} holds {open_ones[0]}, which is open: print it with --resolve, too")
    return Plan(keys, int(content.get("seed") or 0), ("micro",) if content["stage"] == "sr" else DOMAINS)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for below in value.values() if isinstance(value, dict) else value:
            yield from _texts(below)
