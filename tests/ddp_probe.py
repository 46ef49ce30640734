"""Trains stage synth for three batches on N CPU processes and writes what each process saw: `ddp_probe.py N`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from lightning import Callback, LightningModule, Trainer

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

import train  # noqa: E402

Batch = dict[str, torch.Tensor]


class Witness(Callback):
    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.initial = {name: value.clone() for name, value in pl_module.state_dict().items()}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self.batches.append({name: patches.clone() for name, patches in batch.items()})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seen: dict[str, Any] = {
            "batches": self.batches,
            "initial": self.initial,
            "weights": pl_module.state_dict(),
            "metrics": {
                name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")
            },
        }
        Path("ddp").mkdir(exist_ok=True)
        torch.save(seen, f"ddp/devices{trainer.world_size}_rank{trainer.global_rank}.pt")


def main(devices: int) -> None:
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        cfg = compose(
            "train",
            [
                *("stage=synth", "experiment=smoke", f"trainer.devices={devices}", "trainer.accelerator=cpu"),
                *("trainer.max_epochs=1", "trainer.limit_train_batches=3", "trainer.enable_progress_bar=false"),
                *("data.global_batch_size=2", "data.patches_per_case=8"),
            ],
        )
    data = train.build_data(cfg)
    data.prepare_data()
    data.setup("fit")
    train.seed_everything(cfg.seed, workers=True, verbose=False)
    module = train.build_module(cfg, data)
    trainer = train.build_trainer(cfg, Path(f"ddp/run{devices}"))
    trainer.callbacks.append(Witness())
    trainer.fit(module, datamodule=data)


if __name__ == "__main__":
    main(int(sys.argv[1]))
