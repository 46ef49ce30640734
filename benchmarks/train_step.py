"""Our training step beside a plain one of the same networks: `python -m benchmarks.train_step --stage sr`.

Ours runs in Lightning's loop as in training; after each of its batches the plain step works on the same batch, so that
both see the same machine. Loading of data is not part of either. The networks are those of experiment=paper_<stage>.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from lightning import Callback, LightningModule, Trainer
from omegaconf import OmegaConf
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machine import peak
from benchmarks.reference_step import CycleGANStep, SRGANStep
from benchmarks.rounds import table
from ctsr.checkpoint import read_checkpoint
from ctsr.data.patches import as_it_is
from lightning_modules import SRGAN, CycleGANSSIM
from lightning_modules.gan import GAN

Batch = dict[str, Tensor]
ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed"}
SMALL = {
    "sr": ("networks.GS.channels=32", "networks.GS.blocks=4", "networks.DS.filters=32", "networks.DS.features=128"),
    "synth": ("networks.G1.filters=32", "networks.G1.blocks=4", "networks.G2.filters=32", "networks.G2.blocks=4"),
}


def configuration(stage: str, overrides: list[str]) -> dict[str, Any]:
    """The composed configuration in plain values."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [f"stage={stage}", f"experiment=paper_{stage}", *overrides])
    return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]


def both(cfg: dict[str, Any], device: str, precision: str) -> tuple[GAN, Callable[[Batch], None]]:
    """Our module, and the plain step."""
    stage, networks, loss = cfg["stage"], cfg["networks"], cfg["loss"]
    optimizer = cfg[stage]["optimizer"]
    card = read_checkpoint(ROOT / "docs/results/phantom.ckpt").card  # any: nothing is saved
    if stage == "synth":
        pool = cfg["synth"]["pool_size"]
        step: Callable[[Batch], None] = CycleGANStep(networks, loss, optimizer, pool, device, precision)
        ours = CycleGANSSIM(networks=networks, loss=loss, optimizer=optimizer, pool_size=pool, seed=0, card=card)
        return ours, step
    networks = networks | {"G1": configuration("synth", [])["networks"]["G1"]}
    plain = SRGANStep(networks, loss, optimizer, device, precision)
    return SRGAN(networks=networks, loss=loss, optimizer=optimizer, card=card), plain


class Turns(Callback):
    """Times our step, then lets the plain one work on the same batch and times it."""

    def __init__(self, step: Callable[[Batch], None], device: str, warm_up: int) -> None:
        self.step, self.device, self.warm_up = step, device, warm_up
        self.seconds: dict[str, list[float]] = {"ours": [], "plain": []}
        self.started = 0.0

    def clock(self) -> float:
        """Seconds, when all that was asked for is done."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Starts our turn."""
        self.started = self.clock()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Ends our turn, and gives the plain step its own."""
        ours = self.clock()
        self.step(batch)
        plain = self.clock()
        if batch_idx >= self.warm_up:
            self.seconds["ours"].append(ours - self.started)
            self.seconds["plain"].append(plain - ours)


def patches(count: int) -> Batch:
    """What a training step is given, drawn at random."""
    return {
        "micro": torch.rand(count, 1, 256, 256) * 2 - 1,
        "slab": torch.rand(count, 1, 256, 256) * 2 - 1,
        "clinical": torch.rand(count, 1, 32, 32) * 2 - 1,
        "noise": torch.randn(count, 1, 32, 32),
        "scanner": torch.rand(count, 2),
    }


def fit(module: GAN, batch: Batch, steps: int, device: str, precision: str, *callbacks: Callback) -> None:
    """Some batches of Lightning's loop."""
    trainer = Trainer(
        max_epochs=1,
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        precision=PRECISIONS[precision],  # type: ignore[arg-type]
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader: DataLoader[Any] = DataLoader([batch] * steps, batch_size=None, collate_fn=as_it_is)  # type: ignore[arg-type]
    trainer.fit(module, loader)


def compare(cfg: dict[str, Any], batch_size: int, steps: int, device: str, precision: str) -> str:
    """The table."""
    torch.manual_seed(0)
    module, step = both(cfg, device, precision)
    batch = patches(batch_size)
    there = {name: images.to(device) for name, images in batch.items()}
    step(there)  # a first one, which sets up
    with FlopCounterMode(display=False) as counter:
        step(there)
    flops = counter.get_total_flops()
    turns = Turns(step, device, warm_up=2)
    fit(module, batch, steps + turns.warm_up, device, precision, turns)
    limit = peak(device, precision)
    seconds = {name: median(values) for name, values in turns.seconds.items()}
    lines = [
        [
            name,
            f"{value:.3f}",
            f"{batch_size / value:.2f}",
            f"{flops / value / limit:.0%}",
            f"{seconds['plain'] / value:.2f}",
        ]
        for name, value in seconds.items()
    ]
    header = ["step", "s", "patches/s", f"of the peak of {limit / 1e12:.2f} TFLOP/s", "times as fast as plain"]
    return table(header, lines)


def where(cfg: dict[str, Any], batch_size: int, device: str, precision: str) -> str:
    """Where the time of our step goes: the ten dearest operations."""
    module, _ = both(cfg, device, precision)
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == "cuda" else [])
    with profile(activities=activities) as profiler:
        fit(module, patches(batch_size), 3, device, precision)
    kind = "device" if device == "cuda" else "cpu"
    rows = sorted(profiler.key_averages(), key=lambda row: -getattr(row, f"self_{kind}_time_total"))
    total = sum(getattr(row, f"self_{kind}_time_total") for row in rows)
    lines = [[row.key, f"{getattr(row, f'self_{kind}_time_total') / total:.0%}"] for row in rows[:10]]
    return table(["operation", "share of the time"], lines)


def main(arguments: list[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_step", description=__doc__)
    parser.add_argument("--stage", choices=("synth", "sr"), default="sr")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6, help="timed steps of each")
    parser.add_argument("--precision", choices=tuple(PRECISIONS), default="32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--small", action="store_true", help="narrower networks, for a quick look")
    parser.add_argument("--profile", action="store_true", help="where the time of our step goes instead")
    parser.add_argument("overrides", nargs="*", help="keys of the configuration, such as networks.GS.blur=true")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    cfg = configuration(options.stage, [*(SMALL[options.stage] if options.small else ()), *options.overrides])
    what = f"{options.stage}, {options.batch} patches, {options.precision}, {options.device}"
    print(f"{what}, {os.cpu_count()} cores, torch {torch.__version__}\n")
    if options.profile:
        print(where(cfg, options.batch, options.device, options.precision))
    else:
        print(compare(cfg, options.batch, options.steps, options.device, options.precision))


if __name__ == "__main__":
    main()
