"""Every option of every group composes, resolves and is accepted by what it configures."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from lightning import Trainer
from omegaconf import DictConfig, OmegaConf

import train
from ctsr.records.run import AS_TYPED
from ctsr.records.settings import checked
from ctsr.records.trainer import TrainerSettings
from ctsr.training.trainer import build_trainer, devices
from tests.conftest import REPOSITORY

CONF = REPOSITORY / "conf"


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides))


def trainer(cfg: DictConfig) -> TrainerSettings:
    return checked(TrainerSettings, train.plain(cfg.trainer), "trainer")


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize(
    "override",
    [f"{group}={name}" for group in ("data", "hardware", "logger", "experiment", "method") for name in options(group)],
)
@pytest.mark.parametrize("stage", options("stage"))
def test_every_option_resolves(stage: str, override: str) -> None:
    cfg = composed(f"stage={stage}", override)
    OmegaConf.to_container(cfg, resolve=False, throw_on_missing=True)
    assert cfg.stage == stage
    assert devices(trainer(cfg)) >= 1


@pytest.mark.parametrize("series", ["LUNG 1.0 (B60f), iDose [3]", "3 'LUNG, [3]' (8 slices)", "7", "'LUNG'"])
def test_a_series_is_a_text(series: str) -> None:
    typed = ["stage=synth", "data=volumes", f"data.clinical.series={series}", f"data.micro.series={series}"]
    cfg = composed(*AS_TYPED.quoted(typed))
    for domain in ("clinical", "micro"):
        assert str(OmegaConf.to_container(cfg.data, resolve=True)[domain]["series"]) == series.strip("'")


@pytest.mark.parametrize("experiment", ["paper_synth", "paper_sr", "paper_sr_cyclegan", "demo"])
def test_experiments_choose_their_stage(experiment: str) -> None:
    assert (
        composed(f"experiment={experiment}").stage
        == {"paper_synth": "synth", "paper_sr": "sr", "paper_sr_cyclegan": "sr_cyclegan", "demo": "all"}[experiment]
    )


@pytest.mark.parametrize("stage", ["synth", "sr"])
def test_trainer_is_built_with_ddp_that_works(stage: str, tmp_path: Path) -> None:
    given = ("name=mine", "sr.inputs=fx") if stage == "sr" else ()  # so that it needs no checkpoint
    run = train.typed(composed(f"stage={stage}", "trainer.accelerator=cpu", "trainer.devices=4", *given))
    trainer = build_trainer(run, run.stages[0], tmp_path)
    assert isinstance(trainer, Trainer)
    assert trainer.world_size == 4
    assert trainer.max_epochs == 200
    assert trainer.strategy._ddp_kwargs == {"find_unused_parameters": True}  # type: ignore[attr-defined]


def test_type_of_a_device_list() -> None:
    for asked, count in (("4", 4), ("[0,1]", 2), ("'0,3'", 2), ("-1", 1), ("auto", 1)):
        cfg = composed("stage=synth", "trainer.accelerator=cpu", f"trainer.devices={asked}", "trainer.num_nodes=2")
        assert devices(trainer(cfg)) == 2 * count, asked
