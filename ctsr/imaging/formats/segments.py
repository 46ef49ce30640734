"""Label maps of several layers, as 3D Slicer saves segments that overlap (.seg.nrrd); SimpleITK reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ctsr.errors import UserError
from ctsr.imaging.formats.recognise import format_of
from ctsr.imaging.volume import LPS_TO_RAS, Volume


def has_layers(file: Path) -> bool:
    """Whether a file is an NRRD with several values a voxel."""
    if format_of(file) != "nrrd":
        return False
    import SimpleITK  # here, since training on prepared cases should not need it

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError:  # damaged: `ctsr.imaging.formats.readers` tells
        return False
    return bool(reader.GetNumberOfComponents() > 1 and reader.GetDimension() == 3)


def read_layers(file: Path) -> Volume:
    """Read all layers as one: 1 where any of them is not 0.

    Raises:
        UserError: The file cannot be read to its end.
    """
    import SimpleITK

    try:
        image = SimpleITK.ReadImage(str(file))
    except RuntimeError as error:
        raise UserError(f"{file} cannot be read to its end: {str(error).strip().splitlines()[-1]}") from error
    inside = (SimpleITK.GetArrayFromImage(image) != 0).any(axis=-1)
    first, *next_ones = (
        np.array(image.TransformIndexToPhysicalPoint(index)) for index in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))
    )
    affine = np.eye(4)
    affine[:3] = LPS_TO_RAS @ np.column_stack([*(point - first for point in next_ones), first])
    return Volume(inside.astype(np.uint8), affine)
