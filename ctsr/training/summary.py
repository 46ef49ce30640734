"""What a run says at its end: `summary.json` and one screen of text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.table import Column, Table

from ctsr.files import replacing
from ctsr.records.card import ModelCard
from ctsr.records.row import Row, means, validation_name
from ctsr.records.run import Run
from ctsr.records.stages import Stage
from ctsr.training.commands import to_follow

SUMMARY = "summary.json"


def summarise(
    run: Run,
    stage: Stage,
    trainer: Trainer,
    card: ModelCard,
    rows: Sequence[Row],
    seconds: float,
    folder: Path,
) -> dict[str, Any]:
    """Tell what a stage came to: the first process writes `summary.json` and prints it.

    Args:
        run: The run.
        stage: That was trained.
        trainer: That trained it; its last validation's figures are told.
        card: What its checkpoint says of itself.
        rows: What was measured on held-out cases.
        seconds: That the training took.
        folder: The run folder.

    Returns:
        What `summary.json` holds; in other processes without figures.
    """
    summary: dict[str, Any] = {
        "stage": stage.name,
        "method": run.name,
        "checkpoint": str(folder / "checkpoints" / "last.ckpt"),
        "versions": card.versions,
        "seed": run.seed,
        "cases": card.cases,
        "seconds": round(seconds, 1),
        "rows": [],
    }
    if card.notes:
        summary["notes"] = card.notes
    if trainer.is_global_zero:
        summary["rows"] = validation_rows(trainer, run.name) + [row.to_dict() for row in means(rows)]
        summary["per_case"] = [row.to_dict() for row in rows]
        write_summary(summary, folder)
        print_summary(summary, folder, to_follow(run, stage, summary["checkpoint"]))
    return summary


def finished(folder: Path) -> dict[str, Any] | None:
    """What a stage that was trained to its end left."""
    summary = folder / SUMMARY
    return json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else None


def tell_again(run: Run, stage: Stage, folder: Path) -> dict[str, Any]:
    """Tell what a finished stage came to, and return what its `summary.json` holds."""
    summary = finished(folder)
    assert summary is not None
    tell_complete(stage)
    print_summary(summary, folder, to_follow(run, stage, summary["checkpoint"]))
    return summary


def write_summary(summary: Mapping[str, Any], folder: Path) -> None:
    """Writes `folder/summary.json`, whole or not at all."""
    with replacing(folder / SUMMARY) as partial:
        partial.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


@rank_zero_only
def print_summary(summary: Mapping[str, Any], folder: Path, following: str) -> None:
    """Prints a table for each protocol, what should be known, the checkpoint and the command that follows."""
    console = Console(markup=False, emoji=False)  # paths and names are printed as they are
    console.rule(f"stage {summary['stage']}: {summary['seconds']:.0f} s")
    protocols = dict.fromkeys(row["protocol"] for row in summary["rows"])
    for protocol in protocols:
        rows = [row for row in summary["rows"] if row["protocol"] == protocol]
        metrics = list(dict.fromkeys(row["metric"] for row in rows))
        columns = [Column(name, overflow="fold") for name in ("method", *metrics)]  # no name is cut
        table = Table(*columns, title=f"protocol: {protocol}", title_justify="left")
        for method in dict.fromkeys(row["method"] for row in rows):
            values = {row["metric"]: f"{row['value']:.3f}" for row in rows if row["method"] == method}
            table.add_row(method, *(values.get(metric, "") for metric in metrics))
        console.print(table)
    console.print(f"checkpoint  {summary['checkpoint']}", soft_wrap=True, highlight=False)
    console.print(
        f"figures     {folder / 'summary.json'}, {folder / 'metrics.csv'}, {folder / 'panels'}",
        soft_wrap=True,
        highlight=False,
    )
    for note in summary.get("notes", []):
        console.print(f"note        {note}", soft_wrap=True, highlight=False)
    console.print(f"next        {following}", soft_wrap=True, highlight=False)


def validation_rows(trainer: Trainer, method: str) -> list[dict[str, Any]]:
    """The last validation's figures, as rows of the summary."""
    return [
        {"protocol": "validation", "method": who, "metric": metric, "value": float(value)}
        for name, value in trainer.callback_metrics.items()
        if name.startswith("val/")
        for metric, who in [validation_name(name, method)]
    ]


def tell_complete(stage: Stage) -> None:
    """Print that a stage was trained to its end before."""
    tell(f"stage {stage.name} is complete: no epoch is left to train")


def tell(line: str) -> None:
    """Prints a line, once for all processes of a run."""
    rank_zero_only(print)(line, flush=True)  # a log shows it at once
