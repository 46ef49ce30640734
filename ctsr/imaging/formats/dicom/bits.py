"""Where what a DICOM header tells of bits and signs contradicts the numbers: a wrong reading tears neighbours apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom

from ctsr.errors import UserError
from ctsr.imaging.volume import Array

FEWEST_BITS = 10  # that hold a scan's greys: with fewer it is BitsStored that is wrong, not what stands above them


def without_unused_bits(file: Path, numbers: Array, image: pydicom.Dataset) -> Array:
    """The numbers in the bits that are stored; the others mean nothing, or overlays.

    Raises:
        UserError: BitsStored, HighBit or PixelRepresentation cannot be right.
    """
    unused = image.BitsAllocated - image.BitsStored
    if numbers.dtype.kind == "f" or image.BitsAllocated == 1 or unused <= 0:
        return numbers
    stored: Array = (numbers << unused) >> unused
    if np.array_equal(stored, numbers):
        return numbers
    below = image.HighBit + 1 - image.BitsStored  # unused bits at the lower end
    smoothest = min(_variation(numbers), _variation(_with_other_sign(numbers)))
    if below == 0 and image.BitsStored >= FEWEST_BITS and _variation(stored) <= smoothest:
        return stored
    if below == unused and not (numbers & ((1 << below) - 1)).any():
        upper: Array = numbers >> below
        return upper
    raise UserError(
        f"{file}: its numbers do not fit BitsStored {image.BitsStored}, HighBit {image.HighBit} and "
        f"PixelRepresentation {image.PixelRepresentation}: correct these tags, or convert the series to NIfTI"
    )


def with_true_signs(stored: list[Array]) -> list[Array]:
    """The slices of a CT as they are, or, where these 16-bit numbers are torn, with the other sign.

    Args:
        stored: The numbers of each slice.
    """
    types = {numbers.dtype for numbers in stored}
    if types == {np.dtype(np.uint16)}:
        odd = _hold_negatives(stored)
    elif types == {np.dtype(np.int16)}:  # huge numbers come out negative; -32768 may be padding
        odd = any(((numbers > -0x8000) & (numbers < -0x4000)).any() for numbers in stored)
    else:
        odd = False
    if not odd:
        return stored
    others = [_with_other_sign(numbers) for numbers in stored]
    return others if sum(map(_variation, others)) < sum(map(_variation, stored)) else stored


def _hold_negatives(stored: list[Array]) -> bool:
    """Whether numbers could be negative that come out huge: none is in the middle. 65535 alone may be saturation."""
    if any(((numbers >= 0x4000) & (numbers < 0xC000)).any() for numbers in stored):
        return False
    return any(((numbers >= 0xC000) & (numbers < 0xFFFF)).any() for numbers in stored)


def _with_other_sign(numbers: Array) -> Array:
    return numbers.view(f"{'i' if numbers.dtype.kind == 'u' else 'u'}{numbers.itemsize}")


def _variation(numbers: Array) -> float:
    """Of the numbers from neighbour to neighbour in a row."""
    return float(np.abs(np.diff(numbers.astype(np.float64))).sum())
