"""NIfTI files, 1 and 2, compressed or not, also as .hdr with .img; nibabel reads them.

Headers are taken as they stand, not as nibabel mends them: what a header does not tell is not to be made up.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from os.path import lexists
from pathlib import Path
from typing import Any, BinaryIO

import nibabel
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.nifti1 import Nifti1Header, data_type_codes
from nibabel.nifti2 import Nifti2Header

from ctsr.errors import UserError, warn
from ctsr.imaging.formats.content import check_content
from ctsr.imaging.formats.recognise import suffix
from ctsr.imaging.formats.table import Reader
from ctsr.imaging.formats.voxel_size import FileSpacing, axial_affine, voxel_size
from ctsr.imaging.storage import Allocate, filled
from ctsr.imaging.volume import Affine, Array, Header, Volume

_UNIT_BITS = 7  # of xyzt_units; the others are the unit of time
_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown, metre, millimetre, micrometre
_AGREE = 0.01  # relative difference of two voxel sizes that is rounding
_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class _File:
    """One volume: where its voxels are, what they mean, and what should be known of it."""

    data: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]  # as stored
    scaling: tuple[float, float]  # slope and intercept
    affine: Affine  # of the file's own axes, in mm
    told: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes up to the end of the voxels."""
        return self.offset + int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


class NiftiReader(Reader):
    """A .nii or .nii.gz file, or the .hdr of a pair; the file's axes are reversed."""

    @cached_property
    def _found(self) -> _File:
        return _described(self.path, self.options.spacing)

    @cached_property
    def header(self) -> Header:
        """See `Reader.header`: not one grey volume, cut off, without a voxel size, or a singular affine are errors."""
        z, y, x = reversed(self._found.shape[:3])
        size = self._found.dtype.itemsize if self._found.dtype.kind in "iu" else 4
        return Header((z, y, x), self._found.affine[:, [2, 1, 0, 3]], "nifti", voxel_bytes=size)

    def read(self, allocate: Allocate = np.empty) -> Volume:
        """See `Reader.read`."""
        found, header = self._found, self.header
        with _opened(found.data) as stream:
            array = filled(header.shape[0], _slices(stream, found), allocate)
            told = [*found.told, *_beyond(stream)]
        for text in told:
            warn(f"{self.path}: {text}")
        return Volume(array, header.affine)

    def files(self) -> list[Path]:
        """The file, with its .img if it is a .hdr."""
        return [self.path] if _is_alone(self.path) else [self.path, _pair(self.path)]

    def some_slices(self, chosen: Callable[[int], Sequence[int]]) -> Iterator[Array]:
        """See `Reader.some_slices`."""
        image: Any = nibabel.load(self.path)
        for k in chosen(image.shape[2]):
            yield np.asarray(image.dataobj[:, :, k]).squeeze()


def _is_alone(file: Path) -> bool:
    return suffix(file) != ".hdr"


def _described(file: Path, spacing: FileSpacing) -> _File:
    with _opened(file) as stream:
        start = stream.read(Nifti2Header.sizeof_hdr)
    kind = _kind(start)
    if kind is None:
        raise UserError(f"{file} is not a readable NIfTI file")
    header = kind(start[: kind.sizeof_hdr], check=False)
    shape = tuple(int(size) for size in header.get_data_shape())
    if len(shape) < 3 or any(n != 1 for n in shape[3:]) or min(shape) < 1:
        raise UserError(f"{file} has the shape {shape}: give a file with one 3-D volume")
    dtype = _dtype(file, header)
    alone = _is_alone(file)
    affine, told = _affine(file, header, spacing)
    found = _File(
        data=file if alone else _pair(file),
        offset=_offset(file, header, alone),
        shape=shape,
        dtype=dtype,
        scaling=_scaling(file, header),
        affine=affine,
        told=told,
    )
    if not _is_gzip(found.data) and found.size > (there := found.data.stat().st_size):
        raise UserError(f"{found.data} is cut off: {there} bytes of {found.size}")
    return found


def _kind(start: bytes) -> type[Nifti1Header] | None:
    """Which NIfTI header a file's first bytes are."""
    kinds: tuple[type[Nifti1Header], ...] = (Nifti1Header, Nifti2Header)
    return next((kind for kind in kinds if kind.may_contain_header(start)), None)


def _dtype(file: Path, header: Nifti1Header) -> np.dtype[Any]:
    """Of the numbers as stored."""
    code = int(header["datatype"])
    codes: Any = data_type_codes
    dtype: np.dtype[Any] = np.dtype(codes.dtype[code] if code in codes.value_set("code") else np.void)
    if dtype.kind not in "iuf":
        kind = "complex numbers" if dtype.kind == "c" else f"numbers of a kind that cannot be read (datatype {code})"
        what = "is a colour image" if dtype.names else f"holds {kind}"
        raise UserError(f"{file} {what}: save it in greys")
    return dtype.newbyteorder("<" if header.endianness == "<" else ">")


def _pair(file: Path) -> Path:
    """The .img of a .hdr."""
    for ending in (".img", ".img.gz", ".IMG"):
        if lexists(data := file.with_suffix(ending)):
            check_content([data])
            return data
    raise UserError(f"{file} is a header alone: its voxels should be in {file.with_suffix('.img').name} beside it")


def _offset(file: Path, header: Nifti1Header, alone: bool) -> int:
    """Where the voxels begin; files that say 0 mean right after the header."""
    told = float(header["vox_offset"])
    least = header.single_vox_offset if alone else 0
    offset = told or least
    if not (offset >= least and offset == int(offset)):
        raise UserError(f"{file} is damaged: its voxels cannot begin at byte {told:g} (vox_offset)")
    return int(offset)


def _scaling(file: Path, header: Nifti1Header) -> tuple[float, float]:
    """What stored numbers are multiplied by and what is then added; a slope of 0 or NaN stands for none."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope):
        return 1.0, 0.0
    if not np.isfinite([slope, intercept]).all():
        raise UserError(f"{file} is damaged: its greys cannot be multiplied by {slope:g} and {intercept:g} added")
    return slope, intercept


def _affine(file: Path, header: Nifti1Header, spacing: FileSpacing) -> tuple[Affine, tuple[str, ...]]:
    """From the file's axes to mm, and what is odd about it: by sform, else by qform, else by the voxel size alone."""
    unit = int(header["xyzt_units"]) & _UNIT_BITS
    told = [] if unit in _MM else [f"its unit of length, {unit}, is none of NIfTI's: taken as mm"]
    sizes = np.array(header["pixdim"][1:4], dtype=np.float64)
    usable = bool(np.isfinite(sizes).all() and sizes.all())
    if header["sform_code"] > 0:
        affine = np.array(header.get_sform(), dtype=np.float64)
        steps = np.linalg.norm(affine[:3, :3], axis=0)
        if usable and not np.allclose(steps, np.abs(sizes), rtol=_AGREE, atol=0):
            one, other = (" x ".join(f"{size:.4g}" for size in both) for both in (steps, np.abs(sizes)))
            told.append(f"its sform has voxels of {one}, its pixdim of {other}: the sform's are taken")
    elif not usable:
        # Nothing tells a size, so nothing tells a place.
        return axial_affine(voxel_size(file, spacing))[:, [2, 1, 0, 3]], tuple(told)
    else:
        if (sizes < 0).any():
            told.append("its voxel sizes are negative: their signs are passed over")
        header["pixdim"][1:4] = np.abs(sizes)
        if abs(header["pixdim"][0]) != 1:
            header["pixdim"][0] = 1  # as the standard has it
        if header["qform_code"] > 0:
            affine = np.array(header.get_qform(), dtype=np.float64)
        elif spacing is not None and (sizes == 1).all():
            return axial_affine(voxel_size(file, spacing))[:, [2, 1, 0, 3]], tuple(told)
        else:
            if (sizes == 1).all():
                told.append("it tells no place, and voxels of 1 mm as files do that tell no size: give file_spacing=")
            affine = np.array(header.get_base_affine(), dtype=np.float64)
    affine[:3] *= _MM.get(unit, 1.0)
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise UserError(
            f"{file} has no usable geometry (its affine is singular or not finite): write it anew with a spacing"
        )
    return affine, tuple(told)


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """A file's bytes, decompressed by what it holds: names are wrong at times."""
    with file.open("rb") as raw:
        if _is_gzip(file):
            with gzip.GzipFile(fileobj=raw) as stream:
                yield stream  # type: ignore[misc]
        else:
            yield raw


def _is_gzip(file: Path) -> bool:
    with file.open("rb") as raw:
        return raw.read(2) == b"\x1f\x8b"


def _slices(stream: BinaryIO, found: _File) -> Iterator[Array]:
    """The greys, (1, y, x), in the file's order: it is read once, from its beginning to its end."""
    x, y, z = found.shape[:3]
    kind = None if found.scaling == (1.0, 0.0) and found.dtype.kind in "iu" else np.float32
    for k in range(z):
        start = found.offset + k * x * y * found.dtype.itemsize
        proxy = ArrayProxy(stream, ((x, y, 1), found.dtype, start, *found.scaling), mmap=False)
        yield np.asarray(proxy, dtype=kind).T


def _beyond(stream: BinaryIO) -> list[str]:
    """Reads on to the end, where the checksum of a compressed file stands, and tells of what comes before it."""
    try:
        beyond = sum(len(chunk) for chunk in iter(lambda: stream.read(_CHUNK), b""))
    except gzip.BadGzipFile as error:
        if not str(error).startswith("Not a gzipped file"):  # which is said of what follows a whole one
            raise
        beyond = 1
    return ["there is more in it than its header tells: what follows the last voxel is passed over"] if beyond else []
