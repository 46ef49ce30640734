"""DICOM slices in the order of their positions, once they are known to be one regular grid.

Positions win over all other tags that tell of distances. Numbers are compared as exactly as they are written: 0.625 mm
steps with one decimal are 0.6 and 0.7 mm, and yet regular.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median_low
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ctsr.errors import UserError, some_of
from ctsr.imaging.formats.dicom.headers import Slice, Vector
from ctsr.imaging.formats.dicom.passes import between_each_other, told_apart
from ctsr.imaging.formats.recognise import natural_key
from ctsr.imaging.volume import LPS_TO_RAS, Affine

UNKNOWN_THICKNESS = 1.0  # mm, of a single slice that does not tell it
_MISSING = 1.5  # times the usual distance: where a slice is missing it is more
_SHOWN = 3  # passes, and files of each, in a message
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
            missing or out of its place, or they are of several passes or stacks between each other.
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
    _check_passes(path, slices, gaps <= max(0.01 * usual, 1e-4))
    tolerance = max(0.01 * usual, 3 * rounding)
    if (np.abs(gaps - usual) > tolerance).any():
        raise _uneven(path, slices, gaps, tolerance)
    step: Vector = (positions[-1] - positions[0]) / (len(slices) - 1)
    astray = positions - positions[0] - np.arange(len(slices))[:, None] * step
    if np.abs(astray).max() > max(0.1, 0.1 * usual, 0.75 * units.max()):
        worst = int(np.abs(astray).max(axis=1).argmax())
        if abs(astray[worst] @ normal) > 0.5**0.5 * np.linalg.norm(astray[worst]):  # rather along the normal
            raise _uneven(path, slices, gaps, tolerance)
        raise UserError(f"{path}: {slices[worst].name} is shifted sideways from its neighbours")
    return step


def _check_passes(path: Path, slices: list[Slice], same: npt.NDArray[np.bool_]) -> None:
    """Make sure that slices are of one pass over the body, each place in it once.

    Args:
        path: Where they are, for the errors.
        slices: In order.
        same: Of each but the last, whether the next lies in the same place.
    """
    told = [s.passes for s in slices]
    if same.any():
        before = int(same.argmax())
        passes = told_apart(told, before, before + 1)
        raise UserError(
            f"{path}: no distance between {slices[before].name} and {slices[before + 1].name}: "
            f"keep one of them, and one stack of one time{f', of {passes}' if passes else ''}"
        )
    if (passes := between_each_other(told)) is not None:
        groups = [
            sorted({slices[place].file for place in of}, key=natural_key)
            for of in list(passes.groups.values())[:_SHOWN]
        ]
        files = " or ".join(some_of([file.name for file in of], _SHOWN) for of in groups)
        of_files = len(set(map(tuple, groups))) > 1  # not frames of one
        raise UserError(
            f"{path} holds {passes} whose slices lie between each other's: keep one{f', {files}' if of_files else ''}"
        )


def _uneven(path: Path, slices: list[Slice], gaps: Vector, tolerance: float) -> UserError:
    """Why distances differ, told by the distances: a slice is missing, or in a wrong place, or there are two stacks."""
    usual = median_low(gaps)  # one of them
    odd = np.flatnonzero(np.abs(gaps - usual) > tolerance)
    if len(odd) and (gaps[odd] > _MISSING * usual).all() and (len(odd) == 1 or len(odd) < len(gaps) / 3):
        gap, before, after = gaps[odd[0]], slices[odd[0]].name, slices[odd[0] + 1].name
        return UserError(
            f"{path}: {gap:.4g} mm between {before} and {after}, where {usual:.4g} mm is usual: is a slice missing?"
        )
    if len(odd) == 2 < len(gaps) - 1 and odd[1] == odd[0] + 1 and abs(gaps[odd].sum() - 2 * usual) <= 2 * tolerance:
        before, astray, after = (slices[odd[0] + place].name for place in range(3))
        return UserError(
            f"{path}: {astray} is out of its place, {gaps[odd[0]]:.4g} mm from {before} and {gaps[odd[1]]:.4g} mm from "
            f"{after}, where {usual:.4g} mm is usual: correct its position"
        )
    closest = int(gaps.argmin())
    return UserError(
        f"{path} is unevenly spaced, or one stack overlaps another: its slices lie {gaps.min():.4g} to "
        f"{gaps.max():.4g} mm apart, the closest {slices[closest].name} and {slices[closest + 1].name}: keep one stack"
    )


def _unit(values: Vector | tuple[float, float]) -> float:
    """The last decimal that numbers are written with, such as 0.01; 0 where they have many."""
    for decimals in range(5):
        if np.allclose(values, np.round(values, decimals), rtol=0, atol=1e-6):
            return float(10.0**-decimals)
    return 0.0
