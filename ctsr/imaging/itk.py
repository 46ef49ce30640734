"""MetaImage (.mha, .mhd with .raw or .zraw) and NRRD (.nrrd, .nhdr with its data); SimpleITK reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK

from ctsr.errors import UserError
from ctsr.imaging.formats import format_of
from ctsr.imaging.volume import LPS_TO_RAS, Affine, Array, Header, Volume


def probe_itk(file: Path) -> Header:
    """Shape and geometry from the header alone.

    Raises:
        UserError: The file, or the data file it names, cannot be read, or is not one grey 3-D volume.
    """
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise UserError(f"{file} is not readable: {_last_line(error)}") from error
    size = reader.GetSize()
    if len(size) != 3 or reader.GetNumberOfComponents() != 1:
        values = reader.GetNumberOfComponents()
        raise UserError(f"{file} has {len(size)} dimensions and {values} values a voxel: give one grey 3-D volume")
    x, y, z = size
    return Header((z, y, x), _affine(reader), format_of(file) or "")


def read_itk(file: Path) -> Volume:
    """Read a volume: integers as stored, everything else as float32; errors as for `probe_itk`."""
    header = probe_itk(file)
    try:
        array: Array = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
    except RuntimeError as error:
        raise UserError(f"{file} cannot be read to its end: {_last_line(error)}") from error
    return Volume(array.astype(np.float32) if array.dtype.kind == "f" else array, header.affine)


def _affine(reader: SimpleITK.ImageFileReader) -> Affine:
    affine = np.eye(4)
    steps = np.reshape(reader.GetDirection(), (3, 3)) * reader.GetSpacing()
    affine[:3, :3] = LPS_TO_RAS @ steps[:, ::-1]
    affine[:3, 3] = LPS_TO_RAS @ np.array(reader.GetOrigin())
    return affine


def _last_line(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[-1].strip()
