"""Trains a stage: `python train.py stage=synth|sr|all [key=value ...]`; see conf/ and README.md."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger
from omegaconf import DictConfig, OmegaConf

from ctsr.callbacks.curves import Curves
from ctsr.callbacks.loggers import finish, log_config
from ctsr.callbacks.panels import Panels
from ctsr.callbacks.throughput import Throughput
from ctsr.cli import quoted, run_cli
from ctsr.errors import UserError
from ctsr.evaluation.grey_maps import fit_clinical_map, fit_synthetic_map
from ctsr.evaluation.held_out import measure
from ctsr.evaluation.results import Row, means, validation_name
from ctsr.evaluation.summary import print_summary, write_summary
from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window
from ctsr.imaging.pyramid import SCALE, GaussianPyramid
from ctsr.inference.checkpoint import FORMAT, load_g1
from ctsr.versions import versions
from datamodules import MicroDataModule, ScansDataModule, UnpairedDataModule
from lightning_modules import SRGAN, CycleGANSSIM
from lightning_modules.gan import GAN

PATHS = ("synth_ckpt", "resume", "data.clinical.root", "data.micro.root", "data.paired.root", "data.cache")
GREY_MAP_PATCHES = 128
QUIET = (  # what Lightning says of things that are meant
    ".*isinstance.treespec, LeafSpec.*",
    ".*does not have many workers.*",
    ".*exists and is not empty.*",
    ".*module.s. in eval mode at the start of training.*",  # G1
    ".*lr_scheduler.step.* before .optimizer.step.*",  # DS during the warm-up
)
for message in QUIET:
    warnings.filterwarnings("ignore", message=message)
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


@hydra.main(config_path="conf", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> None:
    """The command line: trains what was composed into Hydra's run folder."""
    if code := run_cli(lambda: run(cfg)):  # caught in here: Hydra would add lines of its own
        sys.exit(code)


def run(cfg: DictConfig) -> None:
    """Trains into Hydra's run folder."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN and devices(cfg) > 1:
        raise UserError("a sweep (-m) runs each job on one device: leave trainer.devices=1, or start the runs singly")
    folder = Path(hydra_config.runtime.output_dir)
    train(cfg, folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)


def train(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Trains what `cfg.stage` says.

    Args:
        cfg: The composed configuration.
        folder: The run folder; stage `all` keeps stage synth in `folder/synth` and stage sr in `folder` itself.

    Returns:
        What `summary.json` holds.
    """
    check(cfg)
    if cfg.prepare_only:
        return prepare(cfg, folder)
    if cfg.stage != "all":
        return fit(cfg, folder)
    synth = fit(with_values(cfg, stage="synth"), folder / "synth")
    return fit(with_values(cfg, stage="sr", synth_ckpt=synth["checkpoint"]), folder)


def prepare(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Prepares every case, and writes what there is to look at before a training."""
    data = build_data(with_values(cfg, stage="synth") if cfg.stage == "all" else cfg)
    data.prepare_data()
    data.setup("fit")
    folder.mkdir(parents=True, exist_ok=True)
    data.write_report(folder / "data.html")
    print(f"cases to look at: {folder / 'data.html'}")
    return {"stage": "prepare", "cases": data.describe()["cases"]}


def fit(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    """Trains one stage into a run folder, and measures it."""
    started = time.monotonic()
    seed_everything(cfg.seed, workers=True, verbose=False)
    data = build_data(cfg)
    data.prepare_data()
    data.setup("fit")
    module = build_module(cfg, data)
    trainer = build_trainer(cfg, folder)
    if trainer.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
        data.write_report(folder / "data.html")
        log_config(trainer.loggers, plain(cfg) | {"versions": versions()})
    trainer.fit(module, datamodule=data, ckpt_path=cfg.resume, weights_only=True)

    summary: dict[str, Any] = {
        "stage": cfg.stage,
        "checkpoint": str(folder / "checkpoints" / "last.ckpt"),
        "versions": module.facts["versions"],
        "seed": cfg.seed,
        "cases": module.facts["cases"],
        "seconds": round(time.monotonic() - started, 1),
        "rows": [],
    }
    if trainer.is_global_zero:
        rows = evaluate(module, data, folder) if cfg.evaluate and isinstance(module, SRGAN) else []
        summary["rows"] = validation_rows(trainer) + [row.to_dict() for row in means(rows)]
        summary["per_case"] = [row.to_dict() for row in rows]
        write_summary(summary, folder)
        print_summary(summary, folder)
    finish(trainer.loggers)
    return summary


def build_data(cfg: DictConfig) -> ScansDataModule:
    """The stage's DataModule."""
    kind = UnpairedDataModule if cfg.stage == "synth" else MicroDataModule
    return kind(**plain(cfg.data), seed=cfg.seed, show_progress=cfg.trainer.enable_progress_bar)


def build_module(cfg: DictConfig, data: ScansDataModule) -> GAN:
    """The stage's LightningModule, which knows what to write into its checkpoints."""
    networks = plain(cfg.networks)
    grey_maps = {}
    if "clinical" in data.cases:
        clinical, micro = data.cases["clinical"]["train"], data.cases["micro"]["train"]
        grey_maps["clinical"] = fit_clinical_map(clinical, micro, GaussianPyramid())
    if cfg.stage == "synth":
        networks = {name: networks[name] for name in ("G1", "G2", "D1", "D2")}
        settings = plain(cfg.synth)
        module: GAN = CycleGANSSIM(networks, plain(cfg.loss), settings["optimizer"], settings["pool_size"], cfg.seed)
    else:
        G1, meta = load_g1(cfg.synth_ckpt)
        data.must_match(meta, cfg.synth_ckpt)
        networks = {"G1": meta["networks"]["G1"], "GS": networks["GS"], "DS": networks["DS"]}
        module = SRGAN(networks, plain(cfg.loss), plain(cfg.sr.optimizer), cfg.sr.margin)
        module.G1.net.load_state_dict(G1.state_dict())
        grey_maps["synthetic"] = fit_synthetic_map(G1, data.train_slabs(GREY_MAP_PATCHES), module.f)
        if "clinical" not in grey_maps:
            grey_maps["clinical"] = GreyMap.from_dict(meta["grey_maps"]["clinical"])
        module.grey_maps = grey_maps
    module.facts = {
        "format": FORMAT,
        "stage": cfg.stage,
        "scale": SCALE,
        "networks": networks,
        "grey_maps": {domain: grey_map.to_dict() for domain, grey_map in grey_maps.items()},
        **data.describe(),
        "versions": versions(),
        "config": OmegaConf.to_yaml(cfg, resolve=True),
    }
    return module


def build_trainer(cfg: DictConfig, folder: Path) -> Trainer:
    """Lightning's Trainer with our callbacks and loggers."""
    settings = plain(cfg.trainer)
    if settings["max_epochs"] is None:
        settings["max_epochs"] = cfg[cfg.stage].epochs
    if settings["strategy"] == "auto" and devices(cfg) > 1:
        settings["strategy"] = "ddp_find_unused_parameters_true"  # each step uses one side's parameters only
    if settings["precision"] == "auto":
        settings["precision"] = "bf16-mixed" if on_gpu(cfg) else "32-true"
    loggers: list[Logger] = [CSVLogger(folder, name="", version="")]
    if "_target_" in cfg.logger:
        loggers.append(hydra.utils.instantiate(cfg.logger, save_dir=str(folder)))
    callbacks: list[Any] = [
        ModelCheckpoint(folder / "checkpoints", filename="last", enable_version_counter=False),
        Panels(folder / "panels", **plain(cfg.panels)),
        Curves(folder, cfg.panels.every),
        Throughput(),
    ]
    if settings["enable_progress_bar"]:
        callbacks.append(RichProgressBar())
    return Trainer(
        **settings,
        logger=loggers,
        callbacks=callbacks,
        default_root_dir=folder,
        use_distributed_sampler=False,  # patches are divided over devices by our own sampler
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )


def check(cfg: DictConfig) -> None:
    """What can be known to fail before any work.

    Raises:
        UserError: Keys that do not go together, a file that is not there, or scans that do not fit the settings.
    """
    if cfg.stage == "all" and cfg.resume:
        raise UserError("resume goes on with one stage: give stage=synth or stage=sr")
    if cfg.stage == "sr" and not cfg.synth_ckpt:
        raise UserError("stage=sr needs synth_ckpt=<checkpoint of stage synth> to take G1 from (or use stage=all)")
    for key in ("resume", "synth_ckpt"):
        if cfg[key] and not Path(cfg[key]).is_file():
            raise UserError(f"{key}={cfg[key]}: no such file")
    if cfg.stage != "synth" and cfg.data.clinical.patch - 2 * cfg.sr.margin < 4:
        raise UserError(f"sr.margin={cfg.sr.margin} leaves too little of data.clinical.patch={cfg.data.clinical.patch}")
    if cfg.stage != "sr" and (cfg.loss.ssim.window or 0) > cfg.data.clinical.patch:
        raise UserError(
            f"loss.ssim.window={cfg.loss.ssim.window} is larger than data.clinical.patch={cfg.data.clinical.patch}"
        )
    stages = ("synth", "sr") if cfg.stage == "all" else (cfg.stage,)
    for stage in stages:
        build_data(with_values(cfg, stage=stage)).check()


def evaluate(module: SRGAN, data: ScansDataModule, folder: Path) -> list[Row]:
    """Scores GS on held-out cases, as far as there are any."""
    return measure(
        module.GS.cpu(),
        module.G1.cpu(),
        module.f.cpu(),
        Window(*data.keys["clinical"]["window"]),
        module.grey_maps,
        data.cases["micro"]["test"],
        data.paired_root,
        folder,
        cover=data.keys["micro"]["cover"],
    )


def validation_rows(trainer: Trainer) -> list[dict[str, Any]]:
    """The last validation's figures, as rows of the summary."""
    return [
        {"protocol": "validation", "method": method, "metric": metric, "value": float(value)}
        for name, value in trainer.callback_metrics.items()
        if name.startswith("val/")
        for metric, method in [validation_name(name)]
    ]


def on_gpu(cfg: DictConfig) -> bool:
    """Whether the run uses CUDA devices."""
    return cfg.trainer.accelerator in ("gpu", "cuda") or (
        cfg.trainer.accelerator == "auto" and torch.cuda.is_available()
    )


def devices(cfg: DictConfig) -> int:
    """Processes of the run, over all nodes."""
    asked = cfg.trainer.devices
    if asked in (-1, "-1", "auto"):
        count = torch.cuda.device_count() if on_gpu(cfg) else 1
    elif isinstance(asked, int):
        count = asked
    else:
        count = len(asked) if not isinstance(asked, str) else len([part for part in asked.split(",") if part])
    return max(count, 1) * int(cfg.trainer.num_nodes)


def plain(node: DictConfig) -> dict[str, Any]:
    """A configuration node as plain dicts and lists, which load with `weights_only=True`."""
    values = OmegaConf.to_container(node, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def with_values(cfg: DictConfig, **values: Any) -> DictConfig:
    """A copy of the configuration with some values changed."""
    changed = cfg.copy()
    for key, value in values.items():
        changed[key] = value
    return changed


if __name__ == "__main__":
    sys.argv[1:] = quoted(sys.argv[1:], PATHS, existing=True)
    if {"--help", "-h"} & set(sys.argv) and not any(argument.startswith("stage=") for argument in sys.argv):
        sys.argv.append("stage=all")  # help needs none, but Hydra composes the configuration first
    sys.exit(run_cli(main))
