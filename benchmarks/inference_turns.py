"""What `benchmarks.inference` does in fresh processes: turns, the choice of a setting, and a look at a slice."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, prod
from time import perf_counter
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.inference_peers import OVERLAP, WHOLE, Job, Setting, enlarge_scan, enlarger, first_slice, load
from benchmarks.machine import MemoryWatch

Asked = ParamSpec("Asked")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Turn:
    """What a turn took.

    Attributes:
        seconds: From the call to the written file.
        network: Of these, the network's.
        memory: Most bytes of anonymous memory of the process.
        on_gpu: Most bytes that torch held there.
    """

    seconds: float
    network: float
    memory: int
    on_gpu: int


@dataclass(frozen=True)
class Look:
    """What a peer does to a slice: FLOPs executed, and largest difference from the whole slice in float32."""

    flops: int
    apart: float


def alone(work: Callable[Asked, Found], *given: Asked.args, **named: Asked.kwargs) -> Found:
    """Work in a fresh process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch._dynamo"])  # which reading a checkpoint needs, and takes seconds
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *given, **named).result()


def take_turn(job: Job) -> Turn:
    """Enlarge the part of the scan, after a first small image that sets up."""
    warnings.filterwarnings("ignore")
    model = load(job)
    enlarger(job, model)(torch.zeros(1, 1, 32, 32))
    if job.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with MemoryWatch() as watch:
        seconds, network = enlarge_scan(job, model)
    on_gpu = torch.cuda.max_memory_allocated() if job.device == "cuda" else 0
    return Turn(seconds, network, watch.most, on_gpu)


def fastest(job: Job, rois: Sequence[int]) -> Setting:
    """MONAI's setting that enlarges a slice in the least time, judged by two times two of its windows."""
    warnings.filterwarnings("ignore")
    model = load(job)
    image = first_slice(job, model)
    seconds: dict[Setting, float] = {}
    for roi, batch, last in product(rois, (1, 4), (False, True)):
        how = Setting(roi, batch, last)
        enlarge = enlarger(replace(job, how=how), replace(model, GS=deepcopy(model.GS)))
        few = image[..., : 2 * roi - int(OVERLAP * roi), : 2 * roi - int(OVERLAP * roi)]
        enlarge(few)
        started = perf_counter()
        enlarge(few)
        seconds[how] = (perf_counter() - started) * windows(image, roi) / windows(few, roi)
    return min(seconds, key=lambda how: seconds[how])


def windows(image: Tensor, roi: int) -> int:
    """How many windows MONAI lays over an image."""
    step = roi - int(OVERLAP * roi)
    return prod(ceil(max(size - roi, 0) / step) + 1 for size in image.shape[-2:])


def look(jobs: Sequence[Job], side: int) -> dict[str, Look]:
    """What each peer does to a slice.

    Args:
        jobs: Of the peers.
        side: Of the square of the slice that is compared with the whole.
    """
    warnings.filterwarnings("ignore")
    found: dict[str, Look] = {}
    model = load(jobs[0])
    image, square = first_slice(jobs[0], model), first_slice(jobs[0], model, side)
    exact = enlarger(replace(jobs[0], peer=WHOLE, precision="32"), model)(square)
    for job in jobs:
        enlarge = enlarger(job, load(job))
        made, flops = counted(enlarge, image)
        if square.shape != image.shape:
            made = enlarge(square)
        found[job.peer] = Look(flops, float((made - exact).abs().max()))
    return found


def counted(enlarge: Callable[[Tensor], Tensor], image: Tensor) -> tuple[Tensor, int]:
    """An image enlarged, and the FLOPs that it took."""
    with FlopCounterMode(display=False) as counter:
        made = enlarge(image)
    return made, counter.get_total_flops()
