"""Who starts the processes of a run: nobody, for there is one; Lightning; torchrun; or srun."""

from __future__ import annotations

import os
from pathlib import Path

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.utilities import rank_zero_only

from ctsr.errors import UserError, as_typed
from ctsr.records.trainer import TrainerSettings
from ctsr.training.run_folder import run_id

SET_BY_SRUN = {"SLURM_STEP_ID", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"}  # the first by nothing else
ALONE = "or give hardware=gpu or hardware=cpu, which train in one process"


def environment(asked: TrainerSettings, processes: int) -> ClusterEnvironment | None:
    """What Lightning is to go by; None: it looks for itself.

    Left to itself it takes whatever runs inside a SLURM job for one of the job's tasks.

    Args:
        asked: How the run goes.
        processes: How many it is to have, over all nodes.
    """
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if _by_srun(asked, processes):
        return SLURMEnvironment()
    if processes == 1:
        rank_zero_only.rank = 0  # type: ignore[attr-defined]  # Lightning has taken SLURM_PROCID for it
    elif "SLURM_JOB_ID" not in os.environ:
        return None
    return LightningEnvironment()


def check_processes(asked: TrainerSettings, processes: int, folder: Path) -> None:
    """Makes sure that as many processes are started as the run is to have: others would be waited for.

    Args:
        asked: How the run goes.
        processes: How many it is to have, over all nodes.
        folder: The run's.

    Raises:
        UserError: They are not; what to do is named.
    """
    if TorchElasticEnvironment.detect():
        return
    started = os.environ.keys() >= SET_BY_SRUN
    if asked.srun and _tasks() > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise UserError(
            f"hardware=slurm (trainer.srun=true): the job has --ntasks={_tasks()} and no --ntasks-per-node: "
            f"ask for --ntasks-per-node=<devices of a node>, {ALONE}"
        )
    if asked.srun and max(_tasks(), asked.num_nodes) > 1 and not started:
        raise UserError(
            f"hardware=slurm (trainer.srun=true): srun has started none of the job's {_tasks()} tasks "
            f"(trainer.num_nodes={asked.num_nodes}): start with srun, {ALONE}"
        )
    if _by_srun(asked, processes) and _tasks() != processes:
        raise UserError(
            f"srun has started {_tasks()} processes, and trainer.devices={as_typed(asked.devices)} "
            f"trainer.num_nodes={asked.num_nodes} are {processes}: ask for as many"
        )
    alone = processes == 1 and not asked.srun
    if alone and started and os.environ["SLURM_PROCID"] != "0" and folder.name == run_id():
        raise UserError(
            f"srun has started {_tasks()} processes that would all train into {folder}: "
            "give hardware=slurm, or each process its own hydra.run.dir="
        )


def _by_srun(asked: TrainerSettings, processes: int) -> bool:
    """Whether srun has started this process as one of several of the run."""
    return (asked.srun or processes > 1) and _tasks() > 1 and os.environ.keys() >= SET_BY_SRUN


def _tasks() -> int:
    """Tasks of the SLURM job, or of srun's part of it; 1 outside."""
    return int(os.environ.get("SLURM_NTASKS", "1"))
