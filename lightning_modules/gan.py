"""What both stages share: two optimizers stepped by hand, schedules, clipping, and a self-describing checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ctsr.callbacks.panels import Column


def linear_decay(step: int, total: float, start: float) -> float:
    """Factor of the learning rate: 1 until the share `start` of all batches, then linearly to 0 (CycleGAN)."""
    return min(1.0, max(0.0, (1.0 - step / total) / (1.0 - start)))


def step_decay(step: int, total: float, start: float) -> float:
    """Factor of the learning rate: 1 until the share `start` of all batches, then 0.1 (SRGAN)."""
    return 1.0 if step < start * total else 0.1


DECAYS = {"linear": linear_decay, "step": step_decay}


class GAN(LightningModule):
    """A generator side and a discriminator side that are trained in turn, in manual optimization.

    Subclasses name the networks of both sides, and their `training_step` calls `minimise` for each.

    Args:
        optimizer: `lr`, `betas`, `decay` (linear or step), `decay_start` (share of the batches) and `clip` (largest
            norm of all gradients of a side; null does not clip).

    Attributes:
        facts: What a checkpoint tells about itself under the key "ctsr": stage, networks, windows, spacings, cases,
            versions, configuration; plain values only, so that it loads with `weights_only=True`.
    """

    def __init__(self, optimizer: Mapping[str, Any]) -> None:
        super().__init__()
        if optimizer["decay"] not in DECAYS:
            raise ValueError(f"optimizer.decay must be one of {', '.join(DECAYS)}, not {optimizer['decay']}")
        self.automatic_optimization = False
        self.optimizer = dict(optimizer)
        self.facts: dict[str, Any] = {}

    def sides(self) -> tuple[Iterable[nn.Module], Iterable[nn.Module]]:
        """The generators and the discriminators that are trained."""
        raise NotImplementedError

    def panels(self, batch: dict[str, Tensor]) -> dict[str, list[Column]]:
        """Pictures to look at: panel name -> columns; a row for each patch of the batch."""
        raise NotImplementedError

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LambdaLR]]:
        """Adam for each side, and its schedule over all batches of the run."""
        settings = self.optimizer
        betas = (float(settings["betas"][0]), float(settings["betas"][1]))
        optimizers: list[Optimizer] = [
            Adam([p for net in side for p in net.parameters()], lr=settings["lr"], betas=betas) for side in self.sides()
        ]
        decay = partial(
            DECAYS[settings["decay"]], total=self.trainer.estimated_stepping_batches, start=settings["decay_start"]
        )
        return optimizers, [LambdaLR(optimizer, decay) for optimizer in optimizers]

    def both_optimizers(self) -> tuple[LightningOptimizer, LightningOptimizer]:
        """The generators' and the discriminators' optimizer."""
        generators, discriminators = self.optimizers()  # type: ignore[attr-defined]
        return generators, discriminators

    def minimise(self, loss: Tensor, optimizer: LightningOptimizer) -> None:
        """One step of one side down its loss."""
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clips here, where a 16-bit scaler has already unscaled the gradients."""
        if self.optimizer["clip"] is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.optimizer["clip"])

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Moves both schedules on; in manual optimization nobody else does."""
        schedulers = self.lr_schedulers()
        assert isinstance(schedulers, list)
        for scheduler in schedulers:
            scheduler.step()  # type: ignore[call-arg]

    def report(self, losses: Mapping[str, Tensor]) -> None:
        """Logs loss terms by name, and the learning rates."""
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()}, prog_bar=False)
        for side, optimizer in zip("GD", self.both_optimizers(), strict=True):
            self.log(f"lr_{side}", optimizer.param_groups[0]["lr"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Makes the checkpoint say what it is."""
        checkpoint["ctsr"] = self.facts


def to_unit(images: Tensor) -> Tensor:
    """[-1, 1] to [0, 1], clipped: where SSIM and PSNR are measured."""
    return ((images.float() + 1) / 2).clamp(0, 1)


def total(losses: Mapping[str, Tensor]) -> Tensor:
    """Sum of weighted loss terms."""
    return torch.stack(list(losses.values())).sum()
