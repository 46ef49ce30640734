"""DICOM: the slices of a series, sorted along their normal and checked to be one whole volume.

They lie one a file, or many in one (multi-frame).
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

from ctsr.errors import UserError, warn
from ctsr.imaging.formats.content import check_content
from ctsr.imaging.formats.dicom.greys import read_greys
from ctsr.imaging.formats.dicom.headers import Slice, slices_in
from ctsr.imaging.formats.dicom.series import Series, choose, find_series, is_scout, patient_of
from ctsr.imaging.formats.dicom.stack import UNKNOWN_THICKNESS, Stack, stack
from ctsr.imaging.formats.recognise import files_in, hollow_in, may_be_dicom
from ctsr.imaging.formats.slices import ending_like
from ctsr.imaging.padding import mark_padding
from ctsr.imaging.volume import Header, Volume

__all__ = ["DicomScan", "find_series", "is_scout", "patient_of"]

_SHOWN = 3  # names in a message


class DicomScan:
    """One series of a file or folder, whose headers are read once."""

    def __init__(self, path: Path, series: str | None = None) -> None:
        """Find the series.

        Args:
            path: A folder, or one multi-frame file.
            series: Which of several: number, UID, description or part of it; None: the only one that is no scout.

        Raises:
            UserError: No series, several, a gap, a duplicate, slices that do not belong together, or a header that is
                damaged or makes no sense.
        """
        self._path = path
        found = find_series(path)
        if path.is_dir():
            check_content(ending_like([header.file for one in found for header in one.headers], hollow_in(path)))
        chosen = choose(path, found, series)
        self._modality = chosen.headers[0].text("Modality") or None
        self._slices, self._affine = _stack(path, chosen)
        self._told = [*_passed_over(path, found, chosen, series), *_doubts(path, self._slices)]

    def probe(self) -> Header:
        """Shape and geometry."""
        shape = (len(self._slices), *self._slices[0].size)
        return Header(shape, self._affine, "dicom", slice_axis=0, thickness=_thickness(self._slices))

    def read(self) -> Volume:
        """Its voxels; padding is marked (tag, and below -1500 HU for CT). What is passed over or doubtful is told.

        Raises:
            UserError: A damaged file, or a compression that cannot be decoded.
        """
        for told in self._told:
            warn(told)
        greys, padding = read_greys(self._path, self._slices)
        thickness = _thickness(self._slices)
        volume = Volume(greys, self._affine, slice_axis=0, thickness=thickness, modality=self._modality)
        return mark_padding(volume, padding)


def _thickness(slices: list[Slice]) -> float | None:
    """Of a slice in mm, the median over those that tell; None: none does."""
    told = [s.thickness for s in slices if s.thickness is not None]
    return median(told) if told else None


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
