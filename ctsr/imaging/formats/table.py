"""The formats that scans come in, a row each, and what the reader of one must do.

A new format is a file with its `Reader` and a row of `TABLE`; where its files have no ending of their own, or a folder
is one scan of it, `ctsr.imaging.formats.recognise.format_of` must tell it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from ctsr.imaging.formats.voxel_size import FileSpacing
from ctsr.imaging.storage import Allocate
from ctsr.imaging.volume import Array, Header, Volume


@dataclass(frozen=True)
class Options:
    """What the user says of a scan; a format passes over what it has no use for.

    Attributes:
        spacing: Voxel size in mm, one value or (z, y, x), of files that tell none.
        series: Which series of a DICOM folder that holds several: UID, number, or part of its description; None: the
            only one that is no scout.
        level_mm: Wanted in-plane pixel size, of files that hold several resolutions: the coarsest that is at least as
            fine; None: the finest.
    """

    spacing: FileSpacing = None
    series: str | None = None
    level_mm: float | None = None


class Reader(Protocol):
    """One scan of one format.

    Array axes are (z, y, x), axis 0 across the slices where the format knows them; affines lead from there to RAS+
    millimetres, columns in the array's order; greys are real ones (HU for CT). What is wrong with a scan is a
    `UserError` that names the file and says what to do; whatever else a library raises on a damaged file becomes one in
    `ctsr.imaging.formats.readers`, which also checks what must hold of every header. What is odd, and read
    nevertheless, is told by `ctsr.errors.warn`.
    """

    path: Path
    options: Options

    def __init__(self, path: Path, options: Options) -> None:
        """Look at nothing yet.

        Args:
            path: A file or folder of this format, by `format_of`.
            options: What the user says of it.
        """
        self.path, self.options = path, options

    @property
    def header(self) -> Header:
        """Shape and geometry, of the headers alone, which are read once.

        Raises:
            UserError: They are damaged, contradict each other, or tell no geometry.
        """

    def read(self, allocate: Allocate = np.empty) -> Volume:
        """Return the voxels: whole numbers in their own type, all others as float32.

        Args:
            allocate: Makes the volume's arrays, which may be larger than memory: they are filled in parts, and nothing
                else that is as large is held, unless the format allows no other way.

        Raises:
            NoRoomError: As `allocate` does.
            UserError: As for `header`, or the voxels cannot be read to their end.
        """

    def files(self) -> list[Path]:
        """Return the scan's file or folder, then other files with its voxels or geometry; asked where it has `parts`.

        Raises:
            UserError: A header is damaged.
        """
        return [self.path]

    def some_slices(self, chosen: Callable[[int], Sequence[int]]) -> Iterator[Array]:
        """Yield a few slices as they are stored, as cheaply as the format allows: they tell label maps from scans.

        None: label maps are not looked for in this format. What a library raises is for who asks.

        Args:
            chosen: Which slices, of how many.
        """
        return iter(())


class Format(NamedTuple):
    """A row of the table.

    Attributes:
        name: As `Header.format` and `format_of` have it.
        endings: Of files that are scans of it by their names, in lower case.
        reader: Module and class, imported with the first scan: who trains on prepared cases needs no such library.
        parts: Whether a scan may be of several files, such as a header and its voxels: all count in its hash, and none
            is ever written over.
    """

    name: str
    endings: tuple[str, ...]
    reader: str
    parts: bool = False

    def open(self, path: Path, options: Options) -> Reader:
        """The reader of a scan."""
        module, _, name = self.reader.partition(":")
        reader: type[Reader] = getattr(import_module(module), name)
        return reader(path, options)


_HERE = "ctsr.imaging.formats"

TABLE = {
    row.name: row
    for row in (
        Format("nifti", (".nii", ".nii.gz"), f"{_HERE}.nifti:NiftiReader", parts=True),  # and .hdr, see `format_of`
        Format("metaimage", (".mha", ".mhd"), f"{_HERE}.itk.reader:ItkReader", parts=True),
        Format("nrrd", (".nrrd", ".nhdr"), f"{_HERE}.itk.reader:ItkReader", parts=True),
        Format("tiff", (".tif", ".tiff"), f"{_HERE}.tiff.reader:TiffReader"),  # and folders of slices
        Format("dicom", (), f"{_HERE}.dicom.reader:DicomReader"),  # told by first bytes
        Format("images", (), f"{_HERE}.pictures:PictureReader"),  # folders of PNG or BMP
        Format("ome-zarr", (), f"{_HERE}.ome_zarr:OmeZarrReader"),  # folders
    )
}
