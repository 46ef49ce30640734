"""`train.py` as a user types it."""

from __future__ import annotations

import csv
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

import train
from ctsr.data.plan import Plan
from ctsr.imaging.formats import readers
from ctsr.imaging.volume import Header
from ctsr.records.run import Run
from tests import wandb_file
from tests.conftest import REPOSITORY

MISSING = object()
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_run_folder_is_complete(smoke_run: Path) -> None:
    for folder, terms in (
        (
            smoke_run / "synth",
            {"G1_adversarial", "G2_adversarial", "cycle_x", "cycle_y", "ssim_x", "ssim_y", "detail", "D1", "D2"},
        ),
        (smoke_run, {"L2", "adversarial", "DS_real", "DS_fake"}),
    ):
        config = yaml.safe_load((folder / "config.yaml").read_text())
        assert "${" not in (folder / "config.yaml").read_text(), "the configuration is resolved"
        assert config["trainer"]["devices"] == 1
        with (folder / "metrics.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        assert {f"train/{term}" for term in terms} | {"lr_G", "lr_D", "patches_per_s"} <= set(rows[0])
        assert len([row for row in rows if row["patches_per_s"]]) == config[config["stage"]]["epochs"] * 2
        for picture in [folder / "curves.png", *sorted((folder / "panels").glob("*.png"))]:
            assert np.asarray(Image.open(picture).convert("L")).std() > 10, f"{picture} is blank"
    assert {path.name for path in (smoke_run / "panels").iterdir()} == {
        f"{name}_epoch_000{epoch}.png" for name in ("pairs", "clinical") for epoch in (1, 2)
    }


def test_bare_commands_train_the_papers_method_to_the_end(workplace: Path, command: Command) -> None:
    keys = ("experiment=smoke", "hydra.run.dir=outputs/bare", "logger=wandb", "logger.offline=true")
    done = command("train.py", "stage=all", *keys, cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("method paper: as published: ")
    for folder in ("outputs/bare/synth", "outputs/bare"):
        summary = json.loads((workplace / folder / "summary.json").read_text())
        own = {row["method"] for row in summary["rows"]} - {"nearest", "bicubic", "bicubic_mapped", "fx", "real"}
        assert (summary["method"], own) == ("paper", {"paper"})
        (offline,) = (workplace / folder).glob("wandb/offline-run-*/*.wandb")
        name, *place = wandb_file.run(offline)
        assert (name.rpartition("-")[2], place) == (summary["stage"], ["bare", summary["stage"]])
        for row in summary["rows"]:
            figure = "final/{protocol}/{method}/{metric}".format(**row)
            assert wandb_file.summary(offline)[figure] == pytest.approx(row["value"]), figure
        assert wandb_file.table(offline, "final/rows") == summary["rows"]
        assert max(row["batch"] for row in wandb_file.history(offline)) == 3, "the last of two epochs of two"


def test_summary_names_protocol_method_metric_and_next_command(smoke_run: Path) -> None:
    summary = json.loads((smoke_run / "summary.json").read_text())
    assert (summary["stage"], summary["method"]) == ("sr", "scanner")
    assert Path(summary["checkpoint"]) == Path("outputs/smoke/checkpoints/last.ckpt")
    assert {"ctsr", "torch", "lightning"} <= set(summary["versions"])
    found = {(row["protocol"], row["method"], row["metric"]) for row in summary["rows"]}
    for protocol in ("paired", "synthetic"):
        for method in ("nearest", "bicubic", "bicubic_mapped", "scanner"):
            assert {(protocol, method, m) for m in ("ssim", "psnr", "ssim_312um", "grad_corr")} <= found
        assert (protocol, "scanner", "grid_peak") in found
    assert {("clinical", method, "consistency_hu") for method in ("bicubic_mapped", "scanner")} <= found
    assert {("validation", method, "psnr") for method in ("bicubic", "bicubic_mapped", "scanner")} <= found
    synth = json.loads((smoke_run / "synth/summary.json").read_text())["rows"]
    assert {(row["method"], row["metric"]) for row in synth} >= {
        *(("scanner", metric) for metric in ("ssim_G1", "ssim_cycle", "swd", "greys", "spectrum_db")),
        *((method, "swd") for method in ("fx", "real")),
    }
    screen = (smoke_run / "screen.txt").read_text()
    assert screen.startswith("method scanner: a physical model of the scanner in place of the paper's G1\n")
    assert screen.index("\nstage synth\n") < screen.index("\nstage sr\n")
    assert re.findall(r"^epoch (\d) of 2(?=[,:])", screen, flags=re.MULTILINE) == ["1", "2", "1", "2"], "of each stage"
    following = "train.py stage=sr experiment=smoke method=scanner synth_ckpt=outputs/smoke/synth/checkpoints/last.ckpt"
    assert f"python {REPOSITORY}/{following}\n" in screen
    assert f"python {REPOSITORY}/infer.py ckpt=outputs/smoke/checkpoints/last.ckpt input=" in screen


def test_help_tells_a_newcomer_what_to_type(command: Command, tmp_path: Path) -> None:
    done = command("train.py", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) < 60
    assert max(len(line) for line in lines) <= 118
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        cfg = compose("train", ["stage=all", "data=volumes", "hardware=cpu", "logger=csv"])
    keys = {key for key in re.findall(r"([a-z_A-Z][\w./]*)=", done.stdout) if not re.match("hydra[./]|key$", key)}
    assert {"stage", "synth_ckpt", "data.clinical.root", "loss.lambda1", "trainer.devices", "logger"} <= keys
    groups = {"stage", "method", "experiment", "data", "hardware", "logger", "sweep"}
    assert not [key for key in keys - groups if OmegaConf.select(cfg, key, default=MISSING) is MISSING]
    defaults = dict(re.findall(r"([a-z_A-Z][\w.]*)=([\d.]+)(?=\s)", done.stdout.partition("Examples")[0]))
    del defaults["trainer.devices"]  # an example
    assert len(defaults) > 5
    for key, value in defaults.items():
        assert float(OmegaConf.select(cfg, key)) == float(value), key


def test_prepare_only_stops_with_a_page_to_look_at(smoke_run: Path, workplace: Path, command: Command) -> None:
    done = command(
        *("train.py", "stage=all", "experiment=smoke", "prepare_only=true", "hydra.run.dir=outputs/prepared"),
        cwd=workplace,
    )
    assert done.returncode == 0, done.stderr
    visible = sorted(path.name for path in (workplace / "outputs/prepared").glob("[!.]*"))
    assert visible == ["data.html", "split.csv"]
    assert "outputs/prepared/data.html" in done.stdout


def test_a_run_has_one_plan_and_reads_each_header_once(
    smoke_run: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both stages, on three scans of each domain."""
    monkeypatch.chdir(workplace)
    asked: list[str] = []
    plans: list[Plan] = []

    def probe(path: Path, *others: Any) -> Header:
        asked.append(path.name)
        return readers.probe(path, *others)

    def plan_of(run: Run) -> Plan:
        plans.append(planned(run))
        return plans[-1]

    planned = Plan.of
    monkeypatch.setattr("ctsr.data.plan.probe", probe)
    monkeypatch.setattr(Plan, "of", plan_of)
    roots = (f"data.{domain}.root=phantom-data/tiny/{domain}" for domain in ("clinical", "micro"))
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        cfg = compose("train", ["stage=all", "experiment=smoke", "method=scanner", "data=volumes", *roots])
    train.train(cfg, Path("outputs/planned"))
    assert sorted(asked) == [
        *(f"lung_00{k}.nii.gz" for k in range(3)),
        *(f"specimen_00{k}.nii.gz" for k in range(3)),
    ]
    assert len(plans) == 1


def test_splits_are_recorded_and_disjoint(smoke_run: Path) -> None:
    cases = json.loads((smoke_run / "summary.json").read_text())["cases"]
    for parts in cases.values():
        names = [name for part in parts.values() for name in part]
        assert len(names) == len(set(names)) == 3
    with (smoke_run / "split.csv").open(encoding="utf-8") as stream:
        listed = {(row["domain"], row["name"]): row["part"] for row in csv.DictReader(stream)}
    assert listed == {(d, name): part for d, parts in cases.items() for part, names in parts.items() for name in names}


def test_checkpoint_tells_what_it_is_and_holds_the_g1_of_synth(smoke_run: Path) -> None:
    synth = torch.load(smoke_run / "synth/checkpoints/last.ckpt", weights_only=True)
    sr = torch.load(smoke_run / "checkpoints/last.ckpt", weights_only=True)
    assert (synth["ctsr"]["stage"], sr["ctsr"]["stage"]) == ("synth", "sr")
    assert sr["ctsr"]["windows"]["clinical"] == [-1000.0, 100.0]
    assert set(sr["ctsr"]["grey_maps"]) == {"clinical", "synthetic", "calibrated"}
    for plain in sr["ctsr"]["grey_maps"].values():
        assert np.all(np.diff(plain["knots"]) > 0)
        assert np.all(np.diff(plain["values"]) >= 0), "a grey map keeps the order of greys"
    assert synth["ctsr"]["grey_maps"]["clinical"] == sr["ctsr"]["grey_maps"]["clinical"]
    assert sr["ctsr"]["spacing"]["clinical"] == pytest.approx([0.625, 0.625])
    assert yaml.safe_load(sr["ctsr"]["config"])["stage"] == "sr"
    weights = {name.removeprefix("G1."): value for name, value in synth["state_dict"].items() if name.startswith("G1.")}
    assert weights
    for name, value in weights.items():
        assert torch.equal(sr["state_dict"][f"G1.net.{name}"], value), name


def test_infer_enlarges_a_scan_with_its_checkpoint(smoke_run: Path, workplace: Path, command: Command) -> None:
    scan = workplace / "phantom-data/tiny/paired/lung_100/clinical.nii.gz"
    done = command(
        "infer.py", f"ckpt={smoke_run / 'checkpoints/last.ckpt'}", f"input={scan}", "output=sr.nii.gz", cwd=workplace
    )
    assert done.returncode == 0, done.stderr
    given, made = nibabel.load(scan), nibabel.load(workplace / "sr.nii.gz")
    assert made.shape == (8 * given.shape[0], 8 * given.shape[1], given.shape[2])
    for corner in np.ndindex(2, 2):  # outer edges, in world coordinates
        edge = [np.array([*(np.array(corner) * image.shape[:2] - 0.5), 0, 1]) for image in (given, made)]
        np.testing.assert_allclose(made.affine @ edge[1], given.affine @ edge[0], atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["stage", "all", "sr", "synth"]),
        (["stage=srr"], ["srr", "synth"]),
        (["stage=null"], ["group of keys", "not null"]),
        (["stage=all", "experiment=paper", "method=scanner"], ["experiment=paper", "method=scanner"]),
        (["stage=synth", "networks.G1.kind=scanner"], ["networks.G1.kind=scanner", "resnet", "name="]),
        (["stage=synth", "method=fx"], ["method=fx", "stage=synth", "stage=sr"]),
        (["stage=synth", "loss.lamda1=1"], ["loss.lamda1", "not in struct"]),
        (["stage=sr"], ["synth_ckpt"]),
        (["stage=synth", "data=volumes"], ["data.clinical.root", "needed"]),
        (
            ["stage=synth", "data=volumes", "data.clinical.root=nowhere", "data.micro.root=nowhere"],
            ["nowhere", "exist"],
        ),
        (["stage=synth", "data.clinical.root=.", "prepare_only=true"], ["data.clinical.root=.: ", "give data=volumes"]),
        (["stage=synth", "networks.G1.greys=guessed"], ["networks.G1.greys=guessed", "calibrated or learned"]),
        (["stage=synth", "data.micro.materials=[45,-1000]"], ["data.micro.materials=[45, -1000]", "air and of tissue"]),
        (["method=fx", "sr.noise=2"], ["sr.noise=2", "least and the largest"]),
        (["method=fx", "sr.spread=[2,1]"], ["sr.spread=[2, 1]", "least and the largest"]),
        (["stage=synth", "data.micro.patch=100"], ["data.micro.patch=100", "data.clinical.patch=32"]),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], expected: list[str], tmp_path: Path, command: Command) -> None:
    done = command("train.py", *arguments, cwd=tmp_path)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode != 0
    assert all(line.startswith("error: ") for line in lines), done.stderr
    assert all(word in lines[0] for word in expected), lines[0]
    assert len(lines) == (2 if "data=volumes" in arguments else 1), "a line for each root"
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not (tmp_path / "phantom-data").exists()


def test_pairs_that_are_measured_at_the_end_are_looked_for_at_the_start(
    smoke_run: Path, workplace: Path, command: Command
) -> None:
    asked = ("method=fx", "experiment=smoke", "data.paired.root=nowhere", "hydra.run.dir=outputs/no_pairs")
    done = command("train.py", *asked, cwd=workplace)
    assert done.returncode == 2
    assert done.stderr.startswith("error: nowhere holds no paired cases")
    assert not (workplace / "outputs/no_pairs/checkpoints").exists()


def test_too_small_scan_fails_before_work(tmp_path: Path, command: Command) -> None:
    import tifffile

    for name in ("clinical", "micro"):
        (tmp_path / name).mkdir()
    nibabel.save(
        nibabel.Nifti1Image(np.full((64, 64, 4), -800, np.int16), np.diag([0.6, 0.6, 1, 1])),
        tmp_path / "clinical/a.nii",
    )
    for z in range(4):
        tifffile.imwrite(tmp_path / f"micro/{z:03d}.tif", np.zeros((200, 200), np.uint8))
    done = command(
        *("train.py", "stage=synth", "data=volumes", "data.clinical.root=clinical", "data.micro.root=micro"),
        *("data.micro.file_spacing=0.0195", "data.micro.patch=128", "data.clinical.patch=16"),
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "48" in done.stderr
    assert "128" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "cache").exists()


def test_resume_goes_on_after_the_last_epoch(smoke_run: Path, workplace: Path, command: Command) -> None:
    last = smoke_run / "synth/checkpoints/last.ckpt"
    done = command(
        *("train.py", "stage=synth", "experiment=smoke", "method=scanner", f"resume={last}", "trainer.max_epochs=3"),
        *("hydra.run.dir=outputs/resumed", "logger=wandb"),
        cwd=workplace,
    )
    assert done.returncode == 0, done.stderr
    with (workplace / "outputs/resumed/metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["epoch"] for row in rows} == {"3"}, "two epochs were done before"
    assert [int(row["step"]) for row in rows if row["lr_G"]] == [4, 5]
    (offline,) = (workplace / "outputs/resumed/wandb").glob("offline-run-*/*.wandb")
    logged = wandb_file.history(offline)
    for name in ("train/D1", "train/ssim_x", "val/ssim_G1", "val/swd", "val/fx_swd", "lr_G"):
        in_csv = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        in_wandb = [(row["batch"], row[name]) for row in logged if name in row]
        assert in_wandb == [(step, pytest.approx(value)) for step, value in in_csv], name
        assert in_csv, name
    config = wandb_file.config(offline)
    assert config["stage"] == "synth"
    assert config["loss"]["lambda1"] == 0.5
    assert config["versions"]["ctsr"]
    pictures = {Path(name).parent.name for row in logged for name in row.get("panels/synthesis/filenames", [])}
    assert pictures == {"panels"}
