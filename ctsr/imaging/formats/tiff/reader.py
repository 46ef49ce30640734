"""TIFF: a folder of slices, or one multi-page file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import tifffile

from ctsr.errors import UserError, warn_once
from ctsr.imaging.formats.recognise import files_in, is_picture, is_tiff
from ctsr.imaging.formats.scanner_log import told_by_logs
from ctsr.imaging.formats.slices import Stack, alike, check_alike, find_stack, slice_files, stacked
from ctsr.imaging.formats.table import Reader
from ctsr.imaging.formats.tiff.pages import listening, opened_tiff
from ctsr.imaging.formats.tiff.spacing import told_by_tiff
from ctsr.imaging.formats.voxel_size import axial_affine, voxel_size
from ctsr.imaging.storage import Allocate
from ctsr.imaging.volume import Array, Header, Volume


class TiffReader(Reader):
    """A multi-page TIFF, or a folder's slices in the order of the numbers in their names."""

    @cached_property
    def _stack(self) -> Stack:
        path = self.path
        if path.is_file():
            return Stack([path])
        files = slice_files(path, is_tiff)
        if len(files) > 1 and not holds_slices(path):
            raise UserError(
                f"{path} holds {len(files)} TIFF files, not all of them slices: give one file, or only slices"
            )
        pictures = sum(is_picture(file) for file in files_in(path))
        if pictures > len(files) > 0 and len(page_shape(files[0])) == 2:
            raise UserError(f"{path} holds {len(files)} TIFF files and {pictures} pictures: keep the slices alone")
        if pictures:
            warn_once(f"{path}: passed over beside TIFF: {pictures} pictures")
        return find_stack(files)

    @cached_property
    def header(self) -> Header:
        """See `Reader.header`.

        Raises:
            UserError: No spacing, a slice missing or cut off or unlike the others, or neither grey slices nor one grey
                volume.
        """
        path, files = self.path, self._stack.files
        logs = told_by_logs(path, self._stack.step) if path.is_dir() else []
        with opened_tiff(files[0]) as image:
            image.check_first()
            if image.inverted:
                warn_once(f"{path} stores darkness (WhiteIsZero): its greys are inverted")
            size = voxel_size(path, self.options.spacing, [*told_by_tiff(image), *logs])
        check_alike(files, opened_tiff)
        z, y, x = (len(files), *image.shape) if len(image.shape) == 2 else image.shape
        if image.slices not in (None, z):
            raise UserError(f"{path} holds {z} of the {image.slices} slices that its OME metadata name: copy it anew")
        return Header((z, y, x), axial_affine(size), "tiff", slice_axis=0)

    def read(self, allocate: Allocate = np.empty) -> Volume:
        """See `Reader.read`."""
        header, files = self.header, self._stack.files
        if len(files) > 1:
            return Volume(stacked(files, opened_tiff, allocate), header.affine, slice_axis=0)
        with opened_tiff(files[0]) as image:
            return Volume(image.greys(allocate).reshape(header.shape), header.affine, slice_axis=0)

    def some_slices(self, chosen: Callable[[int], Sequence[int]]) -> Iterator[Array]:
        """See `Reader.some_slices`."""
        path = self.path
        files = [file for file in files_in(path) if is_tiff(file)] if path.is_dir() else [path]
        with listening([]):
            if len(files) > 1:
                yield from (tifffile.imread(files[k]).squeeze() for k in chosen(len(files)))
            else:
                yield from _pages(files[0], chosen)


def _pages(file: Path, chosen: Callable[[int], Sequence[int]]) -> Iterator[Array]:
    with tifffile.TiffFile(file) as tiff:
        series = tiff.series[0]
        if len(series.pages) > 1:
            yield from (series.asarray(key=k).squeeze() for k in chosen(len(series.pages)))
            return
    array = tifffile.memmap(file, mode="r").squeeze()  # one page for all slices, as ImageJ writes large stacks
    yield from (array[k] for k in chosen(len(array)))


def holds_slices(folder: Path) -> bool:
    """Whether the TIFF files in a folder are slices, one a file, rather than volumes."""
    groups = alike([file for file in files_in(folder) if is_tiff(file)])
    largest = max(groups, key=len)
    looked_at = largest[:1] if len(largest) > 1 else [file for group in groups for file in group]
    return all(len(page_shape(file)) == 2 for file in looked_at)


def page_shape(file: Path) -> tuple[int, ...]:
    """Shape of the image in one file: (y, x) for a slice, (z, y, x) for a multi-page volume.

    Raises:
        UserError: Not a TIFF, or in colour.
    """
    with opened_tiff(file) as image:
        return image.shape
