"""The logs that micro-CT scanners leave beside their slices, and the voxel size in them.

SkyScan and NRecon (.log), Nikon (.xtekct) and GE phoenix (.pca): lines of key=value.
"""

from __future__ import annotations

import re
from pathlib import Path

from ctsr.errors import UserError
from ctsr.imaging.formats import files_in
from ctsr.imaging.voxel_size import GIVE, Told, mm_of_unit, plausible

_ENDINGS = (".log", ".xtekct", ".pca")
_LONGEST = 1_000_000  # bytes: more is no scanner's log
_STEP = "Section to Section Step"
_VOXEL = "VoxelSize{}"


def told_by_logs(folder: Path, step: int | None) -> list[Told]:
    """The voxel sizes in the logs of a folder; none where there is no log that tells.

    Args:
        folder: Of slices.
        step: What the numbers in the slices' names go up by: NRecon counts detector rows, so that slices which were
            left out make the others lie further apart.

    Raises:
        UserError: The log leaves out other slices than the names do.
    """
    logs = [file for file in files_in(folder) if file.suffix.lower() in _ENDINGS and file.stat().st_size <= _LONGEST]
    texts = {file: file.read_text("latin-1").replace("Â", "") for file in logs}  # so that µ in UTF-8 is µ, too
    # A scan's own log may lie beside that of its reconstruction, whose pixels may be larger.
    reconstructed = [_skyscan(file, text, "", step) for file, text in texts.items()]
    scanned = [_skyscan(file, text, "Image ", step) for file, text in texts.items()]
    told = [one for one in reconstructed if one] or [one for one in scanned if one]
    return [*told, *(one for one in map(_voxel_sizes, texts, texts.values()) if one)]


def _skyscan(file: Path, text: str, before: str, step: int | None) -> Told | None:
    found = re.search(rf"^\s*{before}Pixel Size\s*\((\S+)\)\s*=\s*(.+)$", text, re.MULTILINE)
    unit = mm_of_unit(found[1]) if found else None
    size = _number(found[2]) if found else None
    if size is None or unit is None or plausible(size * unit) is None:
        return None
    every = int(_value(text, _STEP) or 1)
    counted = step or 1
    if every != counted and 1 not in (every, counted):
        raise UserError(f"{file} takes every {every}th slice, the names of the slices count by {counted}: {GIVE}")
    return Told(file.name, (plausible(size * unit * max(every, counted)), size * unit, size * unit))


def _voxel_sizes(file: Path, text: str) -> Told | None:
    """Millimetres; phoenix names no z, for its voxels are cubes."""
    x, y, z = (plausible(_value(text, _VOXEL.format(axis))) for axis in "XYZ")
    return None if x is None else Told(file.name, (z or x, y or x, x))


def _value(text: str, key: str) -> float | None:
    found = re.search(rf"^\s*{re.escape(key)}\s*=\s*(.+)$", text, re.MULTILINE)
    return _number(found[1]) if found else None


def _number(text: str) -> float | None:
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        return None
