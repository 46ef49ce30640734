"""What is told of a training that goes wrong, and when."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ctsr.errors import Collapsed
from ctsr.training.callbacks.guard import Guard

EPOCH = 3  # batches
FINE = {"D1": 0.3, "G1_adversarial": 0.7}


class Run:
    """Batches with given losses, as the guard sees them."""

    def __init__(self, guard: Guard) -> None:
        self.guard, self.batch = guard, 0
        total = SimpleNamespace(ready=0)
        loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=SimpleNamespace(total=total)))
        self.trainer: Any = SimpleNamespace(world_size=1, is_global_zero=True, fit_loop=loop, callback_metrics={})
        self.module: Any = SimpleNamespace(losses={}, ratio_of_std={})

    def see(self, losses: dict[str, float], ratio_of_std: float = 1.0) -> None:
        self.module.losses = {name: torch.tensor(value) for name, value in losses.items()}
        self.module.ratio_of_std = {"G1": torch.tensor(ratio_of_std)}
        self.batch += 1
        self.trainer.fit_loop.epoch_loop.batch_progress.total.ready = self.batch
        self.guard.on_train_batch_end(self.trainer, self.module, None, None, (self.batch - 1) % EPOCH)

    def validate(self, greys: float) -> None:
        self.trainer.callback_metrics["val/greys"] = torch.tensor(greys)
        self.guard.on_validation_end(self.trainer, self.module)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_names_its_batch(loss: float) -> None:
    run = Run(Guard(every=2, patience=3, action="stop"))
    run.see(FINE)
    run.see(FINE)
    run.see(FINE | {"D1": loss})  # not looked at
    with pytest.raises(Collapsed, match=rf"batch 4: the loss D1 is {loss}"):
        run.see(FINE | {"D1": loss})
    with pytest.raises(Collapsed, match="the loss D1"):  # and not saved over what was
        run.guard.on_save_checkpoint(run.trainer, run.module, {})


def test_looks_also_where_epochs_are_short() -> None:
    run = Run(Guard(every=2 * EPOCH, patience=1, action="stop"))
    for _ in range(2 * EPOCH - 1):
        run.see(FINE, ratio_of_std=0.0)
    with pytest.raises(Collapsed, match=f"batch {2 * EPOCH}: G1 makes images of one grey"):
        run.see(FINE, ratio_of_std=0.0)


@pytest.mark.parametrize(
    ("losses", "ratio_of_std", "message"),
    [(FINE | {"D1": 1e-6}, 1.0, "D1 is saturated"), (FINE, 0.001, "G1 makes images of one grey")],
)
def test_what_must_last_before_it_counts(losses: dict[str, float], ratio_of_std: float, message: str) -> None:
    run = Run(Guard(every=1, patience=3, action="stop"))
    for _ in range(4):  # twice is not thrice
        run.see(losses, ratio_of_std)
        run.see(losses, ratio_of_std)
        run.see(FINE)
    run.see(losses, ratio_of_std)
    run.see(losses, ratio_of_std)
    with pytest.raises(Collapsed, match=message):
        run.see(losses, ratio_of_std)


def test_a_generator_may_have_a_small_loss() -> None:
    run = Run(Guard(every=1, patience=1, action="stop"))
    run.see({"D1": 0.2, "G1_adversarial": 1e-9, "L2": 1e-9})


def test_greys_that_run_away() -> None:
    run = Run(Guard(every=1, patience=10, action="stop"))
    run.validate(greys=0.1)
    with pytest.raises(Collapsed, match=r"0\.70 away"):
        run.validate(greys=0.7)


def test_greys_may_start_far_off_but_not_stay_there() -> None:
    """A ResNet's images are mid grey at first, those of a lung dark: -0.6 of [-1, 1]."""
    arrives = Run(Guard(every=1, patience=3, action="stop"))
    for greys in (0.6, 0.6, 0.1, 0.1):
        arrives.validate(greys)
    stays = Run(Guard(every=1, patience=3, action="stop"))
    stays.validate(greys=0.6)
    stays.validate(greys=0.6)
    with pytest.raises(Collapsed, match=r"0\.60 away"):
        stays.validate(greys=0.6)


def test_a_warning_is_given_once(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(Guard(every=1, patience=1, action="warn"))
    for _ in range(3):
        run.see(FINE, ratio_of_std=0.0)
    assert capsys.readouterr().err.count("G1 makes images of one grey") == 1
