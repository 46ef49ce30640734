"""One process, several, several nodes, several parts: the same training."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import REPOSITORY

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Seen = list[dict[str, Any]]  # by rank

STEPS = 5
DEEP = (
    *("name=probe", "networks.G1.kind=resnet", "networks.G1.downsamplings=0", "networks.G1.norm=none"),
    *("networks.G1.padding=zeros", "networks.G1.residual=true", "networks.G1.output=linear"),
)
BATCH = 16  # 80 fakes in all: more than the pool of 50 holds


def probe(workplace: Path, stage: str, devices: int, *overrides: str) -> Seen:
    name = "_".join([stage, str(devices), *(o.rpartition(".")[2].replace("=", "") for o in overrides)])
    files = [workplace / f"ddp/{name}_rank{rank}.pt" for rank in range(devices)]
    if not files[0].exists():
        settings = (
            *(f"stage={stage}", f"trainer.devices={devices}", f"trainer.limit_train_batches={STEPS}"),
            *(f"data.global_batch_size={BATCH}", "data.patches_per_case=96", "data.val_patches=8"),
            *(("synth_ckpt=outputs/smoke/synth/checkpoints/last.ckpt", "loss.warmup=0") if stage == "sr" else ()),
            *(("networks.GS.norm=none", "networks.DS.norm=instance", "networks.GS.skip=none") if stage == "sr" else ()),
            # A deep G1: beside a scanner's few weights, G2's last bias stays so near 0 that rounding shows in it.
            *(DEEP if stage == "synth" else ()),
        )
        command = [sys.executable, str(REPOSITORY / "tests/ddp_probe.py"), name, *settings, *overrides]
        done = subprocess.run(command, cwd=workplace, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(file) for file in files]


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    one, other = one.double(), other.double()  # counters too
    return float((one - other).norm() / one.norm().clamp_min(1e-30))


def assert_same_training(single: Seen, several: Seen) -> None:
    (one,) = single
    for rank in several[1:]:
        for name, value in several[0]["weights"].items():
            assert torch.equal(value, rank["weights"][name]), f"ranks differ in {name}"
    assert any(not torch.equal(value, one["initial"][name]) for name, value in one["weights"].items())
    for step in range(STEPS):
        for name, patches in one["batches"][step].items():
            assert torch.equal(torch.cat([rank["batches"][step][name] for rank in several]), patches), (step, name)
    compared = 0
    for alone, together in zip(one["gradients"], several[0]["gradients"], strict=True):
        if alone is not None and float(alone.norm()) > 0:
            assert apart(alone, together) < 1e-5
            compared += 1
    assert compared > 8  # a network that starts as interpolation has gradients in its last layer only
    worst = {name: apart(value, several[0]["weights"][name]) for name, value in one["weights"].items()}
    assert max(worst.values()) < 1e-5, max(worst.items(), key=lambda item: item[1])


@pytest.mark.parametrize("devices", [2, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("stage", "overrides"), [("synth", ("synth.pool_size=0",)), ("synth", ("synth.pool_size=50",)), ("sr", ())]
)
def test_processes_train_like_one(
    stage: str, overrides: tuple[str, ...], devices: int, smoke_run: Path, workplace: Path
) -> None:
    single = probe(workplace, stage, 1, *overrides)
    if overrides == ("synth.pool_size=50",):
        assert single[0]["pools"] == [50, 50]
    assert_same_training(single, probe(workplace, stage, devices, *overrides))


def test_a_scanner_has_the_gradients_of_one_device(smoke_run: Path, workplace: Path) -> None:
    """Its term for detail is one of the whole batch, whose distribution no device sees alone."""
    one, two = (probe(workplace, "synth", devices, "networks.G1.kind=scanner") for devices in (1, 2))
    compared = 0
    for alone, together in zip(one[0]["gradients"], two[0]["gradients"], strict=True):
        if alone is not None and float(alone.norm()) > 0:
            assert apart(alone, together) < 1e-5
            compared += 1
    assert compared > 8


@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("stage", ["synth", "sr"])
def test_parts_train_like_the_whole(stage: str, devices: int, smoke_run: Path, workplace: Path) -> None:
    # Each part refines the estimate of a singular value once more: parts equal the whole without it.
    overrides = ("synth.pool_size=50",) if stage == "synth" else ("networks.DS.spectral=false",)
    parts = probe(workplace, stage, devices, *overrides, "data.accumulate=2")
    assert_same_training(probe(workplace, stage, 1, *overrides), parts)


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **changes}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


SMOKE = (
    "experiment=smoke",
    "method=scanner",
    "evaluate=false",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
)


def test_two_nodes_by_torchrun_share_a_folder(smoke_run: Path, workplace: Path) -> None:
    folder = workplace / "outputs/nodes"
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"),
        *("--master-addr=127.0.0.1", f"--master-port={free_port()}"),
    ]
    program = [str(REPOSITORY / "train.py"), "stage=synth", *SMOKE, "trainer.num_nodes=2", f"hydra.run.dir={folder}"]
    nodes = [
        subprocess.Popen(
            [*command, f"--node-rank={rank}", *program],
            cwd=workplace,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [node.communicate(timeout=300)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], errors
    assert json.loads((folder / "summary.json").read_text())["stage"] == "synth"
    assert (folder / "checkpoints/last.ckpt").is_file()
    assert len([path for path in (workplace / "outputs").iterdir() if path.name.startswith("nodes")]) == 1


def test_torchrun_without_a_folder_is_refused(smoke_run: Path, workplace: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "train.py"), "stage=synth", *SMOKE],
        cwd=workplace,
        env=environment(TORCHELASTIC_RUN_ID="none", WORLD_SIZE="2"),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 2
    assert "give hydra.run.dir=<folder>" in done.stderr


def test_a_dead_process_ends_the_run(smoke_run: Path, workplace: Path) -> None:
    folder = workplace / "outputs/dead"
    running = subprocess.Popen(
        [
            *(sys.executable, str(REPOSITORY / "train.py"), "stage=synth", *SMOKE, "trainer.devices=2"),
            *("data.patches_per_case=40000", "trainer.max_epochs=1", f"hydra.run.dir={folder}"),
        ],
        cwd=workplace,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (folder / "metrics.csv").is_file() and time.monotonic() < deadline:
        time.sleep(0.2)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    trains = [pid for pid in children if b"train.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(trains[0]), signal.SIGKILL)
    assert running.wait(timeout=60) != 0
