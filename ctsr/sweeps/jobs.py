"""The jobs of a sweep: each a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ctsr.errors import warn
from ctsr.files import replacing
from ctsr.records.run import AS_TYPED
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
    typed = AS_TYPED.unquoted(overrides)
    told = [one for one in typed if one.startswith(SSIM_KEYS)]
    if told and number == 0 and config["stage"] in ("synth", "all") and config["networks"]["G1"]["kind"] == "scanner":
        warn(f"{', '.join(told)}: a G1 of kind scanner cannot distort, so SSIM terms change next to nothing")
    given = [f"hydra.run.dir={folder}"]
    if "project" in config["logger"]:  # W&B: the jobs of a sweep stand together, named as their folders
        chosen = set(as_mapping(typed))
        together = {"logger.group": folder.parent.name, "logger.name": folder.name}
        given += [f"{key}={value}" for key, value in together.items() if key not in chosen]
    with (folder / "log.txt").open("w") as log:
        job = subprocess.Popen(
            [sys.executable, str(program), *typed, *given],
            env=job_environment(number, at_once),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            returncode = job.wait()
        except BaseException:  # a signal: TERM is sent to this process alone, Ctrl-C to the job as well
            job.terminate()  # which makes it save
            job.wait()
            print(f"job {number}: {folder.name}: stopped; go on with resume=auto hydra.sweep.dir={folder.parent}")
            raise
    with replacing(folder / JOB) as partial:
        record = {"number": number, "overrides": as_mapping(typed), "returncode": returncode}
        partial.write_text(json.dumps(record), encoding="utf-8")
    print(f"job {number}: {folder.name}: {'done' if returncode == 0 else f'failed, see {folder}/log.txt'}")


def as_mapping(overrides: Iterable[str]) -> dict[str, str]:
    """Key -> value of `key=value`."""
    return dict(override.lstrip("+").split("=", 1) for override in overrides if "=" in override)


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
