"""Scores a network at the end of its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ctsr.data.pairs import find_pairs, load_pair
from ctsr.data.preparing.store import PreparedCase
from ctsr.errors import warn
from ctsr.evaluation.at_end_of_training import measure
from ctsr.evaluation.questions.competitors import TrainedNetwork
from ctsr.evaluation.questions.test_set import TestSet
from ctsr.evaluation.questions.tiles import Cut
from ctsr.records.row import Row
from datamodules import ScansDataModule
from lightning_modules.gan import GAN
from lightning_modules.sr_cyclegan import SRCycleGAN
from lightning_modules.srgan import SRGAN


def measure_held_out(module: GAN, data: ScansDataModule, folder: Path) -> list[Row]:
    """Scores the trained network on held-out cases, as far as there are any and it enlarges."""
    if not isinstance(module, SRGAN | SRCycleGAN):
        return []
    generator = module.G1 if isinstance(module, SRGAN) else module.GB
    network = TrainedNetwork.of(module.card, module.enlarger, generator)
    percentiles = data.keys.micro.percentiles
    pairs = [] if data.paired_root is None else [load_pair(path, percentiles) for path in find_pairs(data.paired_root)]
    clinical = clinical_held_out(data.cases.get("clinical", {}))
    micro = data.cases["micro"]["test"]
    test = TestSet(micro, pairs, clinical=clinical) if "clinical" in module.card.grey_maps else TestSet(micro)
    return measure(network, test, folder, Cut(cover=data.keys.micro.cover))


def clinical_held_out(parts: Mapping[str, Sequence[PreparedCase]]) -> list[PreparedCase]:
    """Clinical cases to ask a network about: for testing, else for validation, which is told; none is trained on.

    Args:
        parts: Part -> its cases; empty where no clinical ones are given.
    """
    if not parts or parts["test"]:
        return list(parts.get("test", []))
    # Of one case alone, validation has that of training.
    held_out = [case for case in parts["val"] if case not in parts["train"]]
    if held_out:
        warn("no clinical case is for testing: figures of the protocol clinical are of validation cases")
    return held_out
