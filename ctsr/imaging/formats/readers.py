"""Scans from disk, of any format that researchers meet, each with its geometry.

`read_volume` reads voxels, `probe` only headers. What a format stores otherwise is brought to one convention:
array axes (z, y, x), affine to RAS+ millimetres with columns in the array's order, real grey units (HU for CT).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ctsr.errors import UserError
from ctsr.imaging.formats.content import check_content
from ctsr.imaging.formats.recognise import FORMATS, format_of, hollow_in, promises_scan
from ctsr.imaging.formats.table import TABLE, Options, Reader
from ctsr.imaging.formats.voxel_size import FileSpacing
from ctsr.imaging.padding import mark_padding
from ctsr.imaging.storage import Allocate, NoRoomError
from ctsr.imaging.volume import Header, Volume

SMALLEST_MM = 0.001  # no scan of a specimen large enough to be of use here is finer
LARGEST_MM = (10.0, 10.0, 50.0)  # two sizes in the plane and one across it, smallest first


def read_volume(
    path: str | Path,
    spacing: FileSpacing = None,
    padding_below: float | None = None,
    series: str | None = None,
    level_mm: float | None = None,
    *,
    allocate: Allocate = np.empty,
) -> Volume:
    """Read a scan with its geometry.

    Args:
        path: A folder of DICOM (one series or several), TIFF, PNG or BMP slices, an OME-Zarr folder, or a NIfTI,
            MetaImage, NRRD, multi-page TIFF or multi-frame DICOM file.
        spacing: Voxel size in mm, one value or (z, y, x), of files that tell none, such as PNG, BMP and most TIFF. An
            error where TIFF, OME-Zarr or a scanner's log tell another; ignored for other files that tell theirs.
        padding_below: Greys below it are scanner padding: marked in `Volume.outside` and set to -1024. DICOM CT needs
            none (-1500 HU and the padding tag apply); give `PADDING_BELOW_HU` for other scans in HU.
        series: Which series of a DICOM folder that holds several: UID, number, or part of its description; None: the
            only one that is no scout.
        level_mm: Wanted in-plane pixel size, for files that hold several resolutions (OME-Zarr): the coarsest that is
            at least as fine; None: the finest.
        allocate: Where the voxels live, `numpy.empty`: in memory; or `MappedFiles`.

    Returns:
        The volume; whole-number greys stay integer, all others are float32.

    Raises:
        UserError: The path is missing, of another format, incomplete, damaged, larger than memory, without the geometry
            it needs or with one that cannot be meant.
        NoRoomError: The disk of the mapped files is full.
    """
    path = Path(path)
    with naming(path):
        reader = _reader(path, Options(spacing, series, level_mm))
        check_header(path, reader.header, in_memory=allocate is np.empty)
        volume = reader.read(allocate)
    if volume.array.dtype.kind not in "biuf":
        raise UserError(f"{path} holds {volume.array.dtype}, which are no greys: give grey numbers")
    if volume.array.dtype.kind == "f" and not all(np.isfinite(image).all() for image in volume.array):
        what = "not numbers (NaN)" if any(np.isnan(image).any() for image in volume.array) else "infinite"
        raise UserError(f"{path} holds voxels that are {what}: write the grey of air there")
    if padding_below is None:
        return volume
    padding = np.less(volume.array, padding_below, out=allocate(volume.shape, bool))
    return mark_padding(volume, padding, in_place=True)


def probe(
    path: str | Path, spacing: FileSpacing = None, series: str | None = None, level_mm: float | None = None
) -> Header:
    """Shape and geometry of a scan from its headers alone; arguments and errors as for `read_volume`."""
    path = Path(path)
    with naming(path):
        header = _reader(path, Options(spacing, series, level_mm)).header
        check_header(path, header)
    return header


def files_of(path: Path) -> list[Path]:
    """A scan's file or folder, and further files with its voxels, where it is a header.

    Raises:
        UserError: The header is damaged, or its .img is not there.
    """
    with naming(path):
        row = TABLE.get(format_of(path) or "")
        return [path] if row is None or not row.parts else row.open(path, Options()).files()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """What the libraries raise on a bad file, in one line that names it: nobody needs a list of their errors.

    Raises:
        UserError: The file, and the last line of what a library said.
    """
    try:
        yield
    except (UserError, NoRoomError, AssertionError, ImportError, NameError):  # the last three are this program's bugs
        raise
    except MemoryError as error:
        raise UserError(f"{path} does not fit into memory") from error
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if lines else type(error).__name__
        raise UserError(f"{path} cannot be read: {reason}") from error


def _reader(path: Path, options: Options) -> Reader:
    check_content([path])
    if (name := format_of(path)) is not None:
        return TABLE[name].open(path, options)
    if path.is_dir():
        check_content([file for file in hollow_in(path) if promises_scan(file)])
    what = "holds no scan" if path.is_dir() else "is not a scan"
    raise UserError(f"{path} {what} that can be read: give {FORMATS}")


def check_header(path: Path, header: Header, in_memory: bool = True) -> None:
    """Make sure that a scan can be used, as far as its header tells.

    Args:
        path: Of the scan.
        header: Its header.
        in_memory: Whether memory must hold it.

    Raises:
        UserError: Its place or voxel size is not finite, its voxels are of a size that no scanner has, or it is larger
            than the memory that is left.
    """
    sizes = header.spacing
    told = " x ".join(f"{size:.4g}" for size in sizes)
    if not np.isfinite(header.affine).all() or np.linalg.matrix_rank(header.affine[:3, :3]) < 3:
        raise UserError(f"{path} has voxels of {told} mm or a place that cannot be: write it anew with its spacing")
    if min(sizes) < SMALLEST_MM * 0.999 or any(
        size > most for size, most in zip(sorted(sizes), LARGEST_MM, strict=True)
    ):
        raise UserError(f"{path} has voxels of {told} mm (z, y, x): is the unit right? write it anew with its spacing")
    if not in_memory:
        return
    z, y, x = (int(size) for size in header.shape)
    need, free = z * y * x * header.voxel_bytes, free_memory()
    if free is not None and need > free:
        raise UserError(f"{path} needs {need / 1e9:,.1f} GB of memory, {free / 1e9:.1f} GB are free: crop it")


def free_memory() -> int | None:
    """Bytes of memory that programs can still have, files kept there counted as free; None: unknown (not Linux)."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
