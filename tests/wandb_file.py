"""Reads what W&B keeps of an offline run: a LevelDB log of protocol buffers (`run-<id>.wandb`)."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

HEADER, BLOCK = 7, 32768  # of the file; of the log
FULL, FIRST, LAST = 1, 2, 4


def records(path: Path) -> Iterator[Record]:
    """The records of a run, in order."""
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    place, parts = HEADER, b""
    while place + 7 <= len(data):
        if BLOCK - place % BLOCK < 7:  # too little left of the block for a header
            place += BLOCK - place % BLOCK
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        if not kind:
            break
        part = data[place + 7 : place + 7 + length]
        place += 7 + length
        parts = part if kind in (FULL, FIRST) else parts + part
        if kind in (FULL, LAST):
            yield Record.FromString(parts)


def history(path: Path) -> list[dict[str, Any]]:
    """Every row that was logged: name -> value."""
    return [
        {(item.key or "/".join(item.nested_key)): json.loads(item.value_json) for item in record.history.item}
        for record in records(path)
        if record.WhichOneof("record_type") == "history"
    ]


def config(path: Path) -> dict[str, Any]:
    """The configuration as the dashboard shows it."""
    values: dict[str, Any] = {}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        update = record.run.config if kind == "run" else record.config if kind == "config" else None
        for item in update.update if update is not None else ():
            values[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
    return values


def axes(path: Path) -> dict[str, str]:
    """Over which scalar each scalar is drawn; a pattern such as "*" for many."""
    return {
        record.metric.name or record.metric.glob_name: record.metric.step_metric
        for record in records(path)
        if record.WhichOneof("record_type") == "metric"
    }


def run(path: Path) -> tuple[str, str, str]:
    """The run's name, group and job type."""
    (first, *_) = (record.run for record in records(path) if record.WhichOneof("record_type") == "run")
    return first.display_name, first.run_group, first.job_type


def summary(path: Path) -> dict[str, Any]:
    """The values by which a dashboard sorts runs, as they were last told; parts of a name are joined by dots."""
    values: dict[str, Any] = {}
    for record in records(path):
        if record.WhichOneof("record_type") == "summary":
            values |= {
                item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.summary.update
            }
    return values


def table(path: Path, name: str) -> list[dict[str, Any]]:
    """The lines of a table that was logged once: heading -> cell."""
    (place,) = (row[f"{name}/path"] for row in history(path) if f"{name}/path" in row)
    content = json.loads((path.parent / "files" / place).read_text(encoding="utf-8"))
    return [dict(zip(content["columns"], line, strict=True)) for line in content["data"]]
