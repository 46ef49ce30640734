"""The machine that a benchmark runs on: what it is, what it can do, and what a process takes of its memory."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from tests.memory import anonymous

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile")  # of a processor, that matter to matrix products


def machine(device: str = "cpu") -> str:
    """Tell, in a line, of the cores, the version of torch, the processor's flags and the GPU."""
    known = Path("/proc/cpuinfo")
    words = set(known.read_text(encoding="utf-8").split()) if known.exists() else set()
    parts = [f"{os.cpu_count()} cores", f"torch {torch.__version__}", *(flag for flag in FLAGS if flag in words)]
    return ", ".join([*parts, torch.cuda.get_device_name()] if device == "cuda" else parts)


def peak(device: str, precision: str) -> float:
    """FLOP/s of a large matrix product."""
    kind, side = (torch.bfloat16 if precision == "bf16" else torch.float32), (8192 if device == "cuda" else 2048)
    a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best


class MemoryWatch:
    """Looks every 20 ms at the anonymous memory of this process: what it holds itself, without the files it maps.

    Attributes:
        most: Bytes, the most that was seen.
    """

    def __init__(self) -> None:
        self.most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.most = max(self.most, anonymous())
            if self._ended.wait(0.02):
                return
