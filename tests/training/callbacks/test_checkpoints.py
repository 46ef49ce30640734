"""Which epochs are kept beside the last one."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment

from ctsr.errors import Stopped
from ctsr.training.callbacks.checkpoints import SIGNALS, Checkpoints, ranked


def trainer_after(batches: int, **attributes: Any) -> Any:
    """What `Checkpoints` asks of a trainer."""
    progress = SimpleNamespace(total=SimpleNamespace(completed=batches))
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    return SimpleNamespace(**{"loggers": [], "fit_loop": loop, "world_size": 1, "is_global_zero": True} | attributes)


def epochs(folder: Path, mode: Literal["min", "max"], best: int, values: list[float]) -> list[str]:
    """Names of what is kept after epochs with these values; each file holds its epoch's number."""
    checkpoints = Checkpoints(folder, 0, "val/swd", mode, best)
    for epoch, value in enumerate(values):
        trainer = trainer_after(
            epoch + 1,
            current_epoch=epoch,
            max_epochs=len(values),
            callback_metrics={"val/swd": torch.tensor(value)},
            save_checkpoint=lambda path, epoch=epoch: Path(path).write_text(str(epoch + 1)),
        )
        checkpoints.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    assert (folder / "last.ckpt").read_text() == str(len(values))
    for path in folder.glob("best-*"):
        assert path.stem.endswith(f"epoch={path.read_text()}"), "the file is that epoch's"
    return [path.name for path in ranked(folder, "val/swd", mode)]


@pytest.mark.parametrize(
    ("mode", "best", "expected"),
    [
        ("min", 2, ["best-swd=0.1-epoch=2.ckpt", "best-swd=0.15-epoch=5.ckpt"]),
        ("max", 1, ["best-swd=0.3-epoch=1.ckpt"]),
        ("max", 3, ["best-swd=0.3-epoch=1.ckpt", "best-swd=0.2-epoch=3.ckpt", "best-swd=0.15-epoch=5.ckpt"]),
        ("min", 0, []),
    ],
)
def test_the_best_are_kept(tmp_path: Path, mode: Literal["min", "max"], best: int, expected: list[str]) -> None:
    assert epochs(tmp_path, mode, best, [0.3, 0.1, 0.2, float("nan"), 0.15]) == expected


def test_names_sort_by_number_not_by_text(tmp_path: Path) -> None:
    assert epochs(tmp_path, "min", 1, [12.5, 9.75, 1e-5, 2.0]) == ["best-swd=1e-05-epoch=3.ckpt"]


@pytest.mark.parametrize(
    ("environment", "rank", "code"),
    [(LightningEnvironment, 0, 75), (LightningEnvironment, 1, 0), (TorchElasticEnvironment, 1, 75)],
)
def test_who_is_watched_ends_as_if_all_was_well(
    environment: type[LightningEnvironment | TorchElasticEnvironment],
    rank: int,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lightning kills the first process where it sees another end with a code, and it would not exit with its own."""
    monkeypatch.setenv("LOCAL_RANK", str(rank))  # as in all processes by then
    strategy = SimpleNamespace(
        cluster_environment=environment(), reduce_boolean_decision=lambda decision, all: decision
    )
    trainer = trainer_after(
        7, world_size=2, is_global_zero=rank == 0, strategy=strategy, save_checkpoint=lambda path: path.touch()
    )
    checkpoints = Checkpoints(tmp_path, 0, None, "min", 0)
    checkpoints._note(signal.SIGTERM, None)
    with pytest.raises(Stopped, match="stopped by SIGTERM after batch 7") as stopped:
        checkpoints.on_train_batch_start(trainer, None, None, 7)  # type: ignore[arg-type]
    assert stopped.value.code == code


@pytest.mark.parametrize(
    ("numbers", "code"),
    [([signal.SIGTERM], 75), ([signal.SIGUSR1], 75), ([signal.SIGINT], 130), ([signal.SIGTERM, signal.SIGINT], 130)],
)
def test_a_signal_has_its_exit_code_and_leaves_one_checkpoint(
    numbers: list[signal.Signals], code: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trainer = trainer_after(7, strategy=None, save_checkpoint=lambda path: path.write_text("7"))
    checkpoints = Checkpoints(tmp_path, 0, None, "min", 0)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    checkpoints.on_train_start(trainer, None)  # type: ignore[arg-type]
    try:
        for number in numbers:
            signal.raise_signal(number)
        with pytest.raises(Stopped, match=f"stopped by {numbers[-1].name} after batch 7") as stopped:
            checkpoints.on_train_batch_start(trainer, None, None, 7)  # type: ignore[arg-type]
    finally:
        checkpoints.teardown(trainer, None, "fit")  # type: ignore[arg-type]
    assert stopped.value.code == code
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    assert ("press Ctrl-C again" in capfd.readouterr().err) == (signal.SIGINT in numbers)
    assert {number: signal.getsignal(number) for number in SIGNALS} == before


def test_a_second_ctrl_c_ends_at_once_and_leaves_the_last_checkpoint_whole(tmp_path: Path) -> None:
    def saved(path: Path) -> None:
        path.write_text("half")
        signal.raise_signal(signal.SIGINT)  # the second, while it is saved

    (tmp_path / "last.ckpt").write_text("whole")
    trainer = trainer_after(7, strategy=None, save_checkpoint=saved)
    checkpoints = Checkpoints(tmp_path, 0, None, "min", 0)
    checkpoints.on_train_start(trainer, None)  # type: ignore[arg-type]
    try:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.on_train_batch_start(trainer, None, None, 7)  # type: ignore[arg-type]
    finally:
        checkpoints.teardown(trainer, None, "fit")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    assert (tmp_path / "last.ckpt").read_text() == "whole"


def test_a_signal_in_the_last_epochs_validation_stops_too(tmp_path: Path) -> None:
    """Stage sr would follow, or minutes of measuring."""
    trainer = trainer_after(
        9,
        strategy=None,
        current_epoch=2,
        max_epochs=3,
        callback_metrics={},
        save_checkpoint=lambda path: path.write_text("9"),
    )
    checkpoints = Checkpoints(tmp_path, 0, None, "min", 0)
    checkpoints._note(signal.SIGTERM, None)
    with pytest.raises(Stopped, match="after batch 9"):
        checkpoints.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    assert (tmp_path / "last.ckpt").read_text() == "9"
