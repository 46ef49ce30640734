"""MetaImage (.mha, .mhd with .raw or .zraw) and NRRD (.nrrd, .nhdr with its data); SimpleITK reads them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from os.path import lexists
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from ctsr.errors import UserError, warn
from ctsr.imaging.formats.content import check_content
from ctsr.imaging.formats.itk.headers import Told, metaimage_header, nrrd_header
from ctsr.imaging.formats.recognise import format_of
from ctsr.imaging.formats.table import Reader
from ctsr.imaging.formats.voxel_size import FileSpacing, axial_affine, voxel_size
from ctsr.imaging.storage import Allocate, filled
from ctsr.imaging.volume import LPS_TO_RAS, Affine, Array, Header, Volume

_GREYS = {
    getattr(SimpleITK, f"sitk{vector}{name}"): np.dtype(name.lower())
    for name in ("Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float32", "Float64")
    for vector in ("", "Vector")  # of one value, where a file has an axis of length 1 before the others
}
SMALL = 2**20  # bytes that are read whole in no time
LARGEST_READ = 2**30  # bytes, of which some have to be read whole for a few slices; larger files are scans
DENSEST = 0.25  # bytes a voxel of compressed labels; a scan that is compressed takes more
_ZLIB_OR_GZIP = 47  # zlib's number for either, with the largest window
_CHUNK = 1 << 18


@dataclass(frozen=True, eq=False)
class _File:
    """One volume: its header, and what ITK does not see."""

    told: Told
    header: Header
    dtype: np.dtype[Any]
    notes: list[str]

    @property
    def slice_size(self) -> int:
        """Bytes of a slice."""
        _, y, x = self.header.shape
        return y * x * self.dtype.itemsize

    @property
    def size(self) -> int:
        """Bytes of all voxels."""
        return self.header.shape[0] * self.slice_size


class ItkReader(Reader):
    """A .mha, .mhd, .nrrd or .nhdr file."""

    @cached_property
    def _found(self) -> _File:
        return _described(self.path, self.options.spacing)

    @property
    def header(self) -> Header:
        """See `Reader.header`: a missing or short data file, no voxel size, or not one grey volume are errors."""
        return self._found.header

    def read(self, allocate: Allocate = np.empty) -> Volume:
        """See `Reader.read`."""
        found = self._found
        kind = np.float32 if found.dtype.kind == "f" else found.dtype
        parts = (part.astype(kind, copy=False) for part in _parts(self.path, found))
        array = filled(found.header.shape[0], parts, allocate)
        for note in found.notes:
            warn(f"{self.path}: {note}")
        return Volume(array, found.header.affine)

    def files(self) -> list[Path]:
        """The header and the files with the voxels, as far as they are there, each once."""
        return list(dict.fromkeys((self.path, *(data for data in _told(self.path).files if data.is_file()))))

    def some_slices(self, chosen: Callable[[int], Sequence[int]]) -> Iterator[Array]:
        """See `Reader.some_slices`; of what must be read whole and is no label map by its size, none."""
        self.files()  # of a damaged header ITK complains on the screen
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(str(self.path))
        reader.ReadImageInformation()
        if any(re.match(r"Segment\d+_", key) for key in reader.GetMetaDataKeys()):
            yield np.array([[0, 1]])  # 3D Slicer's own keys: no need to look
            return
        x, y, z = reader.GetSize()
        stored, voxels = self.path.stat().st_size, x * y * z
        whole = voxels * SimpleITK.Image([1, 1, 1], reader.GetPixelID()).GetSizeOfPixelComponent()
        if stored > SMALL and (DENSEST * voxels < stored < whole or stored > LARGEST_READ):
            return
        for k in chosen(z):
            reader.SetExtractIndex((0, 0, k))
            reader.SetExtractSize((x, y, 1))
            yield SimpleITK.GetArrayFromImage(reader.Execute())[0]


def _described(file: Path, spacing: FileSpacing) -> _File:
    told = _told(file)
    check_content([data for data in told.files if lexists(data)])  # of others the header's reader tells
    affine = None if told.has_spacing else axial_affine(voxel_size(file, spacing))
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(file))
    reader.ReadImageInformation()
    size = reader.GetSize()
    grey = reader.GetPixelID() in _GREYS and reader.GetNumberOfComponents() == 1
    if len(size) < 3 or any(n != 1 for n in size[3:]) or not grey:
        values = SimpleITK.GetPixelIDValueAsString(reader.GetPixelID())
        raise UserError(
            f"{file} has {len(size)} dimensions and {reader.GetNumberOfComponents()} values a voxel ({values}): "
            "give one grey 3-D volume"
        )
    dtype = _GREYS[reader.GetPixelID()]
    x, y, z = size[:3]
    affine = _affine(file, reader, told) if affine is None else affine
    header = Header((z, y, x), affine, format_of(file) or "", voxel_bytes=dtype.itemsize if dtype.kind in "iu" else 4)
    return _File(told, header, dtype, told.check_size(file, x * y * z * dtype.itemsize))


def _told(file: Path) -> Told:
    return metaimage_header(file) if format_of(file) == "metaimage" else nrrd_header(file)


def _affine(file: Path, reader: SimpleITK.ImageFileReader, told: Told) -> Affine:
    dimensions = reader.GetDimension()
    directions = np.reshape(reader.GetDirection(), (dimensions, dimensions))[:3, :3]
    if not np.allclose(np.linalg.norm(directions, axis=0), 1, atol=1e-3):
        raise UserError(f"{file} has directions that are not of length 1: write them as unit vectors")
    affine = np.eye(4)
    affine[:3, :3] = (directions * reader.GetSpacing()[:3])[:, ::-1]
    affine[:3, 3] = reader.GetOrigin()[:3]
    affine[:3] *= np.array(told.mm)[:, None]
    affine[:3] = LPS_TO_RAS @ affine[:3]
    return affine


def _parts(file: Path, found: _File) -> Iterator[Array]:
    """The voxels, (n, y, x): slice by slice where they are stored plainly or deflated, else all at once."""
    told, slices = found.told, None
    if told.compressed:
        slices = _inflated(file, found)
    elif told.plain and not (found.size // len(told.files)) % found.slice_size:
        slices = _plain(file, found)
    if slices is None:
        image = SimpleITK.ReadImage(str(file))  # kept: the array is a view of it
        yield SimpleITK.GetArrayViewFromImage(image).reshape(found.header.shape)
        return
    stored = found.dtype.newbyteorder(">" if told.big_endian else "<")
    for content in slices:
        yield np.frombuffer(content, stored).reshape(1, *found.header.shape[1:])


def _plain(file: Path, found: _File) -> Iterator[bytes]:
    """The bytes of each slice, as they stand in one file or several."""
    part = found.size // len(found.told.files)
    for data in found.told.files:
        with data.open("rb") as stream:
            stream.seek(data.stat().st_size - part if found.told.offset is None else found.told.offset)
            for _ in range(part // found.slice_size):
                content = stream.read(found.slice_size)
                if len(content) < found.slice_size:
                    raise UserError(f"{file} cannot be read to its end: {data.name} is cut off")
                yield content


def _inflated(file: Path, found: _File) -> Iterator[bytes]:
    """The bytes of each slice, inflated, and checked to their end."""
    told, left = found.told, found.size
    if len(told.files) != 1 or told.offset is None:
        raise UserError(f"{file} is compressed in parts: write the volume as one file")
    inflater, content = zlib.decompressobj(_ZLIB_OR_GZIP), b""
    with told.files[0].open("rb") as stream:
        stream.seek(told.offset)
        while not inflater.eof and (packed := inflater.unconsumed_tail or stream.read(_CHUNK)):
            content += inflater.decompress(packed, found.slice_size - len(content))
            if left and len(content) == found.slice_size:
                yield content
                content, left = b"", left - found.slice_size
            elif not left and content:
                break
    if not inflater.eof or left or content:
        raise UserError(f"{file} cannot be read to its end: its compressed voxels are cut off or damaged")
