"""Numba's compiler with this package's options, typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a loop over voxels; it lets other threads run, and the result is kept on disk for the next process."""
    return cast("Callable[P, R]", numba.njit(cache=True, nogil=True)(function))
