"""DICOM: the slices of a series, sorted along their normal and checked to be one whole volume.

They lie one a file, or all in one (multi-frame).
SimpleITK decodes the pixels, whatever their compression. The headers of multi-frame files, which SimpleITK shows in
part, are read by pydicom.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import SimpleITK

from ctsr.errors import UserError
from ctsr.imaging.formats import FORMATS, files_in, is_dicom
from ctsr.imaging.padding import PADDING_BELOW_HU, mark_padding
from ctsr.imaging.volume import LPS_TO_RAS, Affine, Array, Header, Volume

_CT_STORAGE = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1")  # SOP classes; where Modality was removed
_SCOUT = re.compile("scout|topogram|surview|localizer|scanogram", re.IGNORECASE)
FEWEST_SLICES = 3  # of a series that is no scout

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Slice:
    """The header of one slice; positions and directions in DICOM's LPS millimetres."""

    file: Path
    frame: int | None  # its number in a multi-frame file
    size: tuple[int, int]  # rows, columns
    spacing: tuple[float, float]  # between rows, between columns
    down: Vector  # unit step from row to row
    right: Vector  # unit step from column to column
    position: Vector  # centre of the first pixel
    thickness: float
    padding: float | None  # in rescaled units
    is_ct: bool

    @property
    def name(self) -> str:
        return self.file.name if self.frame is None else f"frame {self.frame + 1} of {self.file.name}"

    @property
    def normal(self) -> Vector:
        return np.cross(self.right, self.down)


@dataclass(frozen=True)
class Series:
    """A series in a folder.

    Attributes:
        uid: Its unique identifier.
        number: As the scanner's console counts them; empty where it is not told.
        description: What the scanner's console calls it.
        files: Its files.
        slices: How many slices they hold.
        scout: Whether it is a localizer.
    """

    uid: str
    number: str
    description: str
    files: tuple[Path, ...]
    slices: int
    scout: bool

    def __str__(self) -> str:
        name = f"{self.number} '{self.description}'".strip() if self.description else self.number or self.uid
        return f"{name} ({self.slices} slices{', scout' if self.scout else ''})"


def read_dicom(path: Path, series: str | None = None) -> Volume:
    """Read one series; padding is marked (tag, and below -1500 HU for CT).

    Args:
        path: A folder, or one multi-frame file.
        series: Which of several: UID, number, or part of the description; None: the only one that is no scout.

    Raises:
        UserError: No series, several, a gap, a duplicate, slices that do not belong together, or a compression that
            cannot be decoded.
    """
    slices = _sorted_slices(path, series)
    if slices[0].frame is None:
        # One by one, since slope and intercept, which SimpleITK applies, may change from slice to slice.
        array = np.stack([_compact(_pixels(s.file)[0]) for s in slices])
    else:
        array = _compact(_pixels(slices[0].file)[np.array([s.frame for s in slices])])
    return mark_padding(Volume(array, _affine(path, slices), slice_axis=0), _padding_mask(array, slices[0]))


def probe_dicom(path: Path, series: str | None = None) -> Header:
    """Shape and geometry of one series; arguments and errors as for `read_dicom`."""
    slices = _sorted_slices(path, series)
    return Header((len(slices), *slices[0].size), _affine(path, slices), "dicom", slice_axis=0)


def find_series(path: Path) -> list[Series]:
    """The series in a folder or file, in the order of their numbers.

    Raises:
        UserError: There is none.
    """
    if path.is_file():
        return [_series("", (path,))]
    ids = SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(path))
    if not ids:
        raise UserError(f"{path} holds no scan that can be read: give {FORMATS}")
    names = [SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(path), uid) for uid in ids]
    found = [_series(uid, tuple(Path(name) for name in files)) for uid, files in zip(ids, names, strict=True)]
    return sorted(found, key=lambda s: (int(s.number) if s.number.isdigit() else 0, s.uid))


def is_scout(path: Path) -> bool:
    """Whether all that a DICOM file or folder shows is localizers: nothing to train on, or to enlarge.

    Headers alone are read, and of a folder of slices only the first ones.

    Args:
        path: Of a scan of any format; what is not DICOM is no scout.

    Returns:
        True where each image calls itself a localizer; one or two images may do so by their description.
    """
    headers = _image_headers(path)
    first = list(islice(headers, FEWEST_SLICES))
    few = len(first) < FEWEST_SLICES
    return bool(first) and all(_is_localizer(header, few) for header in chain(first, headers))


def patient_of(path: Path) -> str | None:
    """The PatientID in the first DICOM header of a file or folder; None: there is none, or it is empty."""
    header = next(_image_headers(path), None)
    return None if header is None else str(header.get("PatientID") or "").strip("\0 ") or None


def _image_headers(path: Path) -> Iterator[pydicom.Dataset]:
    """The headers of the DICOM images at a file, or directly in a folder."""
    for file in files_in(path) if path.is_dir() else [path]:
        if is_dicom(file):
            header = pydicom.dcmread(file, stop_before_pixels=True, force=True)
            if "Rows" in header:
                yield header


def _is_localizer(header: pydicom.Dataset, by_description: bool) -> bool:
    told = "LOCALIZER" in (header.get("ImageType") or [])
    return told or (by_description and bool(_SCOUT.search(str(header.get("SeriesDescription") or ""))))


def _series(uid: str, files: tuple[Path, ...]) -> Series:
    try:
        header = pydicom.dcmread(files[0], stop_before_pixels=True, force=True)
    except (pydicom.errors.InvalidDicomError, OSError) as error:
        raise UserError(f"{files[0]} is not a readable DICOM file: {error}") from error
    frames = int(header.get("NumberOfFrames") or 1)
    return Series(
        uid=uid or str(header.get("SeriesInstanceUID", "")),
        number=str(header.get("SeriesNumber") or ""),
        description=str(header.get("SeriesDescription") or ""),
        files=files,
        slices=frames if frames > 1 and len(files) == 1 else len(files),
        scout="LOCALIZER" in (header.get("ImageType") or []),
    )


def _chosen_series(path: Path, series: str | None) -> Series:
    found = find_series(path)
    if series is not None:
        matching = [s for s in found if series in (s.uid, s.number)]
        matching = matching or [s for s in found if series.casefold() in s.description.casefold()]
    else:
        matching = [s for s in found if not s.scout and s.slices >= FEWEST_SLICES] or found
    if len(matching) == 1:
        return matching[0]
    listed = "; ".join(str(s) for s in found)
    if series is None:
        what = f"holds {len(found)} DICOM series: pick one by series=<number, UID or part of its description>"
    else:
        what = f"holds {len(matching) or 'no'} series that match series={series}: give a number or UID"
    raise UserError(f"{path} {what}, of {listed}")


def _pixels(file: Path) -> Array:
    try:
        pixels: Array = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
    except RuntimeError as error:
        syntax = pydicom.dcmread(file, stop_before_pixels=True, force=True).file_meta.get("TransferSyntaxUID")
        kind = "" if syntax is None or not syntax.is_compressed else f" ({syntax.name})"
        last = str(error).strip().splitlines()[-1]
        raise UserError(f"{file}{kind} cannot be read to its end: {last}") from error
    if pixels.ndim != 3:
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


def _sorted_slices(path: Path, series: str | None) -> list[_Slice]:
    chosen = _chosen_series(path, series)
    if len(chosen.files) == 1 and chosen.slices > 1:
        slices = _read_frames(chosen.files[0])
    elif path.is_file():
        raise UserError(f"{path} is one slice of a DICOM series: give the folder that holds the whole series")
    else:
        slices = [_read_header(file) for file in chosen.files]
    first = slices[0]
    for other in slices[1:]:
        same_grid = other.size == first.size and np.allclose(other.spacing, first.spacing, rtol=1e-4)
        if not same_grid or not np.allclose([other.down, other.right], [first.down, first.right], atol=1e-3):
            raise UserError(
                f"{path}: {other.name} differs from {first.name} in size, spacing or orientation: "
                "keep only the slices of one volume"
            )
    return sorted(slices, key=lambda s: float(s.position @ first.normal))


def _affine(path: Path, slices: list[_Slice]) -> Affine:
    first = slices[0]
    affine = np.eye(4)
    steps = [_slice_step(path, slices), first.down * first.spacing[0], first.right * first.spacing[1]]
    affine[:3, :3] = LPS_TO_RAS @ np.stack(steps, axis=1)
    affine[:3, 3] = LPS_TO_RAS @ first.position
    return affine


def _slice_step(path: Path, slices: list[_Slice]) -> Vector:
    """The vector from slice to slice, after making sure that it is the same everywhere."""
    normal = slices[0].normal
    if len(slices) == 1:
        return normal * slices[0].thickness
    positions = np.stack([s.position for s in slices])
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps))
    for gap, before, after in zip(gaps, slices, slices[1:], strict=False):
        between = f"between {before.name} and {after.name}"
        if gap <= 0.01 * usual or gap < 1e-4:
            raise UserError(f"{path}: no distance {between}: remove the duplicate")
        if abs(gap - usual) > 0.01 * usual:
            raise UserError(f"{path}: {gap:.4g} mm {between}, where {usual:.4g} mm is usual: is a slice missing?")
    step: Vector = (positions[-1] - positions[0]) / (len(slices) - 1)
    astray = np.abs(positions - positions[0] - np.arange(len(slices))[:, None] * step).max(axis=1)
    if astray.max() > max(0.1, 0.1 * usual):
        raise UserError(f"{path}: {slices[int(astray.argmax())].name} is shifted sideways from its neighbours")
    return step


def _read_header(file: Path) -> _Slice:
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(file))
    reader.ReadImageInformation()
    columns, rows, *frames = reader.GetSize()
    if frames and frames[0] > 1:
        raise UserError(f"{file} holds {frames[0]} frames among files of one: put it into a folder of its own")

    def text(tag: str) -> str:
        return str(reader.GetMetaData(tag)).strip("\0 ") if reader.HasMetaDataKey(tag) else ""

    def numbers(tag: str) -> list[float]:
        return [float(part) for part in text(tag).split("\\") if part.strip()]

    position, directions, pixel = numbers("0020|0032"), numbers("0020|0037"), numbers("0028|0030")
    if (len(position), len(directions), len(pixel)) != (3, 6, 2):
        raise UserError(f"{file} lacks its position, orientation or pixel spacing: convert the series to NIfTI")
    return _Slice(
        file=file,
        frame=None,
        size=(rows, columns),
        spacing=(pixel[0], pixel[1]),
        right=np.array(directions[:3]),
        down=np.array(directions[3:]),
        position=np.array(position),
        thickness=(numbers("0018|0050") or [1.0])[0],
        padding=_padding(numbers),
        is_ct=text("0008|0060") == "CT" or text("0008|0016") in _CT_STORAGE,
    )


def _read_frames(file: Path) -> list[_Slice]:
    """The slices of an enhanced multi-frame file; what all frames share stands once, the rest with each frame."""
    header = pydicom.dcmread(file, stop_before_pixels=True)
    shared = (header.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    is_ct = header.get("Modality") == "CT" or header.get("SOPClassUID") in _CT_STORAGE
    slices, scales = [], set()
    for number, frame in enumerate(frames):

        def group(name: str, frame: pydicom.Dataset = frame) -> Any:
            return (frame.get(name) or shared.get(name) or [pydicom.Dataset()])[0]

        position = group("PlanePositionSequence").get("ImagePositionPatient")
        directions = group("PlaneOrientationSequence").get("ImageOrientationPatient")
        measures, scale = group("PixelMeasuresSequence"), group("PixelValueTransformationSequence")
        if position is None or directions is None or "PixelSpacing" not in measures:
            raise UserError(f"frame {number + 1} of {file} lacks its position, orientation or pixel spacing")
        slope, intercept = float(scale.get("RescaleSlope", 1)), float(scale.get("RescaleIntercept", 0))
        scales.add((slope, intercept))
        padding = header.get("PixelPaddingValue")
        slices.append(
            _Slice(
                file=file,
                frame=number,
                size=(int(header.Rows), int(header.Columns)),
                spacing=(float(measures.PixelSpacing[0]), float(measures.PixelSpacing[1])),
                right=np.array(directions[:3], dtype=np.float64),
                down=np.array(directions[3:], dtype=np.float64),
                position=np.array(position, dtype=np.float64),
                thickness=float(measures.get("SliceThickness") or 1.0),
                padding=None if padding is None else float(padding) * slope + intercept,
                is_ct=is_ct,
            )
        )
    if not slices:
        raise UserError(f"{file} holds several frames, but not where each lies: convert it to NIfTI with its spacing")
    if len(scales) > 1:
        raise UserError(f"the frames of {file} have different rescale slopes: convert it to NIfTI")
    return slices


def _padding(numbers: Callable[[str], list[float]]) -> float | None:
    """The padding grey in rescaled units; its tag holds the stored number, sometimes with the wrong sign."""
    stored, is_signed = numbers("0028|0120"), numbers("0028|0103") == [1.0]
    if not stored:
        return None
    value = stored[0] - 65536 if is_signed and stored[0] > 32767 else stored[0]
    return value * (numbers("0028|1053") or [1.0])[0] + (numbers("0028|1052") or [0.0])[0]
