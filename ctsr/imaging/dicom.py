"""DICOM series: slices sorted along their normal and checked to be one whole volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK

from ctsr.errors import UserError
from ctsr.imaging.formats import FORMATS
from ctsr.imaging.padding import PADDING_BELOW_HU, mark_padding
from ctsr.imaging.volume import Affine, Array, Header, Volume

_CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"  # SOP class; files stripped of their Modality tag still carry it
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Slice:
    """The header of one file; positions and directions in DICOM's LPS millimetres."""

    file: Path
    size: tuple[int, int]  # rows, columns
    spacing: tuple[float, float]  # between rows, between columns
    down: Vector  # unit step from row to row
    right: Vector  # unit step from column to column
    position: Vector  # centre of the first pixel
    thickness: float
    padding: float | None  # in rescaled units
    is_ct: bool

    @property
    def normal(self) -> Vector:
        return np.cross(self.right, self.down)


def read_dicom(folder: Path) -> Volume:
    """Read the one series in a folder; padding is marked (tag, and below -1500 HU for CT).

    Raises:
        UserError: No series, several, a gap, a duplicate, or slices that do not belong together.
    """
    slices = _sorted_series(folder)
    try:
        # One by one, since slope and intercept, which SimpleITK applies, may change from slice to slice.
        array = np.stack([_compact(_pixels(s.file)) for s in slices])
    except RuntimeError as error:
        raise UserError(f"{folder} cannot be read to its end: {str(error).splitlines()[-1]}") from error
    return mark_padding(Volume(array, _affine(folder, slices), slice_axis=0), _padding_mask(array, slices[0]))


def probe_dicom(folder: Path) -> Header:
    """Shape and geometry of the one series in a folder; errors as for `read_dicom`."""
    slices = _sorted_series(folder)
    return Header((len(slices), *slices[0].size), _affine(folder, slices), "dicom", slice_axis=0)


def _pixels(file: Path) -> Array:
    pixels: Array = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))[0]
    if pixels.ndim != 2:
        raise UserError(f"{file} is a colour image, not a scan")
    return pixels


def _compact(greys: Array) -> Array:
    """The same greys in int16 where they fit, in float32 where they are not whole numbers."""
    if greys.dtype.kind == "f":
        return greys.astype(np.float32)
    limits = np.iinfo(np.int16)
    return greys.astype(np.int16) if limits.min <= greys.min() and greys.max() <= limits.max else greys


def _padding_mask(array: Array, first: _Slice) -> npt.NDArray[np.bool_]:
    padding: npt.NDArray[np.bool_] = array < PADDING_BELOW_HU if first.is_ct else np.zeros(array.shape, dtype=bool)
    # In CT a padding tag within the range of tissue is wrong, and would cut holes into the lung.
    if first.padding is not None and not (first.is_ct and first.padding > -1000):
        padding |= array == first.padding
    return padding


def _sorted_series(folder: Path) -> list[_Slice]:
    ids = SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not ids:
        raise UserError(f"{folder} holds no scan that can be read: give {FORMATS}")
    series = {uid: SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid) for uid in ids}
    if len(series) > 1:
        listed = "; ".join(f"{uid} ({len(files)} slices)" for uid, files in series.items())
        raise UserError(f"{folder} holds {len(series)} DICOM series, put each into a folder of its own: {listed}")
    slices = [_read_header(Path(file)) for file in series[ids[0]]]
    first = slices[0]
    for other in slices[1:]:
        same_grid = other.size == first.size and np.allclose(other.spacing, first.spacing, rtol=1e-4)
        if not same_grid or not np.allclose([other.down, other.right], [first.down, first.right], atol=1e-3):
            raise UserError(
                f"{folder}: {other.file.name} differs from {first.file.name} in size, spacing or orientation: "
                "keep only the slices of one volume"
            )
    return sorted(slices, key=lambda s: float(s.position @ first.normal))


def _affine(folder: Path, slices: list[_Slice]) -> Affine:
    first = slices[0]
    affine = np.eye(4)
    steps = [_slice_step(folder, slices), first.down * first.spacing[0], first.right * first.spacing[1]]
    affine[:3, :3] = _LPS_TO_RAS @ np.stack(steps, axis=1)
    affine[:3, 3] = _LPS_TO_RAS @ first.position
    return affine


def _slice_step(folder: Path, slices: list[_Slice]) -> Vector:
    """The vector from slice to slice, after making sure that it is the same everywhere."""
    normal = slices[0].normal
    if len(slices) == 1:
        return normal * slices[0].thickness
    positions = np.stack([s.position for s in slices])
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps))
    for gap, before, after in zip(gaps, slices, slices[1:], strict=False):
        between = f"between {before.file.name} and {after.file.name}"
        if gap <= 0.01 * usual or gap < 1e-4:
            raise UserError(f"{folder}: no distance {between}: remove the duplicate")
        if abs(gap - usual) > 0.01 * usual:
            raise UserError(f"{folder}: {gap:.4g} mm {between}, where {usual:.4g} mm is usual: is a slice missing?")
    step: Vector = (positions[-1] - positions[0]) / (len(slices) - 1)
    astray = np.abs(positions - positions[0] - np.arange(len(slices))[:, None] * step).max(axis=1)
    if astray.max() > max(0.1, 0.1 * usual):
        raise UserError(f"{folder}: {slices[int(astray.argmax())].file.name} is shifted sideways from its neighbours")
    return step


def _read_header(file: Path) -> _Slice:
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(file))
    reader.ReadImageInformation()
    columns, rows, *frames = reader.GetSize()
    if frames and frames[0] > 1:
        raise UserError(f"{file} holds {frames[0]} frames: multi-frame DICOM is not read, convert it to NIfTI")

    def text(tag: str) -> str:
        return str(reader.GetMetaData(tag)).strip("\0 ") if reader.HasMetaDataKey(tag) else ""

    def numbers(tag: str) -> list[float]:
        return [float(part) for part in text(tag).split("\\") if part.strip()]

    position, directions, pixel = numbers("0020|0032"), numbers("0020|0037"), numbers("0028|0030")
    if (len(position), len(directions), len(pixel)) != (3, 6, 2):
        raise UserError(f"{file} lacks its position, orientation or pixel spacing: convert the series to NIfTI")
    return _Slice(
        file=file,
        size=(rows, columns),
        spacing=(pixel[0], pixel[1]),
        right=np.array(directions[:3]),
        down=np.array(directions[3:]),
        position=np.array(position),
        thickness=(numbers("0018|0050") or [1.0])[0],
        padding=_padding(numbers),
        is_ct=text("0008|0060") == "CT" or text("0008|0016") == _CT_STORAGE,
    )


def _padding(numbers: Callable[[str], list[float]]) -> float | None:
    """The padding grey in rescaled units; its tag holds the stored number, sometimes with the wrong sign."""
    stored, is_signed = numbers("0028|0120"), numbers("0028|0103") == [1.0]
    if not stored:
        return None
    value = stored[0] - 65536 if is_signed and stored[0] > 32767 else stored[0]
    return value * (numbers("0028|1053") or [1.0])[0] + (numbers("0028|1052") or [0.0])[0]
