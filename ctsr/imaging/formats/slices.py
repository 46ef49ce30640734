"""Folders of slices, one a file, in formats that hold no third dimension: what TIFF and pictures share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ctsr.errors import UserError, one_line
from ctsr.imaging.formats.content import check_content
from ctsr.imaging.formats.recognise import full_and_hollow
from ctsr.imaging.formats.slice_names import named_like
from ctsr.imaging.volume import Array


class Slice(Protocol):
    """One file's image, open."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(y, x), as its header has it."""

    def greys(self) -> Array:
        """Its pixels."""


Opened = Callable[[Path], AbstractContextManager[Slice]]


def slice_files(folder: Path, is_slice: Callable[[Path], bool]) -> list[Path]:
    """A folder's files of one format, after making sure that none of its slices lacks its content.

    Raises:
        UserError: A file that is named like the slices is a link to nothing, empty, or was not fetched.
    """
    full, hollow = full_and_hollow(folder)
    files = [file for file in full if is_slice(file)]
    check_content(named_like(files, [file for file in hollow if is_slice(file)]))
    return files


def check_alike(files: Sequence[Path], opened: Opened) -> None:
    """Make sure, by their headers, that slices are of one size.

    Raises:
        UserError: One has another size than the first, or is damaged.
    """
    shapes: set[tuple[int, ...]] = set()
    for file in files:
        with opened(file) as image:
            shapes.add(image.shape)
            if len(shapes) > 1:
                raise UserError(f"{file} is {image.shape}, unlike {files[0].name}: keep one volume's slices")


def stacked(files: Sequence[Path], opened: Opened) -> Array:
    """The slices of files, in their order, as (z, y, x).

    Raises:
        UserError: One has another number type than the first, or is damaged.
    """
    pages = (_greys(file, opened) for file in files)
    first = next(pages)
    array = np.empty((len(files), *first.shape), dtype=first.dtype)
    array[0] = first
    for target, file, page in zip(array[1:], files[1:], pages, strict=True):
        if page.dtype != first.dtype:
            raise UserError(f"{file} is {page.dtype}, unlike {files[0].name}, {first.dtype}: keep one volume's slices")
        target[:] = page
    return array


def _greys(file: Path, opened: Opened) -> Array:
    with opened(file) as image:
        return image.greys()


def plain(array: Array) -> Array:
    """Whole numbers in this machine's byte order, yes and no as 1 and 0, and all others as float32."""
    if array.dtype.kind in "iu":
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    return array.astype(np.uint8 if array.dtype.kind == "b" else np.float32, copy=False)


def one_grey(file: Path, samples: Array, colours: int) -> Array:
    """The greys of an image with several values a pixel, of which the colours are all the same grey.

    Args:
        file: Whose, for the error.
        samples: (..., colours and alpha).
        colours: 1 or 3; what comes after them is alpha.

    Raises:
        UserError: It is coloured, or in parts transparent.
    """
    grey = samples[..., 0]
    if not all(np.array_equal(grey, samples[..., colour]) for colour in range(1, colours)):
        raise UserError(f"{file} is a colour image: save it in greys of 8 or 16 bit")
    if any(np.ptp(samples[..., alpha]) for alpha in range(colours, samples.shape[-1])):
        raise UserError(f"{file} is transparent in parts: save it without its alpha channel")
    return np.ascontiguousarray(grey)


def palette_greys(file: Path, indices: Array, palette: npt.NDArray[np.uint8]) -> Array:
    """The greys of an image that holds places in a palette.

    Args:
        file: Whose, for the error.
        indices: (y, x).
        palette: (n, 3), red, green and blue of each place.

    Raises:
        UserError: The palette has colours in places that are used.
    """
    greys: Array = one_grey(file, palette[indices], colours=3)
    return greys


def reason(error: Exception) -> str:
    """What a library says about a damaged file, in one line; the error's kind where it says nothing."""
    return one_line(error) or type(error).__name__


def unreadable(file: Path, what: str, error: Exception) -> UserError:
    """The error of a file that a library cannot read: since it may not be opened, or since it is what is said."""
    if isinstance(error, PermissionError):
        return UserError(f"{file} cannot be opened: {error.strerror}")
    return UserError(f"{file} {what}: {reason(error)}")
