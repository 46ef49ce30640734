"""The jobs of a sweep: each a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ctsr.cli import quoted
from ctsr.errors import warn
from ctsr.files import replacing
from ctsr.sweeps.table import JOB

SSIM_KEYS = ("loss.lambda1=", "loss.lambda2=", "loss.ssim.")
PROCESS_GROUP = ("LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED")


def run_job(
    program: Path, overrides: Sequence[str], config: Mapping[str, Any], folder: Path, number: int, at_once: int
) -> None:
    """Run one job of a sweep in a process of its own: it shares nothing with the others, and may fail alone.

    Args:
        program: What trains.
        overrides: As typed, those of this job.
        config: What they come to.
        folder: The job's run folder, which is there; what the program prints goes into its `log.txt`.
        number: Which job it is, from 0.
        at_once: Jobs that run at the same time on this machine; -1: one for each core.
    """
    typed = list(overrides)
    told = [one for one in typed if one.startswith(SSIM_KEYS)]
    if told and number == 0 and config["stage"] in ("synth", "all") and config["networks"]["G1"]["kind"] == "scanner":
        warn(f"{', '.join(told)}: a G1 of kind scanner cannot distort, so SSIM terms change next to nothing")
    if "project" in config["logger"]:  # W&B: the jobs of a sweep stand together, named by what differs
        given = {"logger.group": folder.parent.name, "logger.name": folder.name}
        chosen = {override.partition("=")[0] for override in typed}
        typed += quoted([f"{key}={value}" for key, value in given.items() if key not in chosen], given)
    with (folder / "log.txt").open("w") as log:
        done = subprocess.run(
            [sys.executable, str(program), *typed, *quoted([f"hydra.run.dir={folder}"], ["hydra.run.dir"])],
            env=job_environment(number, at_once),
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    swept = dict(override.split("=", 1) for override in typed if not override.startswith("logger."))
    with replacing(folder / JOB) as partial:
        partial.write_text(json.dumps({"number": number, "overrides": swept, "returncode": done.returncode}))
    print(f"job {number}: {folder.name}: {'done' if done.returncode == 0 else f'failed, see {folder}/log.txt'}")


def job_environment(number: int, at_once: int) -> dict[str, str]:
    """What a job finds: nothing of a training around it, and its share of cores and GPUs."""
    environment = {name: value for name, value in os.environ.items() if name not in PROCESS_GROUP}
    cores = os.cpu_count() or 1
    at_once = at_once if at_once > 0 else cores
    if at_once > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, cores // at_once)))
        import torch

        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(torch.cuda.device_count())))).split(",")
        if len(gpus) > 1:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    return environment
