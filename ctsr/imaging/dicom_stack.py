"""DICOM slices in the order of their positions, once they are known to be one regular grid.

Positions win over all other tags that tell of distances. Numbers are compared as exactly as they are written: 0.625 mm
steps with one decimal are 0.6 and 0.7 mm, and yet regular.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ctsr.errors import UserError
from ctsr.imaging.dicom_headers import Slice, Vector
from ctsr.imaging.volume import LPS_TO_RAS, Affine

UNKNOWN_THICKNESS = 1.0  # mm, of a single slice that does not tell it
_TURNED = 0.006  # by how much directions may differ: two decimals


class Stack(NamedTuple):
    """Slices from the first to the last along their normal.

    Attributes:
        slices: In order.
        affine: From (z, y, x, 1) to RAS mm.
    """

    slices: list[Slice]
    affine: Affine


def stack(path: Path, slices: list[Slice]) -> Stack:
    """Sort slices, and make sure that they are one volume.

    Args:
        path: Where they are, for the errors.
        slices: In any order.

    Raises:
        UserError: They differ in size, spacing, orientation or in whether their greys are told; one is there twice, is
            missing or is shifted sideways.
    """
    first = min(slices, key=lambda s: _unit(s.spacing))  # of spacings that are rounded unequally, the most exact
    for other in slices:
        _check_alike(path, first, other)
    slices = sorted(slices, key=lambda s: float(s.position @ first.normal))
    affine = np.eye(4)
    steps = [_step(path, slices), first.down * first.spacing[0], first.right * first.spacing[1]]
    affine[:3, :3] = LPS_TO_RAS @ np.stack(steps, axis=1)
    affine[:3, 3] = LPS_TO_RAS @ slices[0].position
    return Stack(slices, affine)


def _check_alike(path: Path, first: Slice, other: Slice) -> None:
    size = np.array(first.spacing)
    rounding = np.clip(_unit(other.spacing) / 2, 1e-4 * size, 0.01 * size)
    alike = other.size == first.size and (np.abs(size - other.spacing) <= rounding).all()
    turned = np.abs(np.subtract([other.down, other.right], [first.down, first.right])).max()
    if not alike or turned > _TURNED:
        raise UserError(
            f"{path}: {other.name} differs from {first.name} in size, spacing or orientation: "
            "keep only the slices of one volume"
        )
    if other.scale.told != first.scale.told:
        bare, full = (other, first) if first.scale.told else (first, other)
        raise UserError(f"{path}: {bare.name} lacks the rescale slope or intercept that {full.name} has: correct it")


def _step(path: Path, slices: list[Slice]) -> Vector:
    """The vector from slice to slice, after making sure that it is the same everywhere."""
    normal = slices[0].normal
    if len(slices) == 1:
        return normal * (slices[0].thickness or UNKNOWN_THICKNESS)
    positions = np.stack([s.position for s in slices])
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps))
    units = np.array([_unit(axis) for axis in positions.T])
    rounding = float(units @ np.abs(normal)) / 2  # of a position along the normal
    if rounding > usual / 4:  # it could hide a missing slice
        units, rounding = np.zeros(3), 0.0
    for gap, before, after in zip(gaps, slices, slices[1:], strict=False):
        between = f"between {before.name} and {after.name}"
        if gap <= 0.01 * usual or gap < 1e-4:
            raise UserError(f"{path}: no distance {between}: keep one of them, and one stack of one time")
        if abs(gap - usual) > max(0.01 * usual, 3 * rounding):
            raise UserError(f"{path}: {gap:.4g} mm {between}, where {usual:.4g} mm is usual: is a slice missing?")
    step: Vector = (positions[-1] - positions[0]) / (len(slices) - 1)
    astray = np.abs(positions - positions[0] - np.arange(len(slices))[:, None] * step).max(axis=1)
    if astray.max() > max(0.1, 0.1 * usual, 0.75 * units.max()):
        raise UserError(f"{path}: {slices[int(astray.argmax())].name} is shifted sideways from its neighbours")
    return step


def _unit(values: Vector | tuple[float, float]) -> float:
    """The last decimal that numbers are written with, such as 0.01; 0 where they have many."""
    for decimals in range(5):
        if np.allclose(values, np.round(values, decimals), rtol=0, atol=1e-6):
            return float(10.0**-decimals)
    return 0.0
