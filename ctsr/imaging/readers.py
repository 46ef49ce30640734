"""Scans from disk: DICOM series, NIfTI and TIFF, each with its geometry.

`read_volume` reads voxels, `probe` only headers. What a format stores otherwise is brought to one convention:
array axes (z, y, x), affine to RAS+ millimetres with columns in the array's order, real grey units (HU for CT).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ctsr.errors import UserError
from ctsr.imaging.formats import FORMATS, files_in, is_dicom, is_nifti, is_tiff
from ctsr.imaging.nifti import probe_nifti, read_nifti
from ctsr.imaging.padding import mark_padding
from ctsr.imaging.tiff import FileSpacing, probe_tiff, read_tiff
from ctsr.imaging.volume import Header, Volume


def read_volume(path: str | Path, spacing: FileSpacing = None, padding_below: float | None = None) -> Volume:
    """Read a scan with its geometry.

    Args:
        path: A folder of DICOM slices (one series) or TIFF slices, a NIfTI file, or a multi-page TIFF.
        spacing: Voxel size of a TIFF in mm, one value or (z, y, x); TIFF holds none. Ignored for other formats.
        padding_below: Greys below it are scanner padding: marked in `Volume.outside` and set to -1024. DICOM CT needs
            none (-1500 HU and the padding tag apply); give `PADDING_BELOW_HU` for other scans in HU.

    Returns:
        The volume; whole-number greys stay integer, all others are float32.

    Raises:
        UserError: The path is missing, of another format, incomplete or without the geometry it needs.
    """
    path = Path(path)
    match _format(path):
        case "dicom":
            # Here, since training on prepared cases should not need SimpleITK.
            from ctsr.imaging.dicom import read_dicom

            volume = read_dicom(path)
        case "nifti":
            volume = read_nifti(path)
        case _:
            volume = read_tiff(path, spacing)
    if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
        raise UserError(f"{path} holds voxels that are not numbers (NaN): write the grey of air there")
    return volume if padding_below is None else mark_padding(volume, volume.array < padding_below)


def probe(path: str | Path, spacing: FileSpacing = None) -> Header:
    """Shape and geometry of a scan from its headers alone; arguments and errors as for `read_volume`."""
    path = Path(path)
    match _format(path):
        case "dicom":
            from ctsr.imaging.dicom import probe_dicom

            return probe_dicom(path)
        case "nifti":
            return probe_nifti(path)
        case _:
            return probe_tiff(path, spacing)


def _format(path: Path) -> str:
    if not path.exists():
        raise UserError(f"{path} does not exist")
    if path.is_dir():
        files = files_in(path)
        if any(is_tiff(file) for file in files):
            return "tiff"
        if any(is_dicom(file) for file in files):
            return "dicom"
        raise UserError(f"{path} holds no scan that can be read: give {FORMATS}")
    if is_nifti(path):
        return "nifti"
    if is_tiff(path):
        return "tiff"
    if is_dicom(path):
        raise UserError(f"{path} is one DICOM file: give the folder that holds the whole series")
    raise UserError(f"{path} is not a scan that can be read: give {FORMATS}")
