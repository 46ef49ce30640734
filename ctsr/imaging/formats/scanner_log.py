"""The logs that micro-CT scanners leave beside their slices, and the voxel size in them.

SkyScan and NRecon (.log), Nikon (.xtekct) and GE phoenix (.pca): lines of key=value.
"""

from __future__ import annotations

import re
from pathlib import Path

from ctsr.imaging.formats.recognise import files_in
from ctsr.imaging.formats.voxel_size import Told, mm_of_unit, plausible

_ENDINGS = (".log", ".xtekct", ".pca")
_LONGEST = 1_000_000  # bytes: more is no scanner's log
_PIXEL = re.compile(r"^\s*Pixel Size\s*\((\S+)\)\s*=(.*)$", re.MULTILINE)
_SCANNED_PIXEL = re.compile(r"^\s*Image Pixel Size\s*\((\S+)\)\s*=(.*)$", re.MULTILINE)
_STEP = "Section to Section Step"
_VOXEL = "VoxelSize{}"


def told_by_logs(folder: Path, step: int | None) -> list[Told]:
    """The voxel sizes in the logs of a folder; none where there is no log that tells.

    Args:
        folder: Of slices.
        step: What the numbers in the slices' names go up by: slices that were left out make the others lie further
            apart. The log of NRecon tells which it left out itself.
    """
    logs = [file for file in files_in(folder) if file.suffix.lower() in _ENDINGS and file.stat().st_size <= _LONGEST]
    texts = {file: file.read_text("latin-1").replace("Â", "") for file in logs}  # so that µ in UTF-8 is µ, too
    # A scan's own log may lie beside that of its reconstruction, whose pixels may be larger.
    lines = {file: _PIXEL.search(text) for file, text in texts.items()}
    if not any(lines.values()):
        lines = {file: _SCANNED_PIXEL.search(text) for file, text in texts.items()}
    counted = step or 1
    sizes = [_skyscan(file, line, _value(texts[file], _STEP), counted) for file, line in lines.items() if line]
    sizes += [_voxel_sizes(file, text, counted) for file, text in texts.items()]
    return [told for told in sizes if told is not None]


def _skyscan(file: Path, line: re.Match[str], every: float | None, counted: int) -> Told | None:
    unit, number = mm_of_unit(line[1]), _number(line[2])
    size = plausible(number * unit) if number is not None and unit is not None else None
    if size is None:
        return None
    every = every or 1
    agree = every == counted or 1 in (every, counted)  # else who left out what cannot be known
    return Told(file.name, (plausible(size * max(every, counted)) if agree else None, size, size))


def _voxel_sizes(file: Path, text: str, counted: int) -> Told | None:
    """Millimetres; phoenix names no z, for its voxels are cubes."""
    x, y, z = (plausible(_value(text, _VOXEL.format(axis))) for axis in "XYZ")
    return None if x is None else Told(file.name, (plausible((z or x) * counted), y or x, x))


def _value(text: str, key: str) -> float | None:
    found = re.search(rf"^\s*{re.escape(key)}\s*=(.*)$", text, re.MULTILINE)
    return _number(found[1]) if found else None


def _number(text: str) -> float | None:
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        return None
