"""What is told of a training that goes wrong, and when."""

from __future__ import annotations

import math
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
        self.progress = SimpleNamespace(total=SimpleNamespace(ready=0), current=SimpleNamespace(ready=EPOCH))
        self.trainer: Any = SimpleNamespace(
            world_size=1,
            is_global_zero=True,
            fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=self.progress)),
            callback_metrics={},
            max_epochs=100,
            current_epoch=0,
            check_val_every_n_epoch=1,
            num_training_batches=EPOCH,
            val_check_batch=EPOCH,
        )
        self.notes: list[str] = []
        self.module: Any = SimpleNamespace(
            losses={},
            ratio_of_std={},
            guessed=math.log(2),
            can_move_structure=True,
            card=SimpleNamespace(stage="sr"),
            note=self.notes.append,
        )

    def see(self, losses: dict[str, float], ratio_of_std: float = 1.0) -> None:
        self.module.losses = {name: torch.tensor(value) for name, value in losses.items()}
        self.module.ratio_of_std = {"G1": torch.tensor(ratio_of_std)}
        self.batch += 1
        self.progress.total.ready = self.batch
        self.guard.on_train_batch_end(self.trainer, self.module, None, None, (self.batch - 1) % EPOCH)

    def validate(self, **figures: float) -> None:
        self.trainer.callback_metrics |= {f"val/{name}": torch.tensor(value) for name, value in figures.items()}
        self.guard.on_validation_end(self.trainer, self.module)

    def go_to(self, epoch: int, epochs: int, batches: int) -> None:
        """The end of an epoch, counted from 1, when so many batches are done since the run began."""
        self.trainer.current_epoch, self.trainer.max_epochs = epoch - 1, epochs
        self.progress.total.ready = batches


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


def test_one_grey_must_last_before_it_counts() -> None:
    run = Run(Guard(every=1, patience=3, action="stop"))
    for _ in range(4):  # twice is not thrice
        run.see(FINE, ratio_of_std=0.001)
        run.see(FINE, ratio_of_std=0.001)
        run.see(FINE)
    run.see(FINE, ratio_of_std=0.001)
    run.see(FINE, ratio_of_std=0.001)
    with pytest.raises(Collapsed, match="G1 makes images of one grey"):
        run.see(FINE, ratio_of_std=0.001)


def test_a_discriminator_that_has_won_is_told_once_and_noted(capsys: pytest.CaptureFixture[str]) -> None:
    """Cross entropy of a guess: ln 2 = .693 a term, 5 % of it .0347. Losses as a run has logged them."""
    run = Run(Guard(every=10, patience=3, action="stop"))
    logged = [(0.19, 0.0046), (0.023, 0.0097), (0.23, 0.015), (0.0095, 0.025), (0.0071, 0.02), (0.0041, 0.016)]
    for real, fake in logged:
        assert not run.notes, "means of three: .079, .050, .051, .014"
        for _ in range(10):
            run.see({"DS_real": real, "DS_fake": fake, "L2": 0.0, "adversarial": 0.005})
    for _ in range(30):
        run.see({"DS_real": 0.001, "DS_fake": 0.003})
    said = (
        "batch 60: DS has won, its loss is 0.014 where guessing gives 0.69, and teaches little: "
        "try networks.DS.spectral=true or a lower sr.optimizer.lr="
    )
    assert capsys.readouterr().err == f"warning: {said}\n"
    assert run.notes == [said]


def test_a_discriminator_that_its_generator_fools_now_and_then_has_not_won() -> None:
    run = Run(Guard(every=1, patience=4, action="stop"))
    for _ in range(5):
        for loss in (0.001, 0.001, 0.001, 0.3):  # .076 on average
            run.see({"DS_real": loss, "DS_fake": loss})
    assert not run.notes


def test_least_squares_discriminators_are_judged_by_what_guessing_gives_them() -> None:
    """(1/2 - 1)^2 = 1/4: 5 % are .0125. D1 as low as a scanner model's, .024, has not won."""
    run = Run(Guard(every=1, patience=2, action="stop"))
    run.module.guessed, run.module.card.stage = 0.25, "synth"
    for _ in range(3):
        run.see({"D1": 0.024, "D2": 0.012, "G1_adversarial": 1e-9})
    (note,) = run.notes
    assert note.startswith("batch 2: D2 has won, its loss is 0.012 where guessing gives 0.25")
    assert note.endswith("networks.D2.spectral=true or a lower synth.optimizer.lr=")


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
        arrives.validate(greys=greys)
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


def test_a_g1_that_moves_structure_ends_the_training_at_its_last_validation() -> None:
    """As two seeds of the paper's G1 went: .001, .07, .03, .07 after 150, 300, 450 and 600 batches."""
    run = Run(Guard(every=1, patience=10, action="stop"))
    for epoch, ssim in enumerate((0.001, 0.07, 0.03), 1):
        run.go_to(epoch, epochs=4, batches=150 * epoch)
        run.validate(ssim_G1=ssim)
    run.go_to(4, epochs=4, batches=600)
    with pytest.raises(Collapsed, match=r"batch 600: G1 has moved structure, val/ssim_G1 is 0\.07: .*loss\.lambda1="):
        run.validate(ssim_G1=0.07)


def test_structure_may_be_far_off_at_first_but_not_again() -> None:
    run = Run(Guard(every=1, patience=3, action="stop"))
    for ssim in (0.1, 0.3, 0.7, 0.8):
        run.validate(ssim_G1=ssim)
    with pytest.raises(Collapsed, match="moved structure"):
        run.validate(ssim_G1=0.4)
    stays = Run(Guard(every=1, patience=3, action="stop"))
    stays.validate(ssim_G1=0.1)
    stays.validate(ssim_G1=0.1)
    with pytest.raises(Collapsed, match="moved structure"):
        stays.validate(ssim_G1=0.1)


def test_a_training_of_a_few_batches_need_not_keep_structure() -> None:
    run = Run(Guard(every=1, patience=3, action="stop"))
    run.go_to(2, epochs=2, batches=199)
    run.validate(ssim_G1=0.1)


def test_a_scanner_cannot_move_structure_whatever_its_noise_does_to_ssim() -> None:
    run = Run(Guard(every=1, patience=1, action="stop"))
    run.module.can_move_structure = False
    run.validate(ssim_G1=0.1)


@pytest.mark.parametrize(
    ("epoch", "every", "batch", "interval", "last"),
    [
        (9, 1, EPOCH, EPOCH, False),
        (10, 1, EPOCH, EPOCH, True),
        (6, 3, EPOCH, EPOCH, False),
        (9, 3, EPOCH, EPOCH, True),  # there is no epoch 12
        (10, 1, 1, 1, False),
        (10, 1, 2, 2, True),  # there is no batch 4
    ],
)
def test_the_last_validation_is_the_one_that_none_follows(
    epoch: int, every: int, batch: int, interval: int, last: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(Guard(every=1, patience=10, action="warn"))
    run.go_to(epoch, epochs=10, batches=500)
    run.trainer.check_val_every_n_epoch, run.progress.current.ready, run.trainer.val_check_batch = (
        every,
        batch,
        interval,
    )
    run.validate(ssim_G1=0.1)
    assert ("moved structure" in capsys.readouterr().err) == last


def test_a_figure_that_changes_is_warned_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(Guard(every=1, patience=1, action="warn"))
    for ssim in (0.1, 0.2, 0.3):
        run.validate(ssim_G1=ssim)
    assert capsys.readouterr().err.count("moved structure") == 1


@pytest.mark.parametrize(
    ("grid", "bicubic", "told"),
    [(157.0, 5.0, True), (2.9, 1.0, False), (3.8, 5.2, False)],  # of GS; of what it cannot be told from
)
def test_a_grid_is_told_whatever_the_action(
    grid: float, bicubic: float, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(Guard(every=1, patience=2, action="stop"))
    for _ in range(3):
        run.validate(grid_peak=grid, bicubic_grid_peak=bicubic)
    error = capsys.readouterr().err
    assert error.count("a grid is in GS's images, val/grid_peak is 157") == told
    assert len(run.notes) == told


def test_a_resumed_run_says_nothing_twice(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(Guard(every=1, patience=1, action="warn"))
    run.validate(ssim_G1=0.1)
    resumed = Run(Guard(every=1, patience=1, action="warn"))
    resumed.guard.load_state_dict(run.guard.state_dict())
    resumed.validate(ssim_G1=0.2)
    assert capsys.readouterr().err.count("moved structure") == 1
