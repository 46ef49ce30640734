"""A NIfTI volume written slice by slice: memory does not grow with its size, and the file appears when it is whole."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt

from ctsr.errors import UserError
from ctsr.imaging.formats.writer import set_geometry
from ctsr.imaging.orientation import Orientation
from ctsr.imaging.volume import Affine

CHUNK = 16 * 2**20  # bytes handed to the compressor at a time


class NiftiStream:
    """An int16 volume on disk that is filled slice by slice.

    Args:
        raw: Uncompressed file to write into.
        shape: Voxels (z, y, x) in canonical orientation.
        affine: Of the canonical grid.
        orientation: How the scan was turned to canonical; the file is turned back.
    """

    def __init__(self, raw: Path, shape: tuple[int, int, int], affine: Affine, orientation: Orientation) -> None:
        self._raw, self._orientation = raw, orientation
        # A view of nothing: only its shape is of use.
        self._shape = orientation.undo(np.broadcast_to(np.int16(0), shape)).shape
        header = nibabel.Nifti1Header(endianness="<")
        header.set_data_dtype(np.int16)
        try:
            header.set_data_shape(self._shape[::-1])
        except nibabel.spatialimages.HeaderDataError as error:
            raise UserError(f"{self._shape} voxels are more than NIfTI holds along an axis: give a roi") from error
        header.set_slope_inter(1, 0)
        set_geometry(header, orientation.undo_affine(affine, shape))
        with raw.open("wb") as stream:
            header.write_to(stream)
            self._offset = stream.tell()
            stream.truncate(self._offset + 2 * int(np.prod(self._shape)))

    def __setitem__(self, z: int, greys: npt.NDArray[np.float32]) -> None:
        """Write one canonical slice, rounded to whole numbers."""
        limits = np.iinfo(np.int16)
        self._open("r+")[z] = np.clip(np.rint(greys), limits.min, limits.max).astype(np.int16)

    def __getitem__(self, index: tuple[int | slice, ...]) -> npt.NDArray[np.int16]:
        """Read back a copy of a part, canonical orientation."""
        part: npt.NDArray[np.int16] = np.array(self._open("r")[index])
        return part

    def _open(self, mode: str) -> npt.NDArray[np.int16]:
        # Mapped anew each time, so that pages written before do not stay in memory.
        array = np.memmap(self._raw, dtype="<i2", mode=mode, offset=self._offset, shape=self._shape)  # type: ignore[call-overload]
        view: npt.NDArray[np.int16] = self._orientation.apply(array)
        return view


@contextmanager
def nifti_stream(
    output: Path, shape: tuple[int, int, int], affine: Affine, orientation: Orientation, level: int = 1
) -> Iterator[NiftiStream]:
    """Open a volume to fill; when the block ends without an error, it becomes `output`, else nothing is left.

    Args:
        output: A .nii or .nii.gz file; an existing one is replaced at the end.
        shape: Voxels (z, y, x) in canonical orientation.
        affine: Of the canonical grid.
        orientation: How the scan was turned to canonical.
        level: Compression of .nii.gz, 1 (fast) to 9.
    """
    raw = output.with_name(f".{output.name}.{os.getpid()}.raw.partial")
    packed = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        yield NiftiStream(raw, shape, affine, orientation)
        if output.name.lower().endswith(".gz"):
            _compress(raw, packed, level)
            os.replace(packed, output)
        else:
            os.replace(raw, output)
    finally:
        raw.unlink(missing_ok=True)
        packed.unlink(missing_ok=True)


def _compress(raw: Path, packed: Path, level: int) -> None:
    # No name and no time stamp: the same volume has the same bytes.
    with (
        raw.open("rb") as source,
        packed.open("wb") as target,
        gzip.GzipFile("", "wb", level, target, mtime=0) as compressor,
    ):
        shutil.copyfileobj(source, compressor, CHUNK)
