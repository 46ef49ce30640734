"""Model cards written by hand, and a small checkpoint, as training writes them."""

from __future__ import annotations

from typing import Any

import torch

from ctsr.networks.resnet import ResNetGenerator
from ctsr.networks.srresnet import SRResNet
from ctsr.records.card import ModelCard, read_card

STRAIGHT = {"knots": [-1.0, 1.0], "values": [-1.0, 1.0]}
GS = {"channels": 4, "blocks": 1, "norm": "batch", "skip": "bilinear"}
G1 = {"filters": 4, "blocks": 1, "norm": "none"}


def plain_card(spacing: float = 0.625, **changes: Any) -> dict[str, Any]:
    """Plain values: what a checkpoint holds under "ctsr"."""
    card = {
        "format": 3,
        "stage": "sr",
        "inputs": "G1",
        "name": "scanner",
        "seed": 0,
        "scale": 8,
        "networks": {},
        "grey_maps": {"clinical": STRAIGHT, "synthetic": STRAIGHT},
        "windows": {"clinical": [-1000.0, 100.0], "micro": [100.0, 5000.0]},
        "spacing": {"clinical": [spacing, spacing], "micro": [spacing / 8, spacing / 8]},
        "clinical_slice_mm": 0.6,
        "preparation": {
            "data.clinical.window": [-1000.0, 100.0],
            "data.micro.spacing": "native",
            "data.micro.slab_mm": 0.6,
            "data.micro.percentiles": [0.5, 99.5],
        },
        "cases": {"clinical": {"train": ["a"]}, "micro": {"train": ["b"]}},
        "trained_on": {"0123": "micro case b"},
        "versions": {"ctsr": "0.1.0"},
        "config": "stage: sr\n",
    }
    return card | changes


def card(**changes: Any) -> ModelCard:
    """The same, read."""
    return read_card(plain_card(**changes))


def sr_checkpoint() -> dict[str, Any]:
    """What a checkpoint of stage sr holds to be used; it has no digest of its weights, as former ones."""
    torch.manual_seed(0)
    networks = {"GS.": SRResNet(**GS), "G1.net.": ResNetGenerator(**G1)}
    weights = {prefix + name: value for prefix, net in networks.items() for name, value in net.state_dict().items()}
    return {"state_dict": weights, "ctsr": plain_card(networks={"GS": GS, "G1": G1})}
