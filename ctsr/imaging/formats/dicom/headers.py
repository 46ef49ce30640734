"""What the header of a DICOM image tells of each slice in it, and what it tells wrongly. Read by pydicom.

A file holds one slice or, multi-frame, many: then what all frames share stands once, the rest with each frame. Laid
flat, the header of a frame looks like that of a file of one slice.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.config import IGNORE, disable_value_validation
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.uid import UID

from ctsr.errors import UserError
from ctsr.imaging.formats.dicom import passes
from ctsr.imaging.formats.recognise import files_in, is_dicom, may_be_dicom

Vector = npt.NDArray[np.float64]

_CT_STORAGE = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1")  # SOP classes; where Modality was removed
_PLACE = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
_FRAME_GROUPS = (*_PLACE, "PixelValueTransformationSequence", *passes.FRAME_GROUPS)
_READ = (
    *("SpecificCharacterSet", "ImageType", "SOPClassUID", "Modality", "PatientID"),
    *("SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "SliceThickness"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames"),
    *("SamplesPerPixel", "PhotometricInterpretation"),
    *("PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *passes.TAGS,
)
_ASKEW = 0.02  # of unit length or of a right angle: what directions written with two decimals are off


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """The tags of a file, or of a frame in it.

    Attributes:
        file: Where it is.
        tags: As pydicom has them.
        name: For messages.
    """

    file: Path
    tags: pydicom.Dataset
    name: str

    def text(self, keyword: str) -> str:
        """A tag as text, several values joined as they are stored; empty where it is missing."""
        return "\\".join(str(value).strip("\0 ") for value in self._values(keyword))

    def numbers(self, keyword: str) -> list[float]:
        """The values of a tag; none where it is missing or empty.

        Raises:
            UserError: They are no numbers.
        """
        try:
            return [float(value) for value in self._values(keyword) if str(value).strip("\0 ")]
        except (ValueError, TypeError) as error:
            raise self._damaged(keyword, error) from error

    def items(self, keyword: str) -> list[ImageHeader]:
        """The items of a sequence, each with tags of its own."""
        values = [value for value in self._values(keyword) if value != ""]
        if not all(isinstance(value, pydicom.Dataset) for value in values):
            raise self._damaged(keyword, TypeError("it is no sequence"))
        return [ImageHeader(self.file, value, self.name) for value in values]

    @property
    def is_colour(self) -> bool:
        """Whether its pixels are more than a grey each, or stand for colours."""
        interpretation = self.text("PhotometricInterpretation") or "MONOCHROME"
        return not interpretation.startswith("MONOCHROME") or self.numbers("SamplesPerPixel") == [3]

    @property
    def frames(self) -> int:
        """How many slices the file holds."""
        count = (self.numbers("NumberOfFrames") or [1.0])[0]
        if not 0 <= count < np.inf:
            raise _senseless(self, "NumberOfFrames")
        return max(1, int(count))

    def _values(self, keyword: str) -> list[Any]:
        with warnings.catch_warnings(), disable_value_validation():
            warnings.simplefilter("ignore")
            try:
                value = self.tags.get(keyword)
            except Exception as error:  # pydicom decodes now, and has no error of its own for what it cannot decode
                raise self._damaged(keyword, error) from error
        values = value if isinstance(value, MultiValue | Sequence | list) else [value]
        return ["" if part is None else part for part in values]

    def _damaged(self, keyword: str, error: Exception) -> UserError:
        return UserError(f"{self.name}: {keyword} cannot be read ({_short(error)}): correct it, or take the file away")


@dataclass(frozen=True, eq=False)
class Scale:
    """How stored numbers become greys.

    Attributes:
        slope: 1 where it is not told.
        intercept: 0 where it is not told.
        told: Whether both are told, or there is a table.
        table: The data set with a table of greys that stands in their place.
        unit: Of the greys, such as "HU"; empty where it is not told.
    """

    slope: float
    intercept: float
    told: bool
    table: pydicom.Dataset | None
    unit: str


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice; positions and directions in DICOM's LPS millimetres.

    Attributes:
        file: Where it is.
        frame: Its number in the file.
        frames: How many the file holds.
        size: Rows, columns.
        spacing: Between rows, between columns.
        down: Unit step from row to row.
        right: Unit step from column to column.
        position: Centre of the first pixel.
        thickness: None where it is not told.
        scale: Of its greys.
        padding: Lowest and highest stored number that the scanner wrote outside its field of view.
        is_ct: Whether its greys should be HU.
        passes: Tags that tell which pass over the body it is of, as text; those that are missing left out.
    """

    file: Path
    frame: int
    frames: int
    size: tuple[int, int]
    spacing: tuple[float, float]
    down: Vector
    right: Vector
    position: Vector
    thickness: float | None
    scale: Scale
    padding: tuple[float, float] | None
    is_ct: bool
    passes: Mapping[str, str]

    @property
    def name(self) -> str:
        """For messages."""
        return self.file.name if self.frames == 1 else f"frame {self.frame + 1} of {self.file.name}"

    @property
    def normal(self) -> Vector:
        """Unit vector across the slice."""
        return np.cross(self.right, self.down)


def image_headers(path: Path) -> Iterator[ImageHeader]:
    """The headers of the DICOM images at a file, or directly in a folder; what is no image is passed over.

    Raises:
        UserError: A file is damaged.
    """
    for file in files_in(path) if path.is_dir() else [path]:
        if not may_be_dicom(file) or not is_dicom(file):
            continue
        header = ImageHeader(file, _tags(file), str(file))
        if "Rows" in header.tags:
            yield header
        elif UID(header.text("SOPClassUID"), IGNORE).name.endswith("Image Storage"):
            raise UserError(f"{file} is cut off within its header: copy it again, or take it away")


def slices_in(header: ImageHeader) -> list[Slice]:
    """The slices that a file holds.

    Raises:
        UserError: It is in colour, or a tag that is needed is missing or makes no sense.
    """
    if header.is_colour:
        raise UserError(f"{header.name} is a colour image ({header.text('PhotometricInterpretation')}), not a scan")
    if header.numbers("SamplesPerPixel") not in ([], [1]):
        raise _senseless(header, "SamplesPerPixel")
    frames = list(_frames(header))
    return [_slice(frame, number, len(frames)) for number, frame in enumerate(frames)]


def _senseless(header: ImageHeader, keyword: str) -> UserError:
    """The error of a tag whose value cannot be meant."""
    value = header.text(keyword)
    return UserError(f"{header.name}: {keyword} {value} makes no sense: correct it, or take the file away")


def _tags(file: Path) -> pydicom.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(_READ))
        except Exception as error:  # pydicom has no error of its own for damaged files
            raise UserError(
                f"{file} cannot be read as DICOM ({_short(error)}): copy it again, or take it away"
            ) from error


def _frames(header: ImageHeader) -> Iterator[ImageHeader]:
    """The header of each slice, laid flat."""
    frames = header.items("PerFrameFunctionalGroupsSequence")
    if header.frames == 1 and not frames:
        yield header
        return
    if len(frames) != header.frames:
        raise UserError(
            f"{header.file} holds {header.frames} frames, but tells where {len(frames)} lie: "
            "convert it to NIfTI with its spacing"
        )
    shared = header.items("SharedFunctionalGroupsSequence")[:1]
    for number, frame in enumerate(frames):
        flat = pydicom.Dataset()
        flat.update(header.tags)
        for name in _FRAME_GROUPS:
            for item in [item for part in (*shared, frame) for item in part.items(name)[:1]]:
                flat.update(item.tags)
        yield ImageHeader(header.file, flat, f"frame {number + 1} of {header.file}")


def _slice(header: ImageHeader, frame: int, frames: int) -> Slice:
    position, directions = _place(header, "ImagePositionPatient", 3), _place(header, "ImageOrientationPatient", 6)
    pixel, size = _place(header, "PixelSpacing", 2), (_place(header, "Rows", 1), _place(header, "Columns", 1))
    if min(pixel) <= 0:
        raise _senseless(header, "PixelSpacing")
    if min(size) < [1]:
        raise UserError(f"{header.name} has {size[0][0]:g} rows of {size[1][0]:g} pixels: take it away")
    right, down = np.array(directions[:3]), np.array(directions[3:])
    lengths = np.linalg.norm([right, down], axis=1)
    if np.abs(lengths - 1).max() > _ASKEW or abs(right @ down) > _ASKEW:
        raise _senseless(header, "ImageOrientationPatient")
    right = right / lengths[0]
    down = down - (down @ right) * right
    thickness = header.numbers("SliceThickness")
    return Slice(
        file=header.file,
        frame=frame,
        frames=frames,
        size=(int(size[0][0]), int(size[1][0])),
        spacing=(pixel[0], pixel[1]),
        right=right,
        down=down / np.linalg.norm(down),
        position=np.array(position),
        thickness=thickness[0] if thickness and 0 < thickness[0] < np.inf else None,
        scale=_scale(header),
        padding=_padding(header),
        is_ct=header.text("Modality") == "CT" or header.text("SOPClassUID") in _CT_STORAGE,
        passes=_passes(header),
    )


def _passes(header: ImageHeader) -> dict[str, str]:
    told = {}
    for tag in passes.TAGS:
        with suppress(UserError):  # one that cannot be read tells nothing
            text = header.text(tag) if tag in header.tags else ""
            told[tag] = re.sub(r"(?<=\d)\.0+$", "", text)  # 120.0 is 120
    return {tag: text for tag, text in told.items() if text}


def _place(header: ImageHeader, keyword: str, count: int) -> list[float]:
    found = header.numbers(keyword)
    if not found:
        raise UserError(f"{header.name} lacks its position, orientation or pixel spacing: convert the series to NIfTI")
    if len(found) != count or not np.isfinite(found).all():
        raise _senseless(header, keyword)
    return found


def _scale(header: ImageHeader) -> Scale:
    if tables := header.items("ModalityLUTSequence"):
        table = pydicom.Dataset()
        table.ModalityLUTSequence = [tables[0].tags]
        return Scale(1.0, 0.0, True, table, tables[0].text("ModalityLUTType"))
    slope, intercept = header.numbers("RescaleSlope"), header.numbers("RescaleIntercept")
    for keyword, values in (("RescaleSlope", slope), ("RescaleIntercept", intercept)):
        if len(values) > 1 or not np.isfinite(values).all() or (keyword == "RescaleSlope" and 0 in values):
            raise _senseless(header, keyword)
    told = bool(slope and intercept)
    return Scale((slope or [1.0])[0], (intercept or [0.0])[0], told, None, header.text("RescaleType"))


def _padding(header: ImageHeader) -> tuple[float, float] | None:
    value = header.numbers("PixelPaddingValue")
    if len(value) != 1:
        return None
    limit = header.numbers("PixelPaddingRangeLimit") or value
    return min(value[0], limit[0]), max(value[0], limit[0])


def _short(error: Exception) -> str:
    """What a library says, without the bytes it stumbled over."""
    return shorten("".join(c if c.isprintable() else " " for c in str(error)), 90, placeholder=" ...")
