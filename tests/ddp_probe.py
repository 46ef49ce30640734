"""Trains a stage for a few batches and writes what each process saw: `ddp_probe.py NAME key=value ...`.

The files are `ddp/NAME_rank<n>.pt`. With torchrun it is one of several nodes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from lightning import Callback, LightningModule, Trainer, seed_everything

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

import train  # noqa: E402
from ctsr.data.plan import Plan  # noqa: E402
from ctsr.training.trainer import build_trainer  # noqa: E402
from datamodules.build import build_data  # noqa: E402
from lightning_modules.build import build_module, take_g1  # noqa: E402

Batch = dict[str, torch.Tensor]


class Witness(Callback):
    def __init__(self, name: str) -> None:
        self.name = name
        self.batches: list[Batch] = []
        self.gradients: list[torch.Tensor | None] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.initial = {name: value.clone() for name, value in pl_module.state_dict().items()}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self.batches.append({name: patches.clone() for name, patches in batch.items()})

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if len(self.batches) == 1:
            for group in optimizer.param_groups:
                self.gradients += [None if p.grad is None else p.grad.clone() for p in group["params"]]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seen: dict[str, Any] = {
            "batches": self.batches,
            "gradients": self.gradients,
            "initial": self.initial,
            "weights": pl_module.state_dict(),
            "pools": [len(pool.images) for pool in getattr(pl_module, "pools", {}).values()],
            "metrics": {
                name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")
            },
        }
        Path("ddp").mkdir(exist_ok=True)
        torch.save(seen, f"ddp/{self.name}_rank{trainer.global_rank}.pt")


def main(name: str, overrides: list[str]) -> None:
    torch.set_num_threads(1)
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        cfg = compose(
            "train",
            [
                *("experiment=smoke", "method=scanner", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"),
                *("trainer.max_epochs=1", *overrides),
            ],
        )
    run = train.typed(cfg)
    (stage,) = run.stages
    data = build_data(run, stage, Plan.of(run))
    data.prepare_data()
    data.setup("fit")
    seed_everything(run.seed, workers=True, verbose=False)
    module = build_module(run, stage, data, take_g1(run, stage))
    trainer = build_trainer(run, stage, Path(f"ddp/{name}"))
    trainer.callbacks.append(Witness(name))
    trainer.fit(module, datamodule=data)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
