"""What headers of MetaImage and NRRD tell and ITK passes over: units, and whether the voxels are all there.

ITK takes every number as millimetres, a voxel size that is missing as 1 mm, and what a short list of files leaves out
as whatever the memory held.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite, prod
from pathlib import Path
from typing import BinaryIO

from ctsr.errors import UserError

_MM = {
    **dict.fromkeys(("", "?", "unknown", "mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1.0),
    **dict.fromkeys(("um", "μm", "micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres"), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1e-6),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 10.0),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1000.0),
}
_OF_THE_BODY = re.compile(r"(left|right)-(anterior|posterior)-superior(-time)?|[lr][ap]st?", re.IGNORECASE)


@dataclass(frozen=True)
class Told:
    """What a header tells.

    Attributes:
        has_spacing: Whether it tells a voxel size.
        mm: Millimetres of a unit, along the three axes of the world.
        files: Where the voxels are, in parts of one size.
        plain: Whether they stand there as they are.
        offset: Byte of each file where they begin; None: counted from its end.
        compressed: Whether they are deflated; ITK does not notice all damage.
        big_endian: Whether the bytes of a number run from the largest.
        notes: What else should be known.
    """

    has_spacing: bool
    mm: tuple[float, float, float]
    files: Sequence[Path]
    plain: bool
    offset: int | None
    compressed: bool = False
    big_endian: bool = False
    notes: list[str] = field(default_factory=list)

    def check_size(self, header: Path, size: int) -> list[str]:
        """Make sure that the voxels are all there.

        Args:
            header: Whose they are.
            size: Bytes that they take.

        Returns:
            What should be known.

        Raises:
            UserError: A file is not there, or too short.
        """
        notes = list(self.notes)
        for file in self.files:
            if not file.is_file():
                raise UserError(f"{header} cannot be read: {file.name}, with its voxels, is not there")
            part = size // len(self.files)
            there = file.stat().st_size - (self.offset or 0)
            if self.plain and there < part:
                raise UserError(f"{header} cannot be read to its end: {file.name} has {max(0, there)} of {part} bytes")
            if self.plain and there > part and self.offset is not None:
                notes.append(f"{file.name} holds {there - part} bytes more than its header tells: the last are left")
        return notes


def metaimage_header(file: Path) -> Told:
    """What the header of a .mha or .mhd file tells.

    Raises:
        UserError: A field that is missing, a place that is none, a unit that is not known, greys that are to be scaled,
            or a list of files of another length.
    """
    with file.open("rb") as stream:
        fields: dict[str, str] = {}
        while "ElementDataFile" not in fields and (line := _line(stream)) is not None:
            key, _, value = line.partition("=")
            fields[key.strip()] = value.strip()
        offset = stream.tell()
        missing = [key for key in ("NDims", "DimSize", "ElementType", "ElementDataFile") if not fields.get(key)]
        if missing:
            raise UserError(f"{file} is not a readable MetaImage: its header has no {', '.join(missing)}")
        data = fields["ElementDataFile"]
        names = _names(data, stream)
    for key in ("Offset", "Origin", "Position"):  # ITK takes what is no number as 0
        if key in fields and _sizes(fields[key], zero=True) < _axes(fields["NDims"]):
            raise UserError(f"{file} has a place that cannot be, {key} = {fields[key]}: write its first voxel's, in mm")
    scaled = [
        float(fields.get(f"ElementToIntensityFunction{what}", plain)) for what, plain in (("Slope", 1), ("Offset", 0))
    ]
    if scaled != [1, 0]:
        raise UserError(f"{file} has greys that are to be scaled, which few programs do: write them as they should be")
    if data.upper() == "LOCAL":
        files = [file]
    else:
        offset = int(fields.get("HeaderSize", 0))
        files = [file.parent / name for name in names]
    sizes, in_a_file = [int(size) for size in fields["DimSize"].split()], re.fullmatch(r"LIST (\d+)", data)
    slices = prod(sizes[int(in_a_file[1]) if in_a_file else -1 :])
    if len(files) > 1 and len(files) != slices:
        raise UserError(f"{file} lists {len(files)} files for {slices} slices: is one missing?")
    compressed = _is_true(fields.get("CompressedData"))
    return Told(
        has_spacing=_sizes(fields.get("ElementSpacing", fields.get("ElementSize", ""))) >= _axes(fields.get("NDims")),
        mm=_mm(file, [fields.get("DistanceUnits", "")] * 3),
        files=files,
        plain=_is_true(fields.get("BinaryData", "True")) and not compressed,
        offset=offset if offset >= 0 else None,
        compressed=compressed,
        big_endian=_is_true(fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB"))),
    )


def nrrd_header(file: Path) -> Told:
    """What the header of a .nrrd or .nhdr file tells.

    Raises:
        UserError: A unit that is not known.
    """
    with file.open("rb") as stream:
        fields: dict[str, str] = {}
        names: list[str] = []
        while line := _line(stream):
            key, colon, value = line.partition(": ")
            if colon and not line.startswith("#"):
                fields[key.strip().lower().replace(" ", "")] = value.strip()
            if not names and "datafile" in fields:
                names = _names(fields["datafile"], stream)
        offset = stream.tell()
    spacings = fields.get("spacings", "").split()
    directions = re.findall(r"\(([^)]*)\)", fields.get("spacedirections", ""))
    sized = sum(_sizes(vector.replace(",", " "), zero=True) >= 3 for vector in directions) or _sizes(" ".join(spacings))
    units = _quoted(fields.get("spaceunits", ""))
    if not units:
        # One for each axis of the file, also for those that have no size.
        units = [unit for unit, size in zip(_quoted(fields.get("units", "")), spacings, strict=False) if _sizes(size)]
    space = fields.get("space", "")
    notes = []
    if space and not _OF_THE_BODY.fullmatch(space):
        notes.append(f"its space '{space}' has no directions of the body: taken as left-posterior-superior")
    encoding = fields.get("encoding", "").lower()
    skip, skips = int(fields.get("byteskip", 0)), bool({"byteskip", "lineskip"} & set(fields))
    return Told(
        has_spacing=sized >= _axes(fields.get("dimension")),
        mm=_mm(file, units or [""] * 3),
        files=[file.parent / name for name in names] or [file],
        plain=encoding == "raw" and "lineskip" not in fields,
        offset=None if skip < 0 else skip if names else skip + offset,
        compressed=encoding in ("gzip", "gz") and not skips and len(names) < 2,
        big_endian=fields.get("endian") == "big",
        notes=notes,
    )


def _line(stream: BinaryIO) -> str | None:
    """The next line of a header; None at the end."""
    line = stream.readline(1 << 16)
    if not line:
        return None
    try:
        return line.decode().strip()
    except UnicodeDecodeError:
        return line.decode("latin-1").strip()


def _axes(dimensions: str | None) -> int:
    """How many axes are of space."""
    return min(3, int(dimensions or 3))


def _is_true(text: str | None) -> bool:
    return (text or "")[:1] in ("T", "t", "1")


def _names(data: str, stream: BinaryIO) -> list[str]:
    """The files with the voxels: those on the lines that follow, those that a pattern stands for, or one.

    Args:
        data: "LIST" (a number may follow), such as "slice%03d.raw 1 60 1", or a name.
        stream: The header, after that line.
    """
    if data.startswith("LIST"):
        return [line for line in iter(lambda: _line(stream), None) if line]
    if not (found := re.fullmatch(r"(\S*%\d*d\S*) (\d+) (\d+) (\d+)", data)):
        return [data]
    first, last, step = (int(number) for number in found.groups()[1:])
    return [found[1] % number for number in range(first, last + 1, max(1, step))]


def _sizes(text: str, zero: bool = False) -> int:
    """How many usable numbers a text has, up to a part that is none; 0 is one for a direction, not for a voxel."""
    count = 0
    for part in text.split():
        try:
            number = float(part)
        except ValueError:
            break
        if not isfinite(number):
            continue
        if not (number or zero):
            break
        count += 1
    return count


def _quoted(text: str) -> list[str]:
    return re.findall(r'"([^"]*)"', text)


def _mm(file: Path, units: Sequence[str]) -> tuple[float, float, float]:
    unknown = [unit for unit in units if unit.strip().casefold() not in _MM]
    if unknown or len(units) < 3:
        raise UserError(f"{file} has sizes in '{', '.join(unknown or units)}', which is no unit of length: write mm")
    x, y, z = (_MM[unit.strip().casefold()] for unit in units[:3])
    return x, y, z
