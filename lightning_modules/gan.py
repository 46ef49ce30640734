"""What both stages share: two optimizers stepped by hand, schedules, clipping, and a self-describing checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Self

import torch
from lightning import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ParallelStrategy
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ctsr.checkpoint import CARD, read_checkpoint, write_card
from ctsr.errors import UserError
from ctsr.records.card import ModelCard
from ctsr.records.stages import Decay
from ctsr.training.callbacks.panels import Column
from lightning_modules.image_pool import ImagePool


def linear_decay(step: int, total: float, start: float) -> float:
    """Factor of the learning rate: 1 until the share `start` of all batches, then linearly to 0 (CycleGAN)."""
    return min(1.0, max(0.0, (1.0 - step / total) / (1.0 - start)))


def step_decay(step: int, total: float, start: float) -> float:
    """Factor of the learning rate: 1 until the share `start` of all batches, then 0.1 (SRGAN)."""
    return 1.0 if step < start * total else 0.1


NOT_HYPERPARAMETERS = ("card", "accumulate", "lr_factor", "G1_weights")
"""Arguments that `hyper_parameters` of a checkpoint leave out: it has the card and all weights anyway."""

DECAYS: Mapping[Decay, Callable[..., float]] = {"linear": linear_decay, "step": step_decay}


class GAN(LightningModule):
    """A generator side and a discriminator side that are trained in turn, in manual optimization.

    Subclasses name the networks of both sides, and their `training_step` makes a `descent` of each.

    Args:
        optimizer: `lr`, `betas`, `decay` (linear or step), `decay_start` (share of the batches) and `clip` (largest
            norm of all gradients of a side; null does not clip).
        card: What its checkpoints say of themselves.
        accumulate: Parts that a device's batch is worked through in, to save memory; the gradients are the batch's.
        lr_factor: Multiplies the schedule of the learning rate: less than 1 after a collapse.

    Attributes:
        pools: For each discriminator that has one, its memory of past fakes.
        guessed: What each term of a discriminator comes to where it says 1/2 of every image.
        can_move_structure: Whether G1 can show structure elsewhere than f(x) does.
        losses: Terms of the last batch.
        ratio_of_std: For each generator, the standard deviation of the greys it made in the last batch, as a share of
            that of those it should make.
    """

    guessed: float
    can_move_structure: bool = False

    def __init__(self, *, optimizer: Mapping[str, Any], card: ModelCard, accumulate: int, lr_factor: float) -> None:
        super().__init__()
        if optimizer["decay"] not in DECAYS:
            raise ValueError(f"optimizer.decay must be one of {', '.join(DECAYS)}, not {optimizer['decay']}")
        self.automatic_optimization = False
        self.optimizer, self.card = dict(optimizer), card
        self.accumulate, self.lr_factor = accumulate, lr_factor
        self.pools: dict[str, ImagePool] = {}
        self.losses: dict[str, Tensor] = {}
        self.ratio_of_std: dict[str, Tensor] = {}

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *arguments: Any, **changed: Any) -> Self:
        """Lightning's, with the checkpoint's own card.

        Raises:
            UserError: See `ctsr.checkpoint.read_checkpoint`; or it holds networks alone.
        """
        checkpoint = read_checkpoint(checkpoint_path)
        if not checkpoint.resumable:
            raise UserError(f"{checkpoint_path} holds networks alone: see ctsr.checkpoint.load_sr for using them")
        return super().load_from_checkpoint(checkpoint_path, *arguments, **{"card": checkpoint.card, **changed})

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
            Adam(
                [p for net in side for p in net.parameters()],
                lr=settings["lr"],
                betas=betas,
                fused=self.device.type == "cuda",
            )
            for side in self.sides()
        ]
        decay = partial(
            DECAYS[settings["decay"]], total=self.trainer.estimated_stepping_batches, start=settings["decay_start"]
        )
        return optimizers, [LambdaLR(optimizer, lambda step: self.lr_factor * decay(step)) for optimizer in optimizers]

    def both_optimizers(self) -> tuple[LightningOptimizer, LightningOptimizer]:
        """The generators' and the discriminators' optimizer."""
        generators, discriminators = self.optimizers()  # type: ignore[attr-defined]
        return generators, discriminators

    def parts(self, batch: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """The device's batch in `accumulate` equal parts."""
        pieces = {name: images.chunk(self.accumulate) for name, images in batch.items()}
        return [{name: images[part] for name, images in pieces.items()} for part in range(self.accumulate)]

    @contextmanager
    def descent(self, optimizer: LightningOptimizer) -> Iterator[Descent]:
        """One step of one side: the block adds the gradients of each part's losses, the step follows.

        Only the parameters of this side have gradients in the block.
        """
        with optimizer.toggle_model():
            optimizer.zero_grad()
            descent = Descent(self)
            yield descent
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
        self.losses = {name: value.detach() for name, value in losses.items()}
        self.log_dict({f"train/{name}": value for name, value in self.losses.items()}, prog_bar=False)
        for side, optimizer in zip("GD", self.both_optimizers(), strict=True):
            self.log(f"lr_{side}", optimizer.param_groups[0]["lr"])

    def note(self, *notes: str) -> None:
        """Adds what should be known of this training to its card, once."""
        if notes:
            self.card = self.card.changed(notes=list(dict.fromkeys([*self.card.notes, *notes])))

    def past(self, judge: str, fakes: Sequence[Tensor]) -> Sequence[Tensor]:
        """The fakes of this batch exchanged for past ones; the draws are those of one device with the whole batch."""
        together = torch.cat(list(fakes))
        everywhere = together
        if self.trainer.world_size > 1:
            gathered = self.all_gather(together)
            assert isinstance(gathered, Tensor)
            everywhere = gathered.flatten(end_dim=1)
        returned = self.pools[judge].exchange(everywhere, self.trainer.global_step // 2)
        mine = returned.narrow(0, self.trainer.global_rank * len(together), len(together))
        return mine.chunk(len(fakes))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Writes the card, and keeps the pools and the factor of the learning rate."""
        done = self.trainer.fit_loop.epoch_loop.batch_progress.total.completed
        write_card(checkpoint, self.card, done)
        checkpoint["lr_factor"] = self.lr_factor
        if self.pools:
            checkpoint["pools"] = {name: pool.state_dict() for name, pool in self.pools.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Puts them back, with the card's notes; a rate that a collapse has lowered since counts from batch one."""
        self.note(*checkpoint[CARD].get("notes", []))
        saved = checkpoint.get("lr_factor", 1.0)
        self.lr_factor = min(self.lr_factor, saved)
        for group in (group for state in checkpoint["optimizer_states"] for group in state["param_groups"]):
            group["lr"] *= self.lr_factor / saved
        for name, pool in self.pools.items():
            pool.load_state_dict(checkpoint["pools"][name])


class Descent:
    """The gradients of one step, gathered part by part.

    Attributes:
        losses: Terms by name, averaged over the parts.
    """

    def __init__(self, module: GAN) -> None:
        self._module, self._done = module, 0
        self.losses: dict[str, Tensor] = {}

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Add the gradients of the sum of a part's weighted loss terms."""
        module, parts = self._module, self._module.accumulate
        self._done += 1
        # Devices agree on their gradients once, with the last part's.
        strategy = module.trainer.strategy
        early = isinstance(strategy, ParallelStrategy) and self._done < parts
        with strategy.block_backward_sync() if early else nullcontext():  # type: ignore[attr-defined]
            module.manual_backward(total(losses) / parts)
        for name, value in losses.items():
            self.losses[name] = self.losses.get(name, torch.zeros_like(value)) + value.detach() / parts


def ratio_of_std(made: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Standard deviation of the greys of some images, as a share of that of others."""
    own, other = (torch.cat([image.detach().float() for image in images]).std() for images in (made, wanted))
    return own / other.clamp_min(1e-6)


def to_unit(images: Tensor) -> Tensor:
    """[-1, 1] to [0, 1], clipped: where SSIM and PSNR are measured."""
    return ((images.float() + 1) / 2).clamp(0, 1)


def total(losses: Mapping[str, Tensor]) -> Tensor:
    """Sum of weighted loss terms."""
    return torch.stack(list(losses.values())).sum()
