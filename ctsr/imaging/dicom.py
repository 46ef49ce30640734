"""DICOM: the slices of a series, sorted along their normal and checked to be one whole volume.

They lie one a file, or many in one (multi-frame).
"""

from __future__ import annotations

from pathlib import Path

from ctsr.errors import UserError, warn
from ctsr.imaging.dicom_greys import read_greys
from ctsr.imaging.dicom_headers import Slice, slices_in
from ctsr.imaging.dicom_series import Series, choose, find_series, is_scout, patient_of
from ctsr.imaging.dicom_stack import UNKNOWN_THICKNESS, Stack, stack
from ctsr.imaging.formats import files_in, may_be_dicom
from ctsr.imaging.padding import mark_padding
from ctsr.imaging.volume import Header, Volume

__all__ = ["find_series", "is_scout", "patient_of", "probe_dicom", "read_dicom"]

_SHOWN = 3  # names in a message


def read_dicom(path: Path, series: str | None = None) -> Volume:
    """Read one series; padding is marked (tag, and below -1500 HU for CT). What is passed over or doubtful is told.

    Args:
        path: A folder, or one multi-frame file.
        series: Which of several: number, UID, description or part of it; None: the only one that is no scout.

    Raises:
        UserError: No series, several, a gap, a duplicate, slices that do not belong together, a damaged file, a header
            that makes no sense, or a compression that cannot be decoded.
    """
    found = find_series(path)
    chosen = choose(path, found, series)
    slices, affine = _stack(path, chosen)
    for told in (*_passed_over(path, found, chosen, series), *_doubts(path, slices)):
        warn(told)
    greys, padding = read_greys(path, slices)
    return mark_padding(Volume(greys, affine, slice_axis=0), padding)


def probe_dicom(path: Path, series: str | None = None) -> Header:
    """Shape and geometry of one series; arguments and errors as for `read_dicom`."""
    slices, affine = _stack(path, choose(path, find_series(path), series))
    return Header((len(slices), *slices[0].size), affine, "dicom", slice_axis=0)


def _passed_over(path: Path, found: list[Series], chosen: Series, series: str | None) -> list[str]:
    told = []
    others = [str(other) for other in found if other is not chosen]
    if others and series is None:
        told.append(f"{path}: read {chosen}, passed over {'; '.join(others)}")
    read = {header.file for one in found for header in one.headers}
    files = [file.name for file in files_in(path) if may_be_dicom(file) and file not in read] if path.is_dir() else []
    if files:
        names = ", ".join(files[:_SHOWN]) + (" ..." if len(files) > _SHOWN else "")
        told.append(f"{path}: {len(files)} files that are no DICOM images are passed over: {names}")
    return told


def _doubts(path: Path, slices: list[Slice]) -> list[str]:
    """Why greys may not be HU, or distances not mm."""
    told = []
    if slices[0].is_ct:
        if not slices[0].scale.told:
            told.append(f"{path}: slope or intercept is not told, greys are taken as stored and may not be HU")
        told += [
            f"{path}: greys are in {unit} by their header, not in HU"
            for unit in sorted({s.scale.unit for s in slices} - {"", "HU"})
        ]
    if len(slices) == 1 and slices[0].thickness is None:
        told.append(f"{path}: the thickness of its one slice is not told, {UNKNOWN_THICKNESS:g} mm is taken")
    return told


def _stack(path: Path, chosen: Series) -> Stack:
    if path.is_file() and chosen.slices == 1:
        raise UserError(f"{path} is one slice of a DICOM series: give the folder that holds the whole series")
    return stack(path, [s for header in chosen.headers for s in slices_in(header)])
