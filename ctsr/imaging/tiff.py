"""TIFF: a folder of slices, or one multi-page file; the format holds no voxel size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from ctsr.errors import UserError
from ctsr.imaging.formats import files_in, is_tiff
from ctsr.imaging.slices import FileSpacing, axial_affine, stacked
from ctsr.imaging.volume import Array, Header, Volume


def probe_tiff(path: Path, spacing: FileSpacing) -> Header:
    """Shape of a TIFF volume, with the voxel size that the user gives.

    Raises:
        UserError: No spacing, or neither grey slices nor one grey volume.
    """
    affine = axial_affine(path, spacing)
    files = _files(path)
    page = page_shape(files[0])
    shape = (len(files), *page) if len(page) == 2 else page
    if len(shape) != 3 or (len(page) == 3 and len(files) > 1):
        raise UserError(f"{files[0]} has the shape {page}: give grey slices, one a file, or one multi-page grey file")
    return Header((shape[0], shape[1], shape[2]), affine, "tiff", slice_axis=0)


def read_tiff(path: Path, spacing: FileSpacing) -> Volume:
    """Read a multi-page TIFF, or a folder's slices in the order of the numbers in their names.

    Raises:
        UserError: As for `probe_tiff`, or a file that is unreadable or unlike the others.
    """
    header = probe_tiff(path, spacing)
    files = _files(path)
    if len(files) > 1:
        return Volume(stacked(files, _pages), header.affine, slice_axis=0)
    pages = _pages(files[0]).reshape(header.shape)
    kind = np.dtype(np.float32) if pages.dtype.kind == "f" else pages.dtype.newbyteorder("=")
    return Volume(pages.astype(kind, copy=False), header.affine, slice_axis=0)


def page_shape(file: Path) -> tuple[int, ...]:
    """Shape of the image in one file: (y, x) for a slice, (z, y, x) for a multi-page volume.

    Raises:
        UserError: Not a TIFF, or in colour.
    """
    try:
        with tifffile.TiffFile(file) as tiff:
            series = tiff.series[0]
            if "S" in series.axes:
                raise UserError(f"{file} is a colour image: save it in greys")
            return tuple(series.shape)
    except (tifffile.TiffFileError, OSError, IndexError) as error:
        raise UserError(f"{file} is not a readable TIFF: {error}") from error


def _pages(file: Path) -> Array:
    try:
        pages: Array = np.asarray(tifffile.imread(file))
    except (tifffile.TiffFileError, OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    return pages


def _files(path: Path) -> list[Path]:
    return [file for file in files_in(path) if is_tiff(file)] if path.is_dir() else [path]
