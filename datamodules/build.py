"""The DataModule of a stage, and its cases prepared without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ctsr.data.plan import Plan
from ctsr.records.run import Run
from ctsr.records.stages import SRStage, Stage
from datamodules.micro import MicroDataModule
from datamodules.pairs import PairsDataModule
from datamodules.scans import ScansDataModule
from datamodules.unpaired import UnpairedDataModule


def build_data(run: Run, stage: Stage, plan: Plan) -> ScansDataModule:
    """Make the stage's DataModule, which goes by the plan of the run."""
    bar = run.trainer.enable_progress_bar
    if not isinstance(stage, SRStage):
        return UnpairedDataModule(plan, bar)
    if stage.inputs == "pairs":
        assert stage.pairs is not None
        return PairsDataModule(stage.pairs, plan, bar)
    return MicroDataModule(plan, bar)


def prepare(data: ScansDataModule, folder: Path) -> dict[str, Any]:
    """Prepare every case, write into a folder what there is to look at, and return the names of the cases."""
    data.prepare_data()
    data.setup("fit")
    data.write_overview(folder)
    print(f"cases to look at: {folder / 'data.html'}")
    return {"stage": "prepare", "cases": data.describe().cases}
