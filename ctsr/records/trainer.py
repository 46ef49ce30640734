"""Where and how a run goes: Lightning's Trainer, checkpoints, the guard, panels and loggers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from ctsr.records.settings import Settings, Takes
from ctsr.records.values import AsList, Count, Flag, Text, Whole

Action = Literal["warn", "stop", "rewind"]

_Devices = (
    Annotated[int, Field(ge=1)]
    | Literal[-1, "auto"]
    | Annotated[str, Field(pattern=r"^(-1|[1-9]\d*|\d+,|\d+(,\d+)+,?)$")]
    | Annotated[tuple[Whole, ...], AsList, Field(min_length=1)]
)
Devices = Annotated[_Devices, Takes("how many, 1 or more, -1 or auto for all, or a list of numbers")]
ManyBatches = Annotated[
    Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, le=1)],
    Takes("a share of an epoch, 0.0 to 1.0, or a whole number of batches"),
]
SomeBatches = Annotated[
    Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, le=1)],
    Takes("a share of an epoch, above 0.0 to 1.0, or a whole number of batches, 1 or more"),
]
Precision = Annotated[
    Literal["auto", "32-true", "bf16-mixed", "16-mixed", "32", "bf16", "16", 32, 16],
    Takes("auto, 32-true, bf16-mixed or 16-mixed"),
]


class TrainerSettings(Settings):
    """Arguments of `lightning.Trainer`; others that it has may be appended, and are looked at when it is there.

    Attributes:
        srun: The processes are tasks of a SLURM job, started by srun.
    """

    model_config = ConfigDict(extra="allow")

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"]
    devices: Devices
    strategy: Literal["auto", "ddp_find_unused_parameters_true", "ddp"]
    precision: Precision
    num_nodes: Count
    max_epochs: Count | None
    limit_train_batches: SomeBatches
    limit_val_batches: ManyBatches
    check_val_every_n_epoch: Count
    log_every_n_steps: Count
    sync_batchnorm: Flag
    enable_progress_bar: Flag
    deterministic: Flag | Literal["warn"]
    srun: Flag = False  # not of Lightning; older runs have none
    val_check_interval: SomeBatches | None = None  # Lightning divides by it, whatever it is


class CheckpointSettings(Settings):
    """How often all is saved."""

    every_n_batches: Whole


class GuardSettings(Settings):
    """What happens when a training goes wrong."""

    action: Action
    rewinds: Whole
    patience: Count


class PanelSettings(Settings):
    """Pictures of the same patches after each epoch."""

    count: Count
    every: Count


class LoggerSettings(Settings):
    """A logger beside `metrics.csv`; none where no class is given. Its other arguments go to it as they are."""

    model_config = ConfigDict(extra="allow")

    target: Text | None = Field(None, alias="_target_")
    name: Text | None = None
    project: Text | None = None
    group: Text | None = None
    offline: Flag | None = None
    log_model: Flag | Literal["all"] = False


def counted(devices: object) -> int | None:
    """How many devices of each node `trainer.devices` asks for; None: as many as there are."""
    if devices in (-1, "-1", "auto"):
        return None
    if isinstance(devices, str):
        return len([part for part in devices.split(",") if part]) if "," in devices else int(devices)
    return devices if isinstance(devices, int) else len(devices)  # type: ignore[arg-type]
