"""The LightningModule of a stage."""

from __future__ import annotations

from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from ctsr.checkpoint import Checkpoint
from ctsr.data.preparing.materials import gain_and_offset
from ctsr.errors import warn_once
from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window
from ctsr.imaging.pyramid import GaussianPyramid
from ctsr.imaging.volume import SCALE
from ctsr.networks.synthesis import build_g1
from ctsr.records.card import FORMAT, ModelCard, read_card
from ctsr.records.run import Run, as_yaml
from ctsr.records.stages import SRCycleGANStage, SRStage, Stage, SynthStage
from ctsr.training.given import take
from ctsr.training.grey_maps import fit_clinical_map, fit_synthetic_map
from ctsr.versions import versions
from datamodules import ScansDataModule
from lightning_modules.cyclegan_ssim import CycleGANSSIM
from lightning_modules.gan import GAN
from lightning_modules.sr_cyclegan import SRCycleGAN
from lightning_modules.srgan import SRGAN

GREY_MAP_PATCHES = 128
ENDS = (-2.0, 2.0)  # greys between which a line is kept: [-1, 1], and what networks overshoot it by

GreyMaps = dict[str, GreyMap]


def take_g1(run: Run, stage: Stage) -> Checkpoint | None:
    """The checkpoint that a stage takes G1 from, with no other weights; None: it takes none."""
    if not isinstance(stage, SRStage) or stage.inputs != "G1":
        return None
    assert run.synth_ckpt is not None
    return take(run.synth_ckpt).only("G1")


def build_module(
    run: Run, stage: Stage, data: ScansDataModule, G1: Checkpoint | None = None, lr_factor: float = 1.0
) -> GAN:
    """Make the stage's LightningModule, complete, with the card that its checkpoints will have.

    Args:
        run: The run.
        stage: One of its stages.
        data: Its data, after `setup`: greys are fitted on training cases.
        G1: See `take_g1`.
        lr_factor: Multiplies the schedule of the learning rate.
    """
    networks, grey_maps = stage.networks.to_plain(), clinical_map(data)
    common: dict[str, Any] = {
        "loss": run.config_of(stage)["loss"],
        "optimizer": stage.optimizer.to_plain(),
        "accumulate": run.data.accumulate,
        "lr_factor": lr_factor,
    }
    match stage:
        case SynthStage():
            if stage.networks.G1.kind == "scanner" and stage.networks.G1.greys == "calibrated":
                gain, offset = calibration(run, data)
                networks["G1"] |= {"gain": gain, "offset": offset}
                grey_maps["calibrated"] = GreyMap(np.array(ENDS), gain * np.array(ENDS) + offset)
            card = model_card(run, stage, data, networks, grey_maps)
            return CycleGANSSIM(networks=networks, pool_size=stage.pool_size, seed=run.seed, card=card, **common)
        case SRStage():
            note = None
            if G1 is not None:
                data.must_match(G1.card, str(G1.path))
                if (note := data.unlike(G1.card, str(G1.path))) is not None:
                    rank_zero_only(warn_once)(note)
                grey_maps = G1.card.grey_maps | grey_maps
            network, arguments = synthesis(stage, G1, grey_maps)
            networks = {"G1": arguments, **networks}
            grey_maps["synthetic"] = fit_synthetic_map(network, data.train_slabs(GREY_MAP_PATCHES), GaussianPyramid())
            return SRGAN(
                networks=networks,
                margin=stage.margin,
                ema=stage.ema,
                noise=list(stage.noise),
                spread=list(stage.spread),
                G1_weights=network.state_dict(),
                card=model_card(run, stage, data, networks, grey_maps, G1, note),
                **common,
            )
        case SRCycleGANStage():
            return SRCycleGAN(
                networks=networks,
                pool_size=stage.pool_size,
                aligned_fraction=stage.aligned_fraction,
                seed=run.seed,
                card=model_card(run, stage, data, networks, grey_maps),
                **common,
            )


def clinical_map(data: ScansDataModule) -> GreyMaps:
    """The map of clinical greys to those of f(x), where there are clinical cases."""
    if "clinical" not in data.cases:
        return {}
    clinical, micro = data.cases["clinical"]["train"], data.cases["micro"]["train"]
    return {"clinical": fit_clinical_map(clinical, micro, GaussianPyramid())}


def calibration(run: Run, data: ScansDataModule) -> tuple[float, float]:
    """Gain and offset of clinical greys to greys of f(x), by air and tissue in the µCT."""
    window = Window(*run.data.clinical.window)
    return gain_and_offset(data.cases["micro"]["train"], run.data.micro.materials, window)


def synthesis(stage: SRStage, G1: Checkpoint | None, grey_maps: GreyMaps) -> tuple[nn.Module, dict[str, Any]]:
    """What makes ŷ of f(x) in stage sr, and its arguments."""
    if G1 is not None:
        return G1.network("G1"), G1.card.networks["G1"]
    if stage.inputs == "quantiles":
        arguments: dict[str, Any] = {"kind": "quantiles", **grey_maps["clinical"].inverse().to_dict()}
    else:
        arguments = {"kind": "unchanged"}
    return build_g1(**arguments), arguments


def model_card(
    run: Run,
    stage: Stage,
    data: ScansDataModule,
    networks: dict[str, dict[str, Any]],
    grey_maps: GreyMaps,
    G1: Checkpoint | None = None,
    note: str | None = None,
) -> ModelCard:
    """What the stage's checkpoints will say of themselves: what a G1 was trained on, that is taken over, too."""
    of_data = data.describe()
    return read_card(
        {
            **of_data.to_plain(),
            "trained_on": (G1.card.trained_on if G1 is not None else {}) | of_data.trained_on,
            "format": FORMAT,
            "stage": stage.name,
            "inputs": stage.inputs if isinstance(stage, SRStage) else None,
            "name": run.name,
            "seed": run.seed,
            "scale": SCALE,
            "networks": networks,
            "grey_maps": grey_maps,
            "versions": versions(),
            "config": as_yaml(run.config_of(stage)),
            **({} if note is None else {"notes": [note]}),
        }
    )
