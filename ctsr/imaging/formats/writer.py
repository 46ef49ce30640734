"""Volumes to disk as NIfTI, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

from ctsr.errors import UserError
from ctsr.files import replacing
from ctsr.imaging.formats.recognise import is_nifti
from ctsr.imaging.volume import Affine, Volume


def write_volume(path: str | Path, volume: Volume) -> None:
    """Write a volume to .nii or .nii.gz; the file appears when it is complete.

    Args:
        path: Where to; the folder must exist. An existing file is replaced.
        volume: Integers and float32 are stored as they are, bool as uint8.

    Raises:
        UserError: Another file ending.
    """
    path = Path(path)
    if not is_nifti(path):
        raise UserError(f"{path} cannot be written: name it .nii or .nii.gz")
    array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
    image = nibabel.Nifti1Image(array.T, nifti_affine(volume.affine), dtype=array.dtype)
    set_geometry(image.header, volume.affine)
    with replacing(path) as partial:
        nibabel.save(image, partial)


def int16_header(shape: tuple[int, ...], affine: Affine) -> nibabel.Nifti1Header:
    """The header of a volume of 16 bit numbers that are written behind it: (z, y, x) in C order, little endian.

    Raises:
        HeaderDataError: There are more voxels along an axis than NIfTI holds.
    """
    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape[::-1])
    header.set_slope_inter(1, 0)
    set_geometry(header, affine)
    return header


def nifti_affine(affine: Affine) -> Affine:
    """Affine with its columns in NIfTI's axis order (x, y, z) instead of (z, y, x)."""
    return affine[:, [2, 1, 0, 3]]


def set_geometry(header: nibabel.Nifti1Header, affine: Affine) -> None:
    """Write an affine of array axes (z, y, x) into a NIfTI header: sform, qform and millimetres.

    A grid with shear (a tilted gantry) has no qform; readers then use the sform.
    """
    header.set_xyzt_units("mm")
    header.set_sform(nifti_affine(affine), code="scanner")
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    orthogonal = np.allclose(axes.T @ axes, np.eye(3), atol=1e-5)
    header.set_qform(nifti_affine(affine) if orthogonal else None, code="scanner" if orthogonal else "unknown")
