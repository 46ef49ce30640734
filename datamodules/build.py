"""The DataModule of a stage, and its cases prepared without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ctsr.records.run import Run
from ctsr.records.stages import SRStage, Stage
from datamodules.micro import MicroDataModule
from datamodules.pairs import PairsDataModule
from datamodules.scans import ScansDataModule
from datamodules.unpaired import UnpairedDataModule


def build_data(run: Run, stage: Stage) -> ScansDataModule:
    """Make the stage's DataModule."""
    keys = run.data.to_plain() | {"seed": run.seed, "show_progress": run.trainer.enable_progress_bar}
    if not isinstance(stage, SRStage):
        return UnpairedDataModule(**keys)
    if stage.inputs == "pairs":
        assert stage.pairs is not None
        return PairsDataModule(stage.pairs, **keys)
    return MicroDataModule(**keys)


def prepare(data: ScansDataModule, folder: Path) -> dict[str, Any]:
    """Prepare every case, write into a folder what there is to look at, and return the names of the cases."""
    data.prepare_data()
    data.setup("fit")
    data.write_overview(folder)
    print(f"cases to look at: {folder / 'data.html'}")
    return {"stage": "prepare", "cases": data.describe().cases}
