"""The LightningModule of a stage."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from ctsr.data.materials import gain_and_offset
from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window
from ctsr.imaging.pyramid import GaussianPyramid
from ctsr.imaging.volume import SCALE
from ctsr.inference.checkpoint import FORMAT, load_g1
from ctsr.networks.synthesis import build_g1
from ctsr.records.run import Run, as_yaml
from ctsr.records.stages import SRCycleGANStage, SRStage, Stage, SynthStage
from ctsr.training.grey_maps import fit_clinical_map, fit_synthetic_map
from ctsr.versions import versions
from datamodules import ScansDataModule
from lightning_modules.cyclegan_ssim import CycleGANSSIM
from lightning_modules.gan import GAN
from lightning_modules.sr_cyclegan import SRCycleGAN
from lightning_modules.srgan import SRGAN

GREY_MAP_PATCHES = 128
ENDS = (-2.0, 2.0)  # greys between which a line is kept: [-1, 1], and what networks overshoot it by


def build_module(run: Run, stage: Stage, data: ScansDataModule, lr_factor: float = 1.0) -> GAN:
    """Make the stage's LightningModule, which knows what to write into its checkpoints.

    Args:
        run: The run.
        stage: One of its stages.
        data: Its data, after `setup`: greys are fitted on training cases.
        lr_factor: Multiplies the schedule of the learning rate.
    """
    config = run.config_of(stage)
    networks, loss, optimizer = stage.networks.to_plain(), config["loss"], stage.optimizer.to_plain()
    trained_on: dict[str, str] = {}  # by a G1 that is taken over
    grey_maps = {}
    if "clinical" in data.cases:
        clinical, micro = data.cases["clinical"]["train"], data.cases["micro"]["train"]
        grey_maps["clinical"] = fit_clinical_map(clinical, micro, GaussianPyramid())
    module: GAN
    if isinstance(stage, SynthStage):
        if stage.networks.G1.kind == "scanner" and stage.networks.G1.greys == "calibrated":
            window = Window(*run.data.clinical.window)
            gain, offset = gain_and_offset(data.cases["micro"]["train"], run.data.micro.materials, window)
            networks["G1"] |= {"gain": gain, "offset": offset}
            grey_maps["calibrated"] = GreyMap(np.array(ENDS), gain * np.array(ENDS) + offset)
        module = CycleGANSSIM(networks, loss, optimizer, stage.pool_size, run.seed)
    elif isinstance(stage, SRCycleGANStage):
        module = SRCycleGAN(networks, loss, optimizer, stage.pool_size, stage.aligned_fraction, run.seed)
        module.grey_maps = grey_maps
    else:
        G1, arguments, trained_on = synthesis(run, stage, data, grey_maps)
        networks = {"G1": arguments, **networks}
        noise, spread = list(stage.noise), list(stage.spread)
        module = SRGAN(networks, loss, optimizer, stage.margin, stage.ema, noise, spread)
        module.G1.net.load_state_dict(G1.state_dict())
        grey_maps["synthetic"] = fit_synthetic_map(G1, data.train_slabs(GREY_MAP_PATCHES), module.f)
        module.grey_maps = grey_maps
    module.accumulate, module.lr_factor = run.data.accumulate, lr_factor
    facts = data.describe()
    facts["trained_on"] = {**trained_on, **facts["trained_on"]}
    module.facts = {
        "format": FORMAT,
        "stage": stage.name,
        "inputs": stage.inputs if isinstance(stage, SRStage) else None,
        "name": run.method,
        "seed": run.seed,
        "scale": SCALE,
        "networks": networks,
        "grey_maps": {domain: grey_map.to_dict() for domain, grey_map in grey_maps.items()},
        **facts,
        "versions": versions(),
        "config": as_yaml(config),
    }
    return module


def synthesis(
    run: Run, stage: SRStage, data: ScansDataModule, grey_maps: dict[str, GreyMap]
) -> tuple[nn.Module, dict[str, Any], dict[str, str]]:
    """What makes ŷ of f(x) in stage sr, its arguments, and what it was trained on.

    Completes the grey maps by those that G1 comes with.
    """
    if stage.inputs == "G1":
        assert run.synth_ckpt is not None
        G1, meta = load_g1(run.synth_ckpt)
        data.must_match(meta, run.synth_ckpt)
        for name, grey_map in meta["grey_maps"].items():
            grey_maps.setdefault(name, GreyMap.from_dict(grey_map))
        return G1, meta["networks"]["G1"], dict(meta["trained_on"])
    if stage.inputs == "quantiles":
        back = grey_maps["clinical"].inverse()
        arguments: dict[str, Any] = {"kind": "quantiles", **back.to_dict()}
    else:
        arguments = {"kind": "unchanged"}
    return build_g1(**arguments), arguments, {}
