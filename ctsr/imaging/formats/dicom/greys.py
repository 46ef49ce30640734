"""The greys that a DICOM series stands for: HU, if it is a CT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.pixels.processing import apply_modality_lut

from ctsr.errors import warn
from ctsr.imaging.formats.dicom.headers import Scale, Slice
from ctsr.imaging.formats.dicom.pixels import stored_numbers, with_true_signs
from ctsr.imaging.padding import PADDING_BELOW_HU
from ctsr.imaging.storage import Allocate
from ctsr.imaging.volume import Array


def read_greys(path: Path, slices: list[Slice], allocate: Allocate) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The greys of slices in their order, (z, y, x), and where they are padding.

    Whole-number greys stay integer, all others are float32.

    Args:
        path: Where they are, for what is told.
        slices: Of one volume.
        allocate: Makes the arrays.

    Raises:
        UserError: A file is cut off, or its compression cannot be decoded, or the numbers contradict its header.
    """
    block, stored = _stored(slices, allocate)
    if slices[0].is_ct and (signed := with_true_signs(stored)) is not stored:
        stored, kind = signed, signed[0].dtype.name
        warn(f"{path}: the signs of its numbers contradict PixelRepresentation: taken as {kind}")
    # Slices may come to different types: one that holds all is known before the first is kept.
    common = np.result_type(*{_greys(numbers, s.scale).dtype for numbers, s in zip(stored, slices, strict=True)})
    greys = block.view(common) if common.itemsize == block.itemsize else allocate(block.shape, common)
    padding = allocate(block.shape, bool)
    for place, s in enumerate(slices):
        padding[place] = _padding(stored[place], s)
        greys[place] = _greys(stored[place], s.scale)  # most often in its place, to hold the volume once
        if slices[0].is_ct:
            padding[place] |= greys[place] < PADDING_BELOW_HU
    return greys, padding


def _stored(slices: list[Slice], allocate: Allocate) -> tuple[Array, list[Array]]:
    """The numbers of each slice, in its own type, and the array that all are part of whose size is the first one's.

    A file of several frames is read once, and whole.
    """
    places: dict[Path, list[int]] = {}
    for place, s in enumerate(slices):
        places.setdefault(s.file, []).append(place)
    block: Array | None = None
    stored: list[Array] = [np.empty(0)] * len(slices)
    for file, there in places.items():
        frames = stored_numbers(file)
        kind, size = frames.dtype, frames.shape[1:]
        if block is None:
            block = allocate((len(slices), *size), kind)
        for place in there:
            fits = kind.itemsize == block.itemsize
            stored[place] = block[place].view(kind) if fits else allocate(size, kind)
            stored[place][:] = frames[slices[place].frame]
    assert block is not None, "no slices"
    return block, stored


def _greys(numbers: Array, scale: Scale) -> Array:
    if scale.table is not None:
        return _smallest(apply_modality_lut(numbers, scale.table))
    greys = numbers * scale.slope + scale.intercept
    whole = numbers.dtype.kind != "f" and scale.slope % 1 == scale.intercept % 1 == 0
    return _smallest(greys) if whole else greys.astype(np.float32)


def _smallest(greys: Array) -> Array:
    """The same whole numbers in the smallest type that is usual, or as float32 where they are too large for any."""
    low, high = greys.min(), greys.max()
    types = (np.int16, np.uint16, np.int32)
    fitting = (kind for kind in types if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return greys.astype(next(fitting, np.float32))


def _padding(numbers: Array, s: Slice) -> npt.NDArray[np.bool_]:
    """Where the tag says that there is padding; it holds stored numbers, sometimes with the wrong sign."""
    nowhere = np.zeros(numbers.shape, dtype=bool)
    if s.padding is None:
        return nowhere
    low, high = s.padding
    if numbers.dtype.kind != "f":
        limits = np.iinfo(numbers.dtype)
        turn = 2**limits.bits * ((high < limits.min) - (low > limits.max))
        low, high = low + turn, high + turn
    # In CT a padding tag within the range of tissue is wrong, and would cut holes into the lung.
    if s.is_ct and high * s.scale.slope + s.scale.intercept > -1000:
        return nowhere
    return (numbers >= low) & (numbers <= high)
