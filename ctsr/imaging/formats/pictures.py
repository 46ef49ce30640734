"""PNG and BMP: a folder of grey slices; the formats hold no voxel size. Pillow reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ctsr.errors import UserError
from ctsr.imaging.formats.recognise import files_in, is_picture
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
from ctsr.imaging.formats.table import Reader
from ctsr.imaging.formats.voxel_size import axial_affine, voxel_size
from ctsr.imaging.storage import Allocate
from ctsr.imaging.volume import Array, Header, Volume

Image.MAX_IMAGE_PIXELS = None  # slices of 20000 x 20000 are real; whether memory holds a volume is asked of its header

_SIXTEEN = ("I;16", "I;16B", "I;16L", "I")  # Pillow's modes of 16 bit greys
_COLOURS = {"LA": 1, "RGB": 3, "RGBA": 3}  # modes of several values a pixel: how many are colours, the rest is alpha


class PictureReader(Reader):
    """A folder of pictures, in the order of the numbers in their names."""

    @cached_property
    def _stack(self) -> Stack:
        return find_stack(slice_files(self.path, is_picture))

    @cached_property
    def header(self) -> Header:
        """See `Reader.header`: no spacing, a slice missing or of another size, or a picture in colour are errors."""
        files = self._stack.files
        told = told_by_logs(self.path, self._stack.step)
        affine = axial_affine(voxel_size(self.path, self.options.spacing, told))
        with _opened(files[0]) as picture:
            picture.check_grey()
            height, width = picture.shape
        check_alike(files, _opened)
        return Header((len(files), height, width), affine, "images", slice_axis=0)

    def read(self, allocate: Allocate = np.empty) -> Volume:
        """See `Reader.read`."""
        affine = self.header.affine
        return Volume(stacked(self._stack.files, _opened, allocate), affine, slice_axis=0)

    def some_slices(self, chosen: Callable[[int], Sequence[int]]) -> Iterator[Array]:
        """See `Reader.some_slices`."""
        files = [file for file in files_in(self.path) if is_picture(file)]
        return (np.asarray(Image.open(files[k])) for k in chosen(len(files)))


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
