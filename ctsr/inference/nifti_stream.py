"""A NIfTI volume written slice by slice: memory does not grow with its size, and the file appears when it is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any
from zlib import crc32

import nibabel
import numpy as np
import numpy.typing as npt
from isal import igzip_threaded

from ctsr.errors import UserError
from ctsr.files import reserve
from ctsr.imaging.formats.writer import int16_header
from ctsr.imaging.orientation import Orientation
from ctsr.imaging.volume import Affine, Image

CHUNK = 2**20  # bytes that one thread compresses at a time
RAW, PACKED = "voxels.nii", "voxels.nii.gz"


class NiftiStream:
    """An int16 volume on disk that is filled slice by slice.

    Args:
        raw: Uncompressed file to write into; what is there of the same volume is kept.
        shape: Voxels (z, y, x) in canonical orientation.
        affine: Of the canonical grid.
        orientation: How the scan was turned to canonical; the file is turned back.
        packed: Is given the file's bytes from first to last, as far as they are written; None: nobody is.

    Attributes:
        order: The canonical slices in the order in which they can be compressed at once.
    """

    def __init__(
        self,
        raw: Path,
        shape: tuple[int, int, int],
        affine: Affine,
        orientation: Orientation,
        packed: IO[bytes] | None = None,
    ) -> None:
        self._raw, self._orientation, self._packed = raw, orientation, packed
        # A view of nothing: only its shape is of use.
        self._shape = orientation.undo(np.broadcast_to(np.int16(0), shape)).shape
        try:
            header = int16_header(self._shape, orientation.undo_affine(affine, shape))
        except nibabel.spatialimages.HeaderDataError as error:
            raise UserError(f"{self._shape} voxels are more than NIfTI holds along an axis: give a roi") from error
        with raw.open("r+b" if raw.exists() else "w+b") as stream:
            header.write_to(stream)
            self._offset = stream.tell()
            self._size = self._offset + 2 * int(np.prod(self._shape))
            reserve(stream, self._size)
        self._one_after_another = orientation.axes[0] == 0
        self.order = range(shape[0])[:: orientation.flips[0] if self._one_after_another else 1]
        self._written: set[int] = set()
        self._whole = 0  # slices, in `order`, that are written without a gap
        self._given = 0  # bytes of the file that the compressor has

    def write(self, z: int, greys: Image) -> int:
        """Write one canonical slice, rounded to whole numbers.

        Args:
            z: Which.
            greys: It; changed on the way.

        Returns:
            Its checksum.
        """
        limits = np.iinfo(np.int16)
        whole = np.clip(np.rint(greys, out=greys), limits.min, limits.max, out=greys).astype(np.int16)
        self._open("r+")[z] = whole
        self.keep(z)
        return _crc(whole)

    def keep(self, z: int) -> None:
        """Take a slice that the file already holds as written."""
        self._written.add(z)
        if self._one_after_another:
            while self._whole < len(self.order) and self.order[self._whole] in self._written:
                self._whole += 1
            filled = self._offset + self._whole * (self._size - self._offset) // len(self.order)
            # In whole chunks, so that what is compressed does not depend on which slices came together.
            self._pack(filled // CHUNK * CHUNK)

    def checksum(self, z: int) -> int:
        """Of a canonical slice, as it is in the file; what `write` returned for it."""
        return _crc(self._open("r")[z])

    def finish(self) -> None:
        """After the last slice: have the rest compressed."""
        self._pack(self._size)

    def _pack(self, end: int) -> None:
        """Have the file's bytes compressed up to a place."""
        if self._packed is None:
            return
        with self._raw.open("rb") as source:
            source.seek(self._given)
            while self._given < end:
                self._given += self._packed.write(source.read(min(CHUNK, end - self._given)))

    def __getitem__(self, index: tuple[int | slice, ...]) -> npt.NDArray[np.int16]:
        """Read back a copy of a part, canonical orientation."""
        part: npt.NDArray[np.int16] = np.array(self._open("r")[index])
        return part

    def _open(self, mode: str) -> npt.NDArray[np.int16]:
        # Mapped anew each time, so that pages written before do not stay in memory.
        array = np.memmap(self._raw, dtype="<i2", mode=mode, offset=self._offset, shape=self._shape)  # type: ignore[call-overload]
        view: npt.NDArray[np.int16] = self._orientation.apply(array)
        return view


def _crc(plane: npt.NDArray[np.int16]) -> int:
    return crc32(np.ascontiguousarray(plane).data)


@contextmanager
def nifti_stream(
    output: Path,
    folder: Path,
    shape: tuple[int, int, int],
    affine: Affine,
    orientation: Orientation,
    level: int = 1,
) -> Iterator[NiftiStream]:
    """Open a volume to fill; when the block ends without an error, it becomes `output`.

    Args:
        output: A .nii or .nii.gz file; an existing one is replaced at the end.
        folder: Where it is worked on, on the same disk; what an earlier run left there of the volume is gone on with.
        shape: Voxels (z, y, x) in canonical orientation.
        affine: Of the canonical grid.
        orientation: How the scan was turned to canonical.
        level: Compression of .nii.gz, 0 (fast) to 3; on all cores, beside what fills the volume.

    Raises:
        OSError: The disk is full; the output is named.
    """
    raw, packed = folder / RAW, folder / PACKED
    compressed = output.name.lower().endswith(".gz")
    try:
        with ExitStack() as stack:
            sink: IO[bytes] | None = None
            if compressed:  # without a name and a time stamp: the same volume has the same bytes
                threads = os.cpu_count() or 1
                packer: Any = igzip_threaded  # its functions tell no types
                sink = stack.enter_context(packer.open(packed, "wb", level, threads=threads, block_size=CHUNK))
            stream = NiftiStream(raw, shape, affine, orientation, sink)
            yield stream
            stream.finish()
        os.replace(packed if compressed else raw, output)
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(output)  # of a full disk the system tells no file
        raise
