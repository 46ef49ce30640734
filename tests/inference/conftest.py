"""A small network and its checkpoint, laid out as training writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ctsr.networks.resnet import ResNetGenerator
from ctsr.networks.srresnet import SRResNet

GS = {"channels": 4, "blocks": 1, "norm": "batch", "skip": "bilinear"}
G1 = {"filters": 4, "blocks": 1, "norm": "none"}


def sr_checkpoint(spacing: float = 0.625) -> dict[str, Any]:
    torch.manual_seed(0)
    networks = {"GS.": SRResNet(**GS), "G1.net.": ResNetGenerator(**G1)}
    return {
        "state_dict": {
            prefix + name: value for prefix, net in networks.items() for name, value in net.state_dict().items()
        },
        "ctsr": {
            "format": 3,
            "stage": "sr",
            "inputs": "G1",
            "name": "scanner",
            "seed": 0,
            "scale": 8,
            "networks": {"GS": GS, "G1": G1},
            "windows": {"clinical": [-1000.0, 100.0], "micro": [100.0, 5000.0]},
            "spacing": {"clinical": [spacing, spacing], "micro": [spacing / 8, spacing / 8]},
            "clinical_slice_mm": 0.6,
            "grey_maps": {"clinical": {"knots": [-1.0, 1.0], "values": [-1.0, 1.0]}},
            "trained_on": {"0123": "micro case b"},
            "preparation": {"data.micro.slab_mm": 0.6},
            "cases": {"clinical": {"train": ["a"]}, "micro": {"train": ["b"]}},
            "versions": {"ctsr": "0.1.0"},
            "config": "stage: sr\n",
        },
    }


@pytest.fixture
def contents() -> dict[str, Any]:
    """What a checkpoint holds, to be spoiled."""
    return sr_checkpoint()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "last.ckpt"
    torch.save(sr_checkpoint(), path)
    return path
