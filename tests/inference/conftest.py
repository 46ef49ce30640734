"""A small network's checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.checkpoints import sr_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "last.ckpt"
    torch.save(sr_checkpoint(), path)
    return path
