"""An image volume: the array and where it lies in the world, never one without the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]  # voxels of any number type
Image = npt.NDArray[np.float32]  # one slice, or voxels of this type
Mask = npt.NDArray[np.bool_]
Affine = npt.NDArray[np.float64]
Spacing = tuple[float, float, float]
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])  # world axes of DICOM and ITK to those of NIfTI

SCALE = 8
"""The networks' enlargement within the plane: three octaves."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan with its geometry.

    Attributes:
        array: Voxels, axes (z, y, x); axis 0 runs over slices once the volume is canonical.
        affine: 4x4 matrix from array index (z, y, x, 1) to world millimetres, RAS+ (as NIfTI). Its columns follow the
            *array's* axes, so the first column is the step from slice to slice.
        outside: True where the scanner wrote padding instead of tissue (outside its field of view); None: nowhere.
        slice_axis: The array axis across the acquired slices, where the file format says so (DICOM, TIFF: 0);
            None: unknown (NIfTI), to be judged from the spacing.
        padding: The grey that the file itself has outside, the lowest where it has several; None: as `outside`.
        thickness: Of a slice in mm, where the file tells (DICOM); slices may overlap or leave gaps.
        modality: What made it, such as "CT", where the file tells (DICOM).
        kernel: Its reconstruction kernel, as the scanner calls it, where the file tells (DICOM).
    """

    array: Array
    affine: Affine
    outside: npt.NDArray[np.bool_] | None = None
    slice_axis: int | None = None
    padding: float | None = None
    thickness: float | None = None
    modality: str | None = None
    kernel: str | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels (z, y, x)."""
        z, y, x = self.array.shape
        return z, y, x

    @property
    def spacing(self) -> Spacing:
        """Voxel size (z, y, x) in millimetres."""
        return spacing_of(self.affine)


@dataclass(frozen=True, eq=False)
class Header:
    """What is known of a scan without reading its voxels.

    Attributes:
        shape: (z, y, x), as the volume will have it.
        affine: As `Volume.affine`.
        format: Its name in `ctsr.imaging.formats.table.TABLE`.
        slice_axis: As `Volume.slice_axis`.
        voxel_bytes: What a voxel takes in memory, at least.
        thickness: As `Volume.thickness`.
    """

    shape: tuple[int, int, int]
    affine: Affine
    format: str
    slice_axis: int | None = None
    voxel_bytes: int = 1
    thickness: float | None = None

    @property
    def spacing(self) -> Spacing:
        """Voxel size (z, y, x) in millimetres."""
        return spacing_of(self.affine)


def spacing_of(affine: Affine) -> Spacing:
    """Voxel size (z, y, x) in millimetres of a grid whose affine has its columns in that order."""
    z, y, x = np.linalg.norm(affine[:3, :3], axis=0)
    return float(z), float(y), float(x)
