"""The study's curves over time: what a step takes, and which epochs are asked."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("learning_curves", REPOSITORY / "docs/learning_curves.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def a_run(folder: Path, *epochs: list[float]) -> Path:
    folder.mkdir()
    lines = [f"{epoch},{rate},\n" for epoch, rates in enumerate(epochs, start=1) for rate in rates]
    (folder / "metrics.csv").write_text("epoch,patches_per_s,val/ssim\n" + "".join(lines) + f"{len(epochs)},,0.4\n")
    (folder / "config.yaml").write_text("data:\n  global_batch_size: 16\n")
    return folder


def test_time_is_that_of_steps_which_nothing_slowed(script: ModuleType, tmp_path: Path) -> None:
    slowed = a_run(tmp_path / "ours_0", [4.0] * 100)  # patches a second
    partly = a_run(tmp_path / "ours_1", [4.0] * 80 + [8.0] * 21)  # other work beside for most of the time
    other = a_run(tmp_path / "others_0", [9.0] * 100)
    runs = [slowed, partly, other]
    assert script.minutes(slowed, runs, 1, 300) == pytest.approx(300 * 16 / 8 / 60)
    assert script.minutes(partly, runs, 1, 300) == pytest.approx(300 * 16 / 8 / 60)
    assert script.minutes(other, runs, 1, 300) == pytest.approx(300 * 16 / 9 / 60)


def test_time_knows_epochs_that_are_slower_than_others(script: ModuleType, tmp_path: Path) -> None:
    run = a_run(tmp_path / "ours_0", [8.0] * 100, [2.0] * 100)  # a warm-up, then a discriminator
    assert script.minutes(run, [run], 1, 150) == pytest.approx(150 * 16 / 8 / 60)
    assert script.minutes(run, [run], 2, 300) == pytest.approx(150 * 16 / 8 / 60 + 150 * 16 / 2 / 60)


def test_every_epoch_that_was_kept_is_known_by_its_number(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name in ("best-ssim=0.41-epoch=3.ckpt", "best-ssim=0.39-epoch=12.ckpt", "last.ckpt"):
        (tmp_path / "checkpoints" / name).touch()
    assert sorted(number for number, _ in script.epochs(tmp_path)) == [3, 12]


def test_what_the_table_holds_is_not_asked_again(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best-ssim=0.41-epoch=3.ckpt").write_bytes(b"no checkpoint")
    done = [{"run": tmp_path.name, "epoch": "3"}]
    assert list(script.asked(tmp_path, [tmp_path], [], done)) == []


def test_the_picture_has_a_line_a_run(script: ModuleType, tmp_path: Path) -> None:
    base = dict.fromkeys(script.HEAD, "") | {"run": script.BASE, "method": script.BASE}
    line = {"method": "ours", "seed": "0", "minutes": "2.5"}
    lines = [base | {"ssim": "0.36", "grad_corr": "0.4"}]
    lines += [
        line | {"run": run, "epoch": str(epoch), "ssim": "0.4", "grad_corr": "0.6"}
        for run in ("ours_0", "ours_1")
        for epoch in (1, 2)
    ]
    script.write(lines, tmp_path / "curves.csv")
    assert (tmp_path / "curves.csv").read_text().splitlines()[0] == "run,method,seed,epoch,minutes,ssim,grad_corr"
    script.draw(lines, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
