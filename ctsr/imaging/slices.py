"""Folders of slices, one a file, in formats that hold no voxel size: what TIFF and pictures share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ctsr.errors import UserError
from ctsr.imaging.volume import Affine, Array

FileSpacing = float | Sequence[float] | None


def stacked(files: Sequence[Path], read: Callable[[Path], Array]) -> Array:
    """The slices of files, in their order, as (z, y, x).

    Raises:
        UserError: One has another shape or number type than the first.
    """
    first = read(files[0])
    array = np.empty(
        (len(files), *first.shape), dtype=np.float32 if first.dtype.kind == "f" else first.dtype.newbyteorder("=")
    )
    array[0] = first
    for target, file in zip(array[1:], files[1:], strict=True):
        page = read(file)
        if (page.shape, page.dtype) != (first.shape, first.dtype):
            raise UserError(f"{file} is {page.shape} {page.dtype}, unlike {files[0].name}: keep one volume's slices")
        target[:] = page
    return array


def axial_affine(path: Path, spacing: FileSpacing) -> Affine:
    """Slices go up, rows to the back and columns to the patient's left, as axial CT has them.

    Args:
        path: Whose, for the error.
        spacing: Voxel size in mm that the user gives, one value or (z, y, x).

    Raises:
        UserError: There is none, or it is no voxel size.
    """
    if spacing is None:
        raise UserError(f"{path} has no spacing inside: give file_spacing=<mm> (data.micro.file_spacing= in training)")
    sizes = [float(spacing)] * 3 if isinstance(spacing, int | float) else [float(size) for size in spacing]
    if len(sizes) != 3 or not all(size > 0 for size in sizes):
        raise UserError(f"file_spacing={spacing} is not a voxel size: give one number or [z, y, x] in mm")
    z, y, x = sizes
    return np.array([[0, 0, -x, 0], [0, -y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
