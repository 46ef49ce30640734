"""What a run's groups hold is what the classes that are built of them take, with the same words."""

from __future__ import annotations

import csv
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch

from ctsr.losses.ssim import SSIMLoss
from ctsr.networks.patchgan import PatchGAN
from ctsr.networks.resnet import ResNetGenerator
from ctsr.networks.scanner import ScannerGenerator
from ctsr.networks.sr_cyclegan import EnlargingGenerator, ReducingGenerator
from ctsr.networks.sr_discriminator import SRDiscriminator
from ctsr.networks.srresnet import SRResNet
from ctsr.networks.synthesis import build_g1
from ctsr.records import networks
from ctsr.records.settings import Settings
from ctsr.records.stages import SSIM, Decay, SRBest, SRCycleGANBest, SynthBest
from ctsr.records.trainer import TrainerSettings
from lightning_modules import SRCycleGAN
from lightning_modules.gan import DECAYS
from tests.checkpoints import card

PAIRS: list[tuple[type[Settings], Callable[..., Any]]] = [
    (networks.ResNet, ResNetGenerator),
    (networks.Judge, PatchGAN),
    (networks.Enlarger, SRResNet),
    (networks.ImageJudge, SRDiscriminator),
    (networks.EnlargingGenerator, EnlargingGenerator),
    (networks.ReducingGenerator, ReducingGenerator),
    (SSIM, SSIMLoss),
]


def words(annotation: Any) -> set[Any]:
    return set(get_args(annotation)) if get_origin(annotation) is Literal else set()


@pytest.mark.parametrize(("group", "built"), PAIRS)
def test_a_group_has_the_arguments_of_what_is_built_of_it(group: type[Settings], built: Any) -> None:
    taken = set(inspect.signature(built).parameters) - {"noise"}  # of a ResNet: given by build_g1
    assert set(group.model_fields) == taken
    hints = get_type_hints(built.__init__)
    for name, field in group.model_fields.items():
        assert words(field.annotation) == words(hints[name]), name


def test_g1_is_a_resnet_or_a_scanner_of_the_same_keys() -> None:
    assert set(networks.Synthesizer.model_fields) == {*networks.ResNet.model_fields, "kind", "greys", "kernel", "noise"}
    own = set(inspect.signature(build_g1).parameters) - {"arguments", "gain", "offset"}  # calibrated, or learned
    assert own == {"kind", "greys", "kernel", "noise"}
    assert {"greys", "kernel", "noise"} <= set(inspect.signature(ScannerGenerator).parameters)
    with pytest.raises(ValueError, match="kind must be scanner, resnet"):
        build_g1(kind="other")


def test_the_schedules_are_those_that_there_are() -> None:
    assert words(Decay) == set(DECAYS)


def test_the_trainers_keys_are_lightnings() -> None:
    from lightning import Trainer

    assert set(TrainerSettings.model_fields) - {"srun"} <= set(inspect.signature(Trainer).parameters)


def monitors(best: type[Settings]) -> set[str]:
    return {word for part in get_args(best.model_fields["monitor"].annotation) for word in words(part)}


def test_what_can_be_monitored_is_what_a_validation_logs(smoke_run: Path) -> None:
    grids = {"val/grid_peak", "val/bicubic_grid_peak"}  # the patches left by the margin have 48 pixels: too few
    for folder, best, small in ((smoke_run / "synth", SynthBest, set()), (smoke_run, SRBest, grids)):
        with (folder / "metrics.csv").open() as stream:
            logged = {name for name in csv.DictReader(stream).fieldnames or [] if name.startswith("val/")}
        assert monitors(best) == logged | small
        assert not logged & small
    tiny = {"filters": 8, "blocks": 0}
    judge = {"filters": 2, "layers": 1}
    optimizer = {"lr": 1e-3, "betas": [0.5, 0.999], "decay": "linear", "decay_start": 0.5, "clip": None}
    loss = {"lambda_cycle": 1.0, "lambda_scale": 1.0, "ssim": {}}
    module = SRCycleGAN(
        networks={"GA": tiny, "GB": tiny, "DA": judge, "DB": judge},
        loss=loss,
        optimizer=optimizer,
        pool_size=0,
        aligned_fraction=0.0,
        seed=0,
        card=card(),
    )
    seen = torch.rand(1, 1, 96, 96)
    logged = {name for measures in module.measures.values() for name in measures(seen, seen)}  # type: ignore[operator]
    assert monitors(SRCycleGANBest) == logged
