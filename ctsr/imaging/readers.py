"""Scans from disk, of any format that researchers meet, each with its geometry.

`read_volume` reads voxels, `probe` only headers. What a format stores otherwise is brought to one convention:
array axes (z, y, x), affine to RAS+ millimetres with columns in the array's order, real grey units (HU for CT).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ctsr.errors import UserError
from ctsr.imaging.formats import FORMATS, format_of
from ctsr.imaging.padding import mark_padding
from ctsr.imaging.slices import FileSpacing
from ctsr.imaging.volume import Header, Volume

# Readers are imported where they are used: training on prepared cases should not need their libraries.


def read_volume(
    path: str | Path,
    spacing: FileSpacing = None,
    padding_below: float | None = None,
    series: str | None = None,
    level_mm: float | None = None,
) -> Volume:
    """Read a scan with its geometry.

    Args:
        path: A folder of DICOM (one series or several), TIFF, PNG or BMP slices, an OME-Zarr folder, or a NIfTI,
            MetaImage, NRRD, multi-page TIFF or multi-frame DICOM file.
        spacing: Voxel size in mm, one value or (z, y, x), of files that hold none: TIFF, PNG, BMP, and OME-Zarr without
            units. Ignored for others.
        padding_below: Greys below it are scanner padding: marked in `Volume.outside` and set to -1024. DICOM CT needs
            none (-1500 HU and the padding tag apply); give `PADDING_BELOW_HU` for other scans in HU.
        series: Which series of a DICOM folder that holds several: UID, number, or part of its description; None: the
            only one that is no scout.
        level_mm: Wanted in-plane pixel size, for files that hold several resolutions (OME-Zarr): the coarsest that is
            at least as fine; None: the finest.

    Returns:
        The volume; whole-number greys stay integer, all others are float32.

    Raises:
        UserError: The path is missing, of another format, incomplete or without the geometry it needs.
    """
    path = Path(path)
    match _format(path):
        case "dicom":
            from ctsr.imaging.dicom import read_dicom

            volume = read_dicom(path, series)
        case "nifti":
            from ctsr.imaging.nifti import read_nifti

            volume = read_nifti(path)
        case "metaimage" | "nrrd":
            from ctsr.imaging.itk import read_itk

            volume = read_itk(path)
        case "ome-zarr":
            from ctsr.imaging.ome_zarr import read_ome_zarr

            volume = read_ome_zarr(path, spacing, level_mm)
        case "images":
            from ctsr.imaging.pictures import read_pictures

            volume = read_pictures(path, spacing)
        case _:
            from ctsr.imaging.tiff import read_tiff

            volume = read_tiff(path, spacing)
    if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
        raise UserError(f"{path} holds voxels that are not numbers (NaN): write the grey of air there")
    return volume if padding_below is None else mark_padding(volume, volume.array < padding_below)


def probe(
    path: str | Path, spacing: FileSpacing = None, series: str | None = None, level_mm: float | None = None
) -> Header:
    """Shape and geometry of a scan from its headers alone; arguments and errors as for `read_volume`."""
    path = Path(path)
    match _format(path):
        case "dicom":
            from ctsr.imaging.dicom import probe_dicom

            return probe_dicom(path, series)
        case "nifti":
            from ctsr.imaging.nifti import probe_nifti

            return probe_nifti(path)
        case "metaimage" | "nrrd":
            from ctsr.imaging.itk import probe_itk

            return probe_itk(path)
        case "ome-zarr":
            from ctsr.imaging.ome_zarr import probe_ome_zarr

            return probe_ome_zarr(path, spacing, level_mm)
        case "images":
            from ctsr.imaging.pictures import probe_pictures

            return probe_pictures(path, spacing)
        case _:
            from ctsr.imaging.tiff import probe_tiff

            return probe_tiff(path, spacing)


def _format(path: Path) -> str:
    if not path.exists():
        raise UserError(f"{path} does not exist")
    found = format_of(path)
    if found is None:
        what = "holds no scan" if path.is_dir() else "is not a scan"
        raise UserError(f"{path} {what} that can be read: give {FORMATS}")
    return found
