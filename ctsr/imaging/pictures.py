"""PNG and BMP: a folder of grey slices; the formats hold no voxel size. Pillow reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ctsr.errors import UserError
from ctsr.imaging.formats import files_in, is_picture
from ctsr.imaging.slices import FileSpacing, axial_affine, stacked
from ctsr.imaging.volume import Array, Header, Volume

_GREYS = {"L": np.uint8, "I;16": np.uint16, "I;16B": np.uint16, "I": np.uint16}  # Pillow's modes


def probe_pictures(folder: Path, spacing: FileSpacing) -> Header:
    """Shape of a stack of pictures, with the voxel size that the user gives.

    Raises:
        UserError: No spacing, or a picture in colour.
    """
    affine = axial_affine(folder, spacing)
    files = _files(folder)
    with _opened(files[0]) as picture:
        width, height = picture.size
    return Header((len(files), height, width), affine, "images", slice_axis=0)


def read_pictures(folder: Path, spacing: FileSpacing) -> Volume:
    """Read a folder's pictures in the order of the numbers in their names.

    Raises:
        UserError: As for `probe_pictures`, or a file that is unreadable or unlike the others.
    """
    return Volume(stacked(_files(folder), _page), axial_affine(folder, spacing), slice_axis=0)


def _page(file: Path) -> Array:
    with _opened(file) as picture:
        try:
            return np.asarray(picture).astype(_GREYS[picture.mode])
        except (OSError, SyntaxError) as error:
            raise UserError(f"{file} cannot be read to its end: {error}") from error


def _opened(file: Path) -> Image.Image:
    try:
        picture = Image.open(file)
    except (UnidentifiedImageError, OSError) as error:
        raise UserError(f"{file} is not a readable picture: {error}") from error
    if picture.mode not in _GREYS:
        picture.close()
        raise UserError(f"{file} is a colour image ({picture.mode}): save it in greys of 8 or 16 bit")
    return picture


def _files(folder: Path) -> list[Path]:
    return [file for file in files_in(folder) if is_picture(file)]
