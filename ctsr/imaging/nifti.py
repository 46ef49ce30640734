"""NIfTI files; nibabel reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from ctsr.errors import UserError
from ctsr.imaging.volume import Header, Volume

_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


def probe_nifti(file: Path) -> Header:
    """Shape and geometry of a 3-D NIfTI file.

    Raises:
        UserError: Not a NIfTI file, not one volume, or a singular affine.
    """
    return _header(file, _open(file))


def read_nifti(file: Path) -> Volume:
    """Read a 3-D NIfTI file: the file's axes reversed, integers as stored, everything else as float32.

    Raises:
        UserError: As for `probe_nifti`, or the file is cut off.
    """
    image = _open(file)
    header = _header(file, image)
    proxy: Any = image.dataobj
    as_stored = (proxy.slope, proxy.inter) == (1.0, 0.0) and proxy.dtype.kind in "iu"
    try:
        array = np.asarray(proxy) if as_stored else np.asarray(proxy, dtype=np.float32)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{file} cannot be read to its end: {error}") from error
    array = array.reshape(header.shape[::-1]).T
    return Volume(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")), header.affine)


def _open(file: Path) -> nibabel.Nifti1Image:
    try:
        image = nibabel.load(file)
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError) as error:
        raise UserError(f"{file} is not a readable NIfTI file: {error}") from error
    if not isinstance(image, nibabel.Nifti1Image):
        raise UserError(f"{file} is named like a NIfTI file, but is none")
    return image


def _header(file: Path, image: nibabel.Nifti1Image) -> Header:
    shape = image.shape
    if len(shape) < 3 or any(n != 1 for n in shape[3:]) or 0 in shape:
        raise UserError(f"{file} has the shape {shape}: give a file with one 3-D volume")
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3] *= _MM[image.header.get_xyzt_units()[0]]
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise UserError(f"{file} has no usable geometry (its affine is singular): write it anew with a spacing")
    x, y, z = shape[:3]
    return Header((z, y, x), affine[:, [2, 1, 0, 3]], "nifti")
