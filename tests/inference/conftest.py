"""A small network, and its checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ctsr.checkpoint import SRModel, load_sr
from tests.checkpoints import sr_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "last.ckpt"
    torch.save(sr_checkpoint(), path)
    return path


@pytest.fixture
def model(checkpoint: Path) -> SRModel:
    """A network whose learned part is silenced: it interpolates linearly, so that its output is known."""
    loaded = load_sr(checkpoint)
    torch.nn.init.zeros_(loaded.GS.last.weight)
    torch.nn.init.zeros_(loaded.GS.last.bias)
    return replace(loaded, card=loaded.card.changed(clinical_slice_mm=1.5))
