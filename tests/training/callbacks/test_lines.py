"""What a log is told of a run: lines worked out by hand, with a clock of its own."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from ctsr.training.callbacks import lines
from ctsr.training.callbacks.checkpoints import Checkpoints
from ctsr.training.callbacks.lines import Lines

BATCHES = 5  # of an epoch


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1e6

    def __call__(self) -> float:
        return self.now


class Module(LightningModule):
    """A batch takes 100 s, validation 40 s; the loss is a tenth of the batches seen."""

    def __init__(self, clock: Clock, batch: float = 100, rates: tuple[float, float] = (2e-4, 2e-4)) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.clock, self.batch, self.rates = clock, batch, rates
        self.breaks_in = -1

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([self.weight], 0.1)

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        self.clock.now += self.batch
        seen = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
        if seen == self.breaks_in:
            raise KeyError
        self.optimizers().step()  # type: ignore[union-attr]
        self.log_dict({"train/L2": seen / 10, "train/DS_real": 0.123456})
        self.log_dict(dict(zip(("lr_G", "lr_D"), self.rates, strict=True)))

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.clock.now += 40
        self.log_dict({"val/ssim": 0.1 * (self.current_epoch + 1), "val/psnr": 21.987, "val/bicubic_ssim": 0.9})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lines, "monotonic", clock)
    return clock


def fit(
    module: Module, *others: Any, max_epochs: int | None = 3, ckpt_path: Path | None = None, **settings: Any
) -> None:
    trainer = Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        logger=False,
        callbacks=[Lines("ours"), *others],
        enable_checkpointing=bool(others),
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"num_sanity_val_steps": 0, **settings},
    )
    data: Any = DataLoader(torch.zeros(BATCHES))  # type: ignore[arg-type]
    trainer.fit(module, data, DataLoader(torch.zeros(1)), ckpt_path=ckpt_path, weights_only=True)  # type: ignore[arg-type]


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_line_at_each_epochs_end(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    fit(Module(clock, batch=1), max_epochs=2)  # epochs of 45 s
    assert printed(capsys) == [
        "epoch 1 of 2, 0:00:45 left: L2 0.5, DS_real 0.123; validation ssim 0.1, psnr 22; learning rate 0.0002",
        "epoch 2 of 2: L2 1, DS_real 0.123; validation ssim 0.2, psnr 22; learning rate 0.0002",
    ]


def test_lines_within_long_epochs_and_the_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    fit(Module(clock))
    told = printed(capsys)
    assert [line.partition(": ")[0] for line in told] == [
        "epoch 1 of 3, batch 2 of 5, 0:21:40 left",  # 13 batches of 100 s
        "epoch 1 of 3, batch 4 of 5, 0:18:20 left",
        "epoch 1 of 3, 0:18:00 left",  # two epochs of 540 s
        "epoch 2 of 3, batch 2 of 5, 0:14:06 left",  # 8 of 740 / 7 s
        "epoch 2 of 3, batch 4 of 5, 0:10:27 left",  # 6 of 940 / 9 s
        "epoch 2 of 3, 0:09:00 left",
        "epoch 3 of 3, batch 2 of 5, 0:05:20 left",  # 3 of 1280 / 12 s
        "epoch 3 of 3, batch 4 of 5, 0:01:46 left",  # 1 of 1480 / 14 s
        "epoch 3 of 3",
    ]
    assert told[3].endswith(": L2 0.7, DS_real 0.123; learning rate 0.0002"), "no validation yet, in this epoch"


@pytest.mark.parametrize(("batch", "within"), [(36, 0), (44, 0), (45, 1), (59, 1), (60, 1)])
def test_a_line_after_three_minutes_but_none_before_the_epochs_own(
    batch: float, within: int, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """180 s are over in the last batch of five, in none before it, or in the fourth or the third."""
    fit(Module(clock, batch), max_epochs=1)
    told = printed(capsys)
    assert len(told) == within + 1
    assert "batch" not in told[-1]


def test_old_figures_are_not_told_again(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    fit(Module(clock, batch=1), check_val_every_n_epoch=2)
    told = printed(capsys)
    assert ["validation" in line for line in told] == [False, True, False]
    assert told[2] == "epoch 3 of 3: L2 1.5, DS_real 0.123; learning rate 0.0002"


def test_figures_of_a_check_before_training_are_none_of_an_epoch(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(Module(clock, batch=1), max_epochs=1, num_sanity_val_steps=1, check_val_every_n_epoch=2)
    assert printed(capsys) == ["epoch 1 of 1: L2 0.5, DS_real 0.123; learning rate 0.0002"]


def test_rates_that_differ(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    fit(Module(clock, batch=1, rates=(1e-4, 2.5e-5)), max_epochs=1)
    assert printed(capsys)[0].endswith("; learning rate G 0.0001, D 2.5e-05")


def test_a_resumed_run_counts_its_own_batches(clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def checkpoints() -> Checkpoints:
        return Checkpoints(tmp_path, every_n_batches=2, monitor=None, mode="min", best=0)

    fit(Module(clock, batch=1), checkpoints(), max_epochs=1)
    capsys.readouterr()
    fit(Module(clock, batch=300), checkpoints(), max_epochs=3, ckpt_path=tmp_path / "last.ckpt")
    told = [line.partition(": ")[0] for line in printed(capsys) if "batch" not in line]
    assert told == ["epoch 2 of 3, 0:25:40 left", "epoch 3 of 3"], "five batches and a validation took 1540 s"

    fit(Module(clock, batch=1), checkpoints(), max_epochs=1)
    broken = Module(clock, batch=1)
    broken.breaks_in = 8  # after the checkpoint of batch 6, the first of epoch 2
    with contextlib.suppress(KeyError):
        fit(broken, checkpoints(), max_epochs=3, ckpt_path=tmp_path / "last.ckpt")
    capsys.readouterr()
    fit(Module(clock), checkpoints(), max_epochs=3, ckpt_path=tmp_path / "last.ckpt")
    assert [line.partition(": ")[0] for line in printed(capsys)][:2] == [
        "epoch 2 of 3, batch 3 of 5, 0:11:40 left",  # two batches took 200 s, seven are left
        "epoch 2 of 3, 0:09:10 left",  # four took 440 s, five are left
    ]


@pytest.mark.parametrize(
    ("limits", "place"),
    [
        ({"max_epochs": -1, "max_steps": BATCHES}, "epoch 1"),
        ({"max_epochs": None, "max_steps": BATCHES}, "epoch 1"),
        ({"max_epochs": 3, "max_steps": BATCHES}, "epoch 1 of 3"),
    ],
)
def test_no_time_left_where_nobody_can_tell(
    limits: dict[str, Any], place: str, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(Module(clock), **limits)
    told = [line.partition(": ")[0] for line in printed(capsys)]
    assert told == [f"{place}, batch 2 of 5", f"{place}, batch 4 of 5", place]


def test_other_processes_keep_quiet(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "is_global_zero", False)
    fit(Module(clock), max_epochs=1)
    assert printed(capsys) == []
