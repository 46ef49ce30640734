"""The grey image in a TIFF file: which of its pages are the volume, and the true greys in them.

tifffile reads them; what it lets pass, such as pages that are not there, is looked for here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from tifffile import COMPRESSION, PHOTOMETRIC, TiffFile, TiffPageSeries

from ctsr.errors import UserError, one_line, warn_once
from ctsr.imaging.formats.slices import one_grey, palette_greys, plain, reason, unreadable
from ctsr.imaging.storage import Allocate, NoRoomError, filled
from ctsr.imaging.volume import Array

_SLICES = "ZIQ"  # axes that may run over slices: named so, pages, and of an unknown name
_AXES = {"C": "channels", "T": "times"}
_CHANNELS = 7  # the most that ImageJ shows: what has more was given the wrong name
_STRAIGHT, _NO_FUNCTION = 0, 20  # of ImageJ's calibrations


@dataclass(frozen=True, eq=False)
class TiffImage:
    """The image of an open file, with what the file tells of it.

    Attributes:
        file: Its path.
        series: Its pages.
        shape: (y, x) of a slice, (z, y, x) of a volume.
        imagej: What ImageJ wrote of it; empty: it did not.
        ome: The element `Pixels` of its OME metadata; None: there is none.
    """

    file: Path
    series: TiffPageSeries
    shape: tuple[int, ...]
    imagej: dict[str, Any]
    ome: ElementTree.Element | None

    @property
    def page(self) -> Any:
        """The first page, with the tags that hold for all."""
        return self.series.keyframe

    @property
    def inverted(self) -> bool:
        """Whether its greys are stored as darkness."""
        return self.page.photometric == PHOTOMETRIC.MINISWHITE and "PhotometricInterpretation" in self.page.tags

    @property
    def slices(self) -> int | None:
        """How many slices the volume has, by the metadata of a file that may be one of several; None: not told."""
        named = 1 if self.ome is None else int(self.ome.get("SizeZ") or 1)
        return named if named > 1 else None

    def check_first(self) -> None:
        """Make sure, by its first page, that an image is in greys and its compression can be undone.

        Raises:
            UserError: It is coloured, or cannot be read.
        """
        simple = self.page.compression == COMPRESSION.NONE and self.page.bitspersample % 8 == 0
        if not simple or self.page.samplesperpixel > 1 or self.page.photometric == PHOTOMETRIC.PALETTE:
            self._one_value(np.asarray(self.page.asarray()))

    def greys(self, allocate: Allocate = np.empty) -> Array:
        """Its greys, brighter where it is denser: as stored, or from what a palette or a calibration makes of them.

        Args:
            allocate: Makes their array.

        Returns:
            Whole numbers in their own type, all others as float32.

        Raises:
            UserError: It is coloured, or of numbers that are no greys.
        """
        calibrated = self._calibration()
        parts = (plain(calibrated(part)) for part in self._parts())
        return filled(1 if len(self.shape) == 2 else self.shape[0], parts, allocate).reshape(self.shape)

    def _parts(self) -> Iterator[Array]:
        """What is stored, as (n, y, x), brighter where it is denser: page by page, where they are many."""
        for part in self._stored():
            yield self._upright(self._one_value(part).reshape(-1, *self.shape[-2:]))

    def _stored(self) -> Iterator[Array]:
        series, many = self.series, len(self.shape) == 3 and self.page.samplesperpixel == 1
        offset = series.dataoffset
        if many and offset is not None:  # also where one page stands for all of them
            file, pixels = self.page.parent.filehandle, self.shape[1] * self.shape[2]
            kind = np.dtype(self.page.parent.byteorder + series.dtype.char)
            for k in range(self.shape[0]):
                yield file.read_array(kind, pixels, offset + k * pixels * kind.itemsize)
        elif many and len(series.pages) == self.shape[0]:
            for k in range(self.shape[0]):
                yield series.asarray(key=k)
        else:  # an alpha channel, say, must be the same in all
            yield series.asarray()

    def _one_value(self, stored: Array) -> Array:
        if self.page.samplesperpixel > 1:
            colours = 3 if self.page.photometric in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR) else 1
            return one_grey(self.file, stored, colours)
        if self.page.photometric == PHOTOMETRIC.PALETTE:
            colours = self.page.colormap.T  # of 16 bits, in which some programs keep 8
            return palette_greys(self.file, stored, (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8))
        return stored

    def _upright(self, greys: Array) -> Array:
        if greys.dtype.kind == "c":
            raise UserError(f"{self.file} holds complex numbers: save its greys")
        if not self.inverted:
            return greys
        if greys.dtype.kind == "f":
            raise UserError(f"{self.file} stores darkness (WhiteIsZero) in numbers without a range: save its greys")
        if greys.dtype.kind != "u":
            return ~greys  # from -1 down, or the other of two
        brightest: int = 2**self.page.bitspersample - 1
        return np.asarray(brightest - greys.astype(np.uint64), dtype=greys.dtype)

    def _calibration(self) -> Callable[[Array], Array]:
        """ImageJ keeps 16 bit numbers with a sign as such without one, and a straight line from these to the greys."""
        function = self.imagej.get("cf", _NO_FUNCTION)
        if function == _NO_FUNCTION:
            return lambda greys: greys
        if function != _STRAIGHT or not {"c0", "c1"} <= set(self.imagej):
            raise UserError(f"{self.file} holds greys that ImageJ calibrates by a curve: save the greys themselves")
        offset, slope = float(self.imagej["c0"]), float(self.imagej["c1"])
        if self.series.dtype.kind in "iu" and slope == 1 and offset.is_integer():
            whole = [np.int64(grey) + int(offset) for part in self._parts() for grey in (part.min(), part.max())]
            kind = np.result_type(np.int16, np.min_scalar_type(min(whole)), np.min_scalar_type(max(whole)))
            return lambda greys: (greys.astype(np.int64) + int(offset)).astype(kind)
        return lambda greys: (offset + slope * greys.astype(np.float64)).astype(np.float32)


@contextmanager
def opened_tiff(file: Path) -> Iterator[TiffImage]:
    """The image in a file; errors of the library become one line, whatever is damaged.

    Raises:
        UserError: Not a TIFF, cut off, in colours, or not one slice or one volume.
    """
    complaints: list[str] = []
    try:
        with listening(complaints), TiffFile(file, is_ome=False) as tiff:  # OME would read the files it names, too
            yield _image(file, tiff)
    except (UserError, NoRoomError):
        raise
    except Exception as error:  # of any kind: they are the library's, about a damaged file
        if isinstance(error, ImportError) or "imagecodecs" in str(error):
            way = "pip install imagecodecs, or save it without compression"
            raise UserError(f"{file} cannot be read, {reason(error)}: {way}") from error
        raise unreadable(file, "is not a readable TIFF", error) from error
    if complaints:
        warn_once(f"{file}: {complaints[0]}")


@contextmanager
def listening(complaints: list[str]) -> Iterator[None]:
    """Collects what tifffile would log, one line each."""
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: complaints.append(one_line(record.getMessage()))  # type: ignore[method-assign]
    logger = logging.getLogger("tifffile")
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def _image(file: Path, tiff: TiffFile) -> TiffImage:
    _check_chain(file, tiff)
    series = _volume_of(file, list(tiff.series))
    page = series.keyframe
    _check_whole(file, tiff, series)
    grey = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.PALETTE)
    if page.photometric not in (*grey, PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR) or page.samplesperpixel > 4:
        raise UserError(f"{file} is a colour image: save it in greys")
    if page.samplesperpixel > 1 and page.planarconfig != 1:
        raise UserError(f"{file} is a colour image, or its slices are not pages: save greys, a page for each slice")
    meta = dict(tiff.imagej_metadata or {})
    return TiffImage(file, series, _shape(file, tiff, series), meta, _ome(file, tiff, series))


def _volume_of(file: Path, found: list[TiffPageSeries]) -> TiffPageSeries:
    """Of the groups of like pages the one that is the volume; a page before or after it may be a preview."""
    full = [series for series in found if not (series.keyframe.is_reduced or series.keyframe.is_subifd)] or found
    volumes = full if len(full) == 1 else [series for series in full if _count(series) > 1]
    others = [series for series in full if series not in volumes]
    if len(volumes) != 1 or any(_inside(series, volumes[0]) for series in others):
        unlike = min((series for series in full if series is not max(full, key=_count)), key=_count)
        raise UserError(
            f"{file} holds {len(full)} images of different kinds; page {_place(unlike)} has {unlike.keyframe.shape} "
            f"{unlike.keyframe.dtype}, others not: save the volume alone"
        )
    if others:
        pages = ", ".join(f"{_place(series)}" for series in others)
        warn_once(f"{file}: passed over, unlike the other {_count(volumes[0])} pages: page {pages}")
    return volumes[0]


def _count(series: TiffPageSeries) -> int:
    """How many images a series holds."""
    return int(series.size // max(1, series.keyframe.size))


def _place(series: TiffPageSeries) -> int:
    return 1 + int(series.keyframe.index)


def _inside(series: TiffPageSeries, volume: TiffPageSeries) -> bool:
    places = [page.index for page in volume.pages if page is not None]
    return bool(min(places) + 1 < _place(series) <= max(places))


def _shape(file: Path, tiff: TiffFile, series: TiffPageSeries) -> tuple[int, ...]:
    """Of its axes those of a slice or a volume."""
    sizes = [(axis, int(n)) for axis, n in zip(series.axes, series.shape, strict=True) if axis not in "YXS" and n > 1]
    named = [f"{n} {_AXES.get(axis, f'values along {axis}')}" for axis, n in sizes if axis not in _SLICES]
    if len(sizes) == 1 and sizes[0][0] == "C" and sizes[0][1] > _CHANNELS and tiff.is_imagej:
        warn_once(f"{file}: its {sizes[0][1]} pages are called channels; they are taken as slices")
    elif named or len(sizes) > 1:
        what = " and ".join(named) or f"several volumes, {' x '.join(str(n) for _, n in sizes)} slices"
        raise UserError(f"{file} holds {what}: save one volume, its pages named slices (z)")
    return (*(n for _, n in sizes), int(series.keyframe.imagelength), int(series.keyframe.imagewidth))


def _check_chain(file: Path, tiff: TiffFile) -> None:
    """Pages are a chain, each naming the place of the next: it must not lead to where no page is."""
    tiff.filehandle.seek(tiff.pages.next_page_offset or 0)
    place = tiff.filehandle.read(tiff.tiff.offsetsize)
    following = int.from_bytes(place, "little" if tiff.byteorder == "<" else "big")
    if following and all(following != page.offset for page in tiff.pages):
        raise UserError(f"{file} is cut off after page {len(tiff.pages)}: copy it anew")


def _check_whole(file: Path, tiff: TiffFile, series: TiffPageSeries) -> None:
    """All bytes of all pages must be there."""
    if tiff.is_imagej and (series.kind != "imagej" or (tiff.imagej_metadata or {}).get("images", 1) > _count(series)):
        raise UserError(f"{file} holds fewer pages than ImageJ says it wrote: copy it anew")
    size = tiff.filehandle.size
    if series.dataoffset is not None:
        if series.dataoffset + series.nbytes > size:
            raise UserError(f"{file} is cut off: copy it anew")
        return
    for page in (page for page in series.pages if page is not None):
        lengths, offsets = page.databytecounts, page.dataoffsets
        ends = [offset + length for offset, length in zip(offsets, lengths, strict=True)]
        if len(ends) < np.prod(page.chunked) or not all(lengths) or max(ends) > size:
            raise UserError(f"{file} is cut off, or was never written to its end: page {1 + page.index} is not whole")


def _ome(file: Path, tiff: TiffFile, series: TiffPageSeries) -> ElementTree.Element | None:
    """The OME metadata of the image, after making sure that its pages are slices."""
    description = tiff.pages.first.description
    if "<OME" not in description[:1000] and "openmicroscopy" not in description[:1000]:
        return None
    try:
        root = ElementTree.fromstring(description)
    except ElementTree.ParseError:
        warn_once(f"{file}: its OME metadata cannot be read")
        return None
    size = (str(series.keyframe.imagewidth), str(series.keyframe.imagelength))
    images = [one for one in root.iterfind(".//{*}Pixels") if (one.get("SizeX"), one.get("SizeY")) == size]
    if len(images) > 1:
        raise UserError(f"{file} holds {len(images)} images: save one of them alone")
    for image in images:
        for axis, name in _AXES.items():
            values = int(image.get(f"Size{axis}") or 1)
            if values not in (1, series.keyframe.samplesperpixel):
                raise UserError(f"{file} holds {values} {name}: save one volume")
        return image
    return None
