"""DICOM: the slices of a series, sorted along their normal and checked to be one whole volume.

They lie one a file, or many in one (multi-frame).
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from statistics import median

import numpy as np

from ctsr.errors import UserError, warn
from ctsr.imaging.formats.content import check_content
from ctsr.imaging.formats.dicom.greys import read_greys
from ctsr.imaging.formats.dicom.headers import Slice, slices_in
from ctsr.imaging.formats.dicom.series import Series, choose, find_series
from ctsr.imaging.formats.dicom.stack import UNKNOWN_THICKNESS, Stack, stack
from ctsr.imaging.formats.recognise import files_in, hollow_in, may_be_dicom
from ctsr.imaging.formats.slices import ending_like
from ctsr.imaging.formats.table import Reader
from ctsr.imaging.padding import mark_padding
from ctsr.imaging.storage import Allocate
from ctsr.imaging.volume import Header, Volume

_SHOWN = 3  # names in a message


class DicomReader(Reader):
    """One series of a folder, or of a multi-frame file: that of `Options.series`, or the only one that is no scout."""

    @cached_property
    def _series(self) -> list[Series]:
        found = find_series(self.path)
        if self.path.is_dir():
            files = [header.file for one in found for header in one.headers]
            check_content(ending_like(files, hollow_in(self.path)))
        return found

    @cached_property
    def _chosen(self) -> Series:
        return choose(self.path, self._series, self.options.series)

    @cached_property
    def _stack(self) -> Stack:
        if self.path.is_file() and self._chosen.slices == 1:
            raise UserError(f"{self.path} is one slice of a DICOM series: give the folder that holds the whole series")
        return stack(self.path, [s for header in self._chosen.headers for s in slices_in(header)])

    @cached_property
    def header(self) -> Header:
        """See `Reader.header`.

        Raises:
            UserError: No series, several, a gap, a duplicate, slices that do not belong together, or a header that is
                damaged or makes no sense.
        """
        slices, affine = self._stack
        shape = (len(slices), *slices[0].size)
        return Header(shape, affine, "dicom", slice_axis=0, thickness=_thickness(slices))

    def read(self, allocate: Allocate = np.empty) -> Volume:
        """See `Reader.read`. Padding is marked: by its tag, and below -1500 HU for CT."""
        header, slices = self.header, self._stack.slices
        for told in [*self._passed_over(), *_doubts(self.path, slices)]:
            warn(told)
        greys, padding = read_greys(self.path, slices, allocate)
        first = self._chosen.headers[0]
        volume = Volume(
            greys,
            header.affine,
            slice_axis=0,
            thickness=header.thickness,
            modality=first.text("Modality") or None,
            kernel=first.text("ConvolutionKernel") or None,
        )
        return mark_padding(volume, padding, in_place=True)

    def _passed_over(self) -> list[str]:
        path, told = self.path, []
        others = [str(other) for other in self._series if other is not self._chosen]
        if others and self.options.series is None:
            told.append(f"{path}: read {self._chosen}, passed over {'; '.join(others)}")
        if path.is_file():
            return told
        read = {header.file for one in self._series for header in one.headers}
        files = [file.name for file in files_in(path) if may_be_dicom(file) and file not in read]
        if files:
            names = ", ".join(files[:_SHOWN]) + (" ..." if len(files) > _SHOWN else "")
            told.append(f"{path}: {len(files)} files that are no DICOM images are passed over: {names}")
        return told


def _thickness(slices: list[Slice]) -> float | None:
    """Of a slice in mm, the median over those that tell; None: none does."""
    told = [s.thickness for s in slices if s.thickness is not None]
    return median(told) if told else None


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
