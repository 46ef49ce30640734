"""The DataModule of a stage."""

from __future__ import annotations

from ctsr.records.run import Run
from ctsr.records.stages import SRStage, Stage
from datamodules.micro import MicroDataModule
from datamodules.pairs import PairsDataModule
from datamodules.scans import ScansDataModule
from datamodules.unpaired import UnpairedDataModule


def build_data(run: Run, stage: Stage) -> ScansDataModule:
    """The stage's DataModule."""
    keys = run.data.to_plain() | {"seed": run.seed, "show_progress": run.trainer.enable_progress_bar}
    if not isinstance(stage, SRStage):
        return UnpairedDataModule(**keys)
    if stage.inputs == "pairs":
        assert stage.pairs is not None
        return PairsDataModule(stage.pairs, **keys)
    return MicroDataModule(**keys)
