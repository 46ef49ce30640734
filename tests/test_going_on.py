"""What a run suggests is pasted into a shell, and goes on with the same cases."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from tests.conftest import REPOSITORY

Command = Callable[..., "subprocess.CompletedProcess[str]"]

SMOKE = ("experiment=smoke", "method=scanner")
ODD = "my scans [1] a=b"  # what a shell, or Hydra, would take apart


def pasted(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, shell=True, cwd=cwd, env=environment, capture_output=True, text=True, timeout=400, check=False
    )


def after(word: str, screen: str) -> str:
    (line,) = re.findall(rf"^{word} +(python .*)$", screen, flags=re.MULTILINE)
    return str(line)


@pytest.fixture(scope="module")
def own(smoke_run: Path, workplace: Path) -> Path:
    """Scans of other lungs than the phantom's, in a folder of an odd name; a list of them."""
    folder = workplace / ODD
    for domain in ("clinical", "micro"):
        for source in sorted((workplace / "phantom-data/tiny" / domain).iterdir()):
            image = nibabel.load(source)
            voxels = np.asarray(image.dataobj) + 1
            target = folder / domain / f"own {source.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(voxels, image.affine), target)
    with (folder / "list of = [mine].csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["domain", "path"])
        writer.writerows([path.parent.name, path.relative_to(folder)] for path in sorted(folder.rglob("*.nii.gz")))
    return folder


@pytest.mark.parametrize("by", ["root", "list"])
def test_next_goes_on_with_the_same_cases(by: str, own: Path, workplace: Path, command: Command) -> None:
    keys = [f"data.{domain}.root={ODD}/{domain}" for domain in ("clinical", "micro")]
    if by == "list":
        keys = [f"data.list={ODD}/list of = [mine].csv"]
    folder = workplace / f"outputs/own [by]={by}"
    experiment = workplace / "my conf/experiment/own smoke.yaml"  # the user's own, beside the program's
    experiment.parent.mkdir(parents=True, exist_ok=True)
    experiment.write_text("# @package _global_\ndefaults: [smoke]\npanels: {count: 1}\n")
    mine = ("experiment=own smoke", SMOKE[1], "data=volumes", *keys)
    done = command(
        *("train.py", "--config-dir=my conf", "stage=synth", *mine, f"hydra.run.dir='{folder}'"), cwd=workplace
    )
    assert done.returncode == 0, done.stderr
    following = after("next", done.stdout)
    assert shlex.split(following)[2:-1] == [f"--config-dir={workplace}/my conf", "stage=sr", *mine]
    went_on = pasted(f"{following} hydra.run.dir=outputs/next_by_{by}", workplace)
    assert went_on.returncode == 0, went_on.stderr
    assert "was trained on other" not in went_on.stderr
    of_synth, of_sr = (
        torch.load(place / "checkpoints/last.ckpt", weights_only=True)["ctsr"]
        for place in (folder, workplace / f"outputs/next_by_{by}")
    )
    names = [name for parts in of_sr["cases"].values() for part in parts.values() for name in part]
    assert len(names) == 6
    assert all(name.startswith("own ") for name in names)
    assert of_sr["cases"] == of_synth["cases"]
    assert of_sr["trained_on"] == of_synth["trained_on"]
    assert "notes" not in of_sr
    scan = "input='phantom-data/tiny/paired/lung_100/clinical.nii.gz'"
    enlarge = after("next", went_on.stdout).replace("input=<scan>", scan).replace("<result>", f"outputs/by_{by}")
    assert pasted(enlarge, workplace).returncode == 0
    assert (workplace / f"outputs/by_{by}.nii.gz").is_file()


def test_a_stopped_run_says_how_to_go_on(own: Path, workplace: Path) -> None:
    roots = [f"data.{domain}.root={ODD}/{domain}" for domain in ("clinical", "micro")]
    often = ("checkpoint.every_n_batches=1", "data.patches_per_case=400", "synth.epochs=1")
    folder = workplace / "outputs/stopped [a]=b"
    typed = ("stage=synth", *SMOKE, "data=volumes", *roots, *often, f"hydra.run.dir='{folder}'")
    running = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "train.py"), *typed],
        cwd=workplace,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (folder / "checkpoints/last.ckpt").is_file():
        assert running.poll() is None, running.communicate()[1]
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    _, told = running.communicate(timeout=100)
    assert running.returncode == 75, told
    stopped, going_on = told.splitlines()[-2:]
    assert re.fullmatch(r"stopped by SIGTERM after batch \d+, saved in .*last\.ckpt; go on with:", stopped)
    went_on = pasted(going_on, workplace)
    assert went_on.returncode == 0, went_on.stderr
    with (folder / "metrics.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["lr_G"]]
    assert steps == list(range(100)), "each batch once: the run went on"


def test_stage_sr_on_other_cases_than_its_g1_says_so(own: Path, workplace: Path, command: Command) -> None:
    """The scans of stage synth are left out of the command: then those of the phantom are trained on."""
    roots = [f"data.{domain}.root={ODD}/{domain}" for domain in ("clinical", "micro")]
    place = ("hydra.run.dir=outputs/of_others", "evaluate=false")
    done = command("train.py", "stage=synth", *SMOKE, "data=volumes", *roots, *place, cwd=workplace)
    assert done.returncode == 0, done.stderr
    G1 = "outputs/of_others/checkpoints/last.ckpt"
    place = ("hydra.run.dir=outputs/on_others", "evaluate=false")
    done = command("train.py", "stage=sr", *SMOKE, f"synth_ckpt={G1}", *place, cwd=workplace)
    assert done.returncode == 0, done.stderr
    (told,) = [line.removeprefix("warning: ") for line in done.stderr.splitlines() if "was trained on other" in line]
    assert re.sub("_00[0-2]", "", told) == (
        f"the G1 of {G1} was trained on other cases: of the clinical ones here 2 of 2 are new to it (lung, lung); "
        "of the micro ones here 2 of 2 are new to it (specimen, specimen)"
    )
    summary = json.loads((workplace / "outputs/on_others/summary.json").read_text())
    card = torch.load(workplace / "outputs/on_others/checkpoints/last.ckpt", weights_only=True)["ctsr"]
    assert summary["notes"] == card["notes"] == [told]
    assert f"note        {told}\n" in done.stdout


def test_a_finished_run_says_that_it_is_complete_and_shows_its_table(
    smoke_run: Path, workplace: Path, command: Command
) -> None:
    folder = workplace / "outputs/complete"
    shutil.copytree(smoke_run, folder)
    files = [path for path in folder.rglob("*") if path.is_file() and ".hydra" not in path.parts]
    before = {path: path.stat().st_mtime_ns for path in files}
    asked = ("train.py", "stage=all", *SMOKE, "resume=auto", "hydra.run.dir=outputs/complete")
    done = command(*asked, cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert "stage sr is complete: no epoch is left to train" in done.stdout
    assert "epoch 1 of" not in done.stdout
    first = (smoke_run / "screen.txt").read_text()
    assert (
        done.stdout[done.stdout.index("protocol: validation") :].splitlines()[:-3]
        == (first[first.rindex("protocol: validation") :].splitlines()[:-3])
    ), "the same tables"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    by_file = ("resume=outputs/complete/synth/checkpoints/last.ckpt", "hydra.run.dir=outputs/nothing_left")
    done = command("train.py", "stage=synth", *SMOKE, *by_file, cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert "stage synth is complete: no epoch is left to train" in done.stdout
    assert "checkpoint  outputs/smoke/synth/checkpoints/last.ckpt" in done.stdout
    assert not list((workplace / "outputs/nothing_left").rglob("*.ckpt"))
    done = command(*asked, "sr.epochs=3", cwd=workplace)
    assert re.findall(r"^epoch (\d) of 3(?=[,:])", done.stdout, flags=re.MULTILINE) == ["3"], "more are asked for"


def test_a_checkpoint_without_its_run_in_which_nothing_is_left_is_refused(
    smoke_run: Path, workplace: Path, tmp_path: Path, command: Command
) -> None:
    alone = tmp_path / "copies/of/last.ckpt"
    alone.parent.mkdir(parents=True)
    shutil.copyfile(smoke_run / "synth/checkpoints/last.ckpt", alone)
    done = command("train.py", "stage=synth", *SMOKE, f"resume={alone}", f"hydra.run.dir={tmp_path}/new", cwd=workplace)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: resume: {alone} has 2 epochs, 2 are asked for: nothing is left to train, "
        "give more by trainer.max_epochs=\n"
    )
    assert not (tmp_path / "new").exists()
