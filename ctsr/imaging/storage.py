"""Where large arrays live: in memory, or in temporary files that are mapped, of which memory holds what is in use."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ctsr.files import reserve
from ctsr.imaging.volume import Array

Allocate = Callable[[tuple[int, ...], npt.DTypeLike], Array]
"""Makes an array of a shape and type, its values undefined: `numpy.empty`, or `MappedFiles`."""


def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike, allocate: Allocate) -> Array:
    """An array of zeros, wherever `allocate` puts it."""
    array = allocate(shape, dtype)
    array[...] = 0
    return array


class NoRoomError(OSError):
    """A folder cannot be written, or its disk is full: no fault of the file that is read into it."""


def filled(length: int, parts: Iterator[Array], allocate: Allocate) -> Array:
    """Make an array of parts, of which one at a time is in memory.

    Args:
        length: Of the array, along axis 0.
        parts: One after the other along axis 0; all are of the first one's type, which the array has in this machine's
            byte order.
        allocate: Makes it.

    Raises:
        ValueError: The parts are too few or too many.
    """
    first = next(parts)
    array = allocate((length, *first.shape[1:]), first.dtype.newbyteorder("="))
    array[: len(first)] = first
    place = len(first)
    del first
    for part in parts:
        array[place : place + len(part)] = part
        place += len(part)
    if place != length:
        raise ValueError(f"it has {place} slices instead of {length}")
    return array


class MappedFiles:
    """Makes arrays in files of a folder, one each.

    A file is gone with its array, and with the process, however it ends. Its space is taken at once.

    Args:
        folder: On a disk; where it is memory, nothing is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An array of zeros, in C order.

        Raises:
            NoRoomError: The folder cannot be written, or its disk is full.
        """
        kind = np.dtype(dtype)
        size = prod(shape) * kind.itemsize
        if not size:
            return np.empty(shape, kind)
        try:
            with tempfile.TemporaryFile(prefix=".", suffix=".partial", dir=self.folder) as file:
                reserve(file, size)
                mapped = mmap.mmap(file.fileno(), size)
        except OSError as error:  # the file has no name
            raise NoRoomError(error.errno, error.strerror, str(self.folder)) from error
        array: npt.NDArray[Any] = np.frombuffer(mapped, kind).reshape(shape)
        return array
