"""W&B offline, TensorBoard and CSV, read back from disk."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wandb
from lightning import LightningDataModule, LightningModule, Trainer
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch import Tensor
from torch.utils.data import DataLoader

from ctsr.training.callbacks.curves import Curves, best_values
from ctsr.training.callbacks.panels import Column, Panels
from ctsr.training.loggers import TensorBoardRun, WandbRun, log_config, log_end
from ctsr.training.metrics_csv import MetricsCSV
from tests import wandb_file

CONFIG = {"stage": "synth", "loss": {"lambda1": 0.5}, "versions": {"ctsr": "1.2.3"}}


SSIM, SWD = (0.5, 0.75, 0.25), (0.5, 0.125, 0.25)
"""Of each epoch's validation."""
ROWS = [
    {"protocol": "validation", "method": "ours", "metric": "ssim", "value": 0.25},
    {"protocol": "paired", "method": "ours", "metric": "ssim", "value": 0.375},
    {"protocol": "paired", "method": "bicubic", "metric": "ssim", "value": 0.125},
]
CASES = [row | {"value": value, "case": case} for row in ROWS[1:] for case, value in (("a", 0.0625), ("b", 0.5))]


class Module(LightningModule):
    """Logs batch numbers by hand, as the project's modules do: two optimizers, no automatic steps."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD([self.weight], 0.1), torch.optim.SGD([self.weight], 0.1)]

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            optimizer.step()
        self.log("train/L2", float(batch.sum()) + 10.0 * self.current_epoch)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log_dict({"val/ssim": SSIM[self.current_epoch], "val/swd": SWD[self.current_epoch]})
        self.log("val/bicubic_ssim", 0.0)

    def panels(self, batch: dict[str, Tensor]) -> dict[str, list[Column]]:
        assert not self.training
        return {"pairs": [Column("x", batch["x"]), Column("nothing", 0 * batch["x"], difference=True)]}


class Data(LightningDataModule):
    """Three batches, 0, 1 and 2, and two probes."""

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader([torch.tensor(float(number)) for number in range(3)])  # type: ignore[arg-type]

    val_dataloader = train_dataloader

    def probes(self, count: int) -> tuple[dict[str, Tensor], list[str]]:
        return {"x": torch.linspace(-1, 1, count * 64).reshape(count, 1, 8, 8)}, ["lung_a", "lung_b"][:count]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs of three batches into all three loggers."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_API_KEY", "WANDB_MODE"):
            patch.delenv(name, raising=False)
        patch.setenv("NETRC", str(folder / "none"))  # no key is known
        loggers = [
            MetricsCSV(folder),
            WandbRun(str(folder), project="test"),
            TensorBoardRun(str(folder), name="tensorboard", version="", default_hp_metric=False),
        ]
        trainer = Trainer(
            max_epochs=3,
            accelerator="cpu",
            logger=loggers,
            log_every_n_steps=1,
            callbacks=[Panels(folder / "panels", count=2, every=1), Curves(folder, every=1, method="ours")],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        log_config(loggers, CONFIG)
        trainer.fit(Module(), datamodule=Data())
        Image.new("RGB", (8, 8), "red").save(folder / "paired.png")
        best = best_values(folder / "metrics.csv", "ours")
        log_end(loggers, {"rows": ROWS, "per_case": CASES}, best, folder, step=8)
        wandb.teardown()  # or programs that later tests start would write through this process's service
    return folder


def in_csv(run: Path) -> dict[str, list[tuple[int, float]]]:
    with (run / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    names = ("train/L2", "val/ssim")
    return {name: [(int(row["step"]), float(row[name])) for row in rows if row[name]] for name in names}


def wandb_run(run: Path) -> Path:
    (file,) = run.glob("wandb/offline-run-*/*.wandb")
    return file


def test_csv_counts_batches(run: Path) -> None:
    assert in_csv(run) == {
        "train/L2": [(0, 0.0), (1, 1.0), (2, 2.0), (3, 10.0), (4, 11.0), (5, 12.0), (6, 20.0), (7, 21.0), (8, 22.0)],
        "val/ssim": [(2, 0.5), (5, 0.75), (8, 0.25)],
    }


def test_wandb_has_the_same_scalars_over_an_axis_of_batches(run: Path) -> None:
    rows = wandb_file.history(wandb_run(run))
    for name, points in in_csv(run).items():
        assert [(row["batch"], row[name]) for row in rows if name in row] == [(s, pytest.approx(v)) for s, v in points]
    axes = wandb_file.axes(wandb_run(run))
    assert axes["*"] == "batch"


def test_tensorboard_has_the_same_scalars(run: Path) -> None:
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    for name, points in in_csv(run).items():
        assert [(event.step, event.value) for event in events.Scalars(name)] == [
            (s, pytest.approx(v)) for s, v in points
        ]


def test_epochs_count_from_1_everywhere(run: Path) -> None:
    expected = {0: 1, 1: 1, 2: 1, 3: 2, 4: 2, 5: 2, 6: 3, 7: 3, 8: 3}
    with (run / "metrics.csv").open() as stream:
        assert {int(row["step"]): int(row["epoch"]) for row in csv.DictReader(stream)} == expected
    in_wandb = wandb_file.history(wandb_run(run))
    assert {row["batch"]: row["epoch"] for row in in_wandb if "epoch" in row} == expected
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert {event.step: event.value for event in events.Scalars("epoch")} == expected


@pytest.mark.parametrize("first", [0, 1])
def test_a_table_that_counts_epochs_from_0_goes_on_from_1(first: int, tmp_path: Path) -> None:
    rows = [(first, 0, 4.0), (first, 1, 3.0), (first + 1, 2, 2.0), (first + 1, 3, 9.0)]
    (tmp_path / "metrics.csv").write_text("\n".join(["epoch,step,train/L2", *(f"{e},{s},{v}" for e, s, v in rows)]))
    for value in (2.5, 3.5):  # resumed twice: the second time it counts from 1 already
        resumed = MetricsCSV(tmp_path, resumed_at=3)
        resumed.log_metrics({"train/L2": value, "epoch": 1}, step=3)  # as Lightning counts
        resumed.save()
        with (tmp_path / "metrics.csv").open() as stream:
            table = [(int(row["epoch"]), int(row["step"]), float(row["train/L2"])) for row in csv.DictReader(stream)]
        assert table == [(1, 0, 4.0), (1, 1, 3.0), (2, 2, 2.0), (2, 3, value)]


def test_configuration_is_kept(run: Path) -> None:
    config = wandb_file.config(wandb_run(run))
    assert {name: config[name] for name in CONFIG} == CONFIG
    assert "lambda1: 0.5" in (run / "tensorboard/hparams.yaml").read_text()


def test_pictures_are_kept(run: Path) -> None:
    written = [np.asarray(Image.open(path).convert("RGB")) for path in sorted((run / "panels").glob("*.png"))]
    assert len(written) == 3
    rows = [row for row in wandb_file.history(wandb_run(run)) if "panels/pairs/filenames" in row]
    assert [row["batch"] for row in rows] == [2, 5, 8]
    files = wandb_run(run).parent / "files"
    for row, picture in zip(rows, written, strict=True):
        (name,) = row["panels/pairs/filenames"]
        assert np.array_equal(np.asarray(Image.open(files / name).convert("RGB")), picture)
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    assert [event.step for event in events.Images("panels/pairs")] == [2, 5, 8]
    assert len(events.Images("curves")) == 1
    assert np.asarray(Image.open(run / "curves.png").convert("L")).std() > 5


def test_both_dashboards_hold_the_final_figures_as_numbers_at_the_last_batch(run: Path) -> None:
    expected = {"final/validation/ours/ssim": 0.25, "final/paired/ours/ssim": 0.375, "final/paired/bicubic/ssim": 0.125}
    expected |= {"best/ssim": 0.75, "best/swd": 0.125}
    summary = wandb_file.summary(wandb_run(run))
    assert {name: summary[name] for name in expected} == expected
    rows = [row for row in wandb_file.history(wandb_run(run)) if "best/ssim" in row]
    assert [row["batch"] for row in rows] == [8]
    assert wandb_file.table(wandb_run(run), "final/rows") == ROWS
    assert wandb_file.table(wandb_run(run), "final/per_case") == CASES
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    for name, value in expected.items():
        assert [(event.step, event.value) for event in events.Scalars(name)] == [(8, value)]
    told = HParamsPluginData.FromString(events.summary_metadata["_hparams_/experiment"].plugin_data.content)
    metrics = {metric.name.tag for metric in told.experiment.metric_infos}
    assert metrics == set(expected), "columns by which runs can be sorted"


def test_both_dashboards_hold_the_held_out_pictures(run: Path) -> None:
    (row,) = (row for row in wandb_file.history(wandb_run(run)) if "paired/filenames" in row)
    assert row["batch"] == 8
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    assert [event.step for event in events.Images("paired")] == [8]


def test_the_summary_of_wandb_holds_the_best_and_the_last_validation(run: Path) -> None:
    summary = wandb_file.summary(wandb_run(run))
    assert summary["val/ssim"] == {"max": 0.75, "last": 0.25}
    assert summary["val/swd"] == {"min": 0.125, "last": 0.25}


def test_the_axis_of_wandb_does_not_go_back(run: Path) -> None:
    batches = [row["batch"] for row in wandb_file.history(wandb_run(run))]
    assert batches == sorted(batches)
    assert batches[-1] == 8


def test_batches_that_wandb_has_are_not_logged_again(tmp_path: Path) -> None:
    first = WandbRun(str(tmp_path), offline=True)
    for step in range(5):
        first.log_metrics({"train/L2": float(step)}, step)
    again = WandbRun(str(tmp_path), offline=True)  # of the same process, as after a collapse
    for step in (2, 3, 4, 5):
        again.log_metrics({"train/L2": 10.0 + step}, step)
    again.experiment.finish()
    wandb.teardown()
    logged = [(row["batch"], row["train/L2"]) for row in wandb_file.history(wandb_run(tmp_path))]
    assert logged == [(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (4, 14.0), (5, 15.0)]


def test_tensorboard_forgets_what_is_logged_again(tmp_path: Path) -> None:
    settings: dict[str, Any]
    for steps, more, settings in ((range(4), 0.0, {}), (range(2, 4), 10.0, {"purge_step": 2})):
        logger = TensorBoardRun(str(tmp_path), name="", version="", default_hp_metric=False, **settings)
        for step in steps:
            logger.log_metrics({"train/L2": step + more}, step)
        logger.experiment.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    logged = [(event.step, event.value) for event in events.Scalars("train/L2")]
    assert logged == [(0, 0.0), (1, 1.0), (2, 12.0), (3, 13.0)]


def test_a_dashboard_that_fails_at_the_end_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").write_text("no folder")
    logger = TensorBoardRun(str(tmp_path / "full"), name="", version="")
    log_end([logger], {"rows": ROWS}, {}, tmp_path, step=1)
    assert "logger: the final figures may be missing there, summary.json holds them: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("again", "name", "group"),
    [
        ({"name": "sr-2026-11-29_21-19-33"}, "seed=1", "sweep"),  # the name of conf/, which tells a time only
        ({"name": "sr-2026-11-29_21-19-33", "group": "other"}, "seed=1", "other"),
        ({"name": "typed"}, "typed", "sweep"),
        ({}, "seed=1", "sweep"),
    ],
)
def test_a_resumed_run_keeps_its_place_in_the_dashboard(
    again: dict[str, str], name: str, group: str, tmp_path: Path
) -> None:
    first = WandbRun(str(tmp_path), offline=True, name="seed=1", group="sweep")
    resumed = WandbRun(str(tmp_path), offline=True, **again)
    for logger, told in ((first, ("seed=1", "sweep")), (resumed, (name, group))):
        assert (logger._wandb_init["name"], logger._wandb_init["group"]) == told
        assert logger._wandb_init["id"] == first._wandb_init["id"]


def test_stages_of_one_run_stand_together_unless_a_group_was_given(tmp_path: Path) -> None:
    given: dict[str, str]
    for given, group in (({}, "night"), ({"group": "sweep"}, "sweep"), ({}, "sweep")):
        again = WandbRun(str(tmp_path), offline=True, together="night", **given)
        assert again._wandb_init["group"] == group


def test_a_run_of_an_older_version_keeps_its_id(tmp_path: Path) -> None:
    (tmp_path / "wandb_id").write_text("0123abcd")
    run = WandbRun(str(tmp_path), offline=True, name="sr-2026-11-29_21-19-33")
    assert (run._wandb_init["id"], run._wandb_init["name"]) == ("0123abcd", "sr-2026-11-29_21-19-33")
