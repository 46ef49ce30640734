"""PNG and BMP: a folder of grey slices; the formats hold no voxel size. Pillow reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ctsr.errors import UserError
from ctsr.imaging.formats.recognise import is_picture
from ctsr.imaging.formats.scanner_log import told_by_logs
from ctsr.imaging.formats.slices import (
    Stack,
    check_alike,
    find_stack,
    one_grey,
    palette_greys,
    slice_files,
    stacked,
    unreadable,
)
from ctsr.imaging.formats.voxel_size import FileSpacing, axial_affine, voxel_size
from ctsr.imaging.volume import Array, Header, Volume

Image.MAX_IMAGE_PIXELS = None  # slices of 20000 x 20000 are real; whether memory holds a volume is asked of its header

_SIXTEEN = ("I;16", "I;16B", "I;16L", "I")  # Pillow's modes of 16 bit greys
_COLOURS = {"LA": 1, "RGB": 3, "RGBA": 3}  # modes of several values a pixel: how many are colours, the rest is alpha


def probe_pictures(folder: Path, spacing: FileSpacing) -> Header:
    """Shape of a stack of pictures, with the voxel size that a scanner's log tells or the user gives.

    Raises:
        UserError: No spacing, a slice missing or of another size than the others, or a picture in colour.
    """
    return _header(folder, _stack(folder), spacing)


def read_pictures(folder: Path, spacing: FileSpacing) -> Volume:
    """Read a folder's pictures in the order of the numbers in their names.

    Raises:
        UserError: As for `probe_pictures`, or a slice that cannot be read to its end.
    """
    stack = _stack(folder)
    affine = _header(folder, stack, spacing).affine
    return Volume(stacked(stack.files, _opened), affine, slice_axis=0)


def _stack(folder: Path) -> Stack:
    return find_stack(slice_files(folder, is_picture))


def _header(folder: Path, stack: Stack, spacing: FileSpacing) -> Header:
    affine = axial_affine(voxel_size(folder, spacing, told_by_logs(folder, stack.step)))
    with _opened(stack.files[0]) as picture:
        picture.check_grey()
        height, width = picture.shape
    check_alike(stack.files, _opened)
    return Header((len(stack.files), height, width), affine, "images", slice_axis=0)


@dataclass(frozen=True, eq=False)
class _Picture:
    """A picture, open."""

    file: Path
    image: Image.Image

    @property
    def shape(self) -> tuple[int, int]:
        return self.image.height, self.image.width

    def check_grey(self) -> None:
        """Make sure that what could be in colours is in greys."""
        if self.image.mode == "P" or self.image.mode in _COLOURS:
            self.greys()

    def greys(self) -> Array:
        mode = self.image.mode
        with Image.open(self.file) as image:
            image.verify()  # checksums, at which loading does not look
        if mode in _SIXTEEN:
            return np.asarray(self.image).astype(np.uint16)
        if mode == "P":
            return palette_greys(self.file, np.asarray(self.image), self._palette())
        if mode in _COLOURS:
            return one_grey(self.file, np.asarray(self.image), _COLOURS[mode])
        return np.asarray(self.image.convert("L"))

    def _palette(self) -> npt.NDArray[np.uint8]:
        """All 256 places, those that the file leaves out black."""
        colours = np.reshape(self.image.getpalette("RGB") or [], (-1, 3)).astype(np.uint8)
        return np.pad(colours, ((0, 256 - len(colours)), (0, 0)))


@contextmanager
def _opened(file: Path) -> Iterator[_Picture]:
    """A picture that can be read, and its errors in one line."""
    try:
        with Image.open(file, formats=("PNG", "BMP")) as picture:
            if picture.mode not in ("1", "L", "P", *_SIXTEEN, *_COLOURS):
                raise UserError(f"{file} is a colour image ({picture.mode}): save it in greys of 8 or 16 bit")
            if picture.mode in _COLOURS and ";16B" in str(picture.tile):
                raise UserError(f"{file} has 16 bits in each colour, of which 8 are read: save it in greys of 16 bit")
            if getattr(picture, "n_frames", 1) > 1:
                raise UserError(f"{file} holds {getattr(picture, 'n_frames', 1)} images: save its slices one a file")
            yield _Picture(file, picture)
    except UserError:
        raise
    except Exception as error:  # of any kind: they are the library's, about a damaged file
        raise unreadable(file, "is damaged, or no picture", error) from error
