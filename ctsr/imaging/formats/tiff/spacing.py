"""What a TIFF file tells of its voxel size: ImageJ's and OME's metadata, and the resolution for printers."""

from __future__ import annotations

import math
from typing import Any

from tifffile import RESUNIT

from ctsr.imaging.formats.tiff.pages import TiffImage
from ctsr.imaging.formats.voxel_size import SAME, Told, mm_of_unit, plausible

# Pixels an inch that programs write where they know no better.
_PRINTERS = (1, 72, 75, 96, 100, 120, 150, 200, 250, 300, 400, 600, 1200)


def told_by_tiff(image: TiffImage) -> list[Told]:
    """The voxel sizes that a file tells, none or one."""
    told = _ome(image) or _imagej(image) or _resolution(image)
    return [] if told is None else [told]


def _ome(image: TiffImage) -> Told | None:
    if image.ome is None:
        return None
    z, y, x = (
        _size(image.ome.get(f"PhysicalSize{axis}"), image.ome.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "ZYX"
    )
    return None if x is None else Told("its OME metadata", (z, y, x))


def _imagej(image: TiffImage) -> Told | None:
    """A size of 1 may be one, or never have been set, so that it tells nothing; ImageJ leaves out such a distance."""
    unit = image.imagej.get("unit")
    y, x = (_pixels_a_unit(image, axis) for axis in "YX")
    if y is None or x is None or x == y == 1 or _of_a_printer(x, mm_of_unit(_unescaped(unit))):
        return None
    z = _size(image.imagej.get("spacing"), image.imagej.get("zunit", unit))
    sizes = z, _size(1 / y, image.imagej.get("yunit", unit)), _size(1 / x, unit)
    return None if sizes[2] is None else Told("its ImageJ metadata", sizes)


def _resolution(image: TiffImage) -> Told | None:
    """Pixels an inch or a centimetre: of a scanner, or made up by the program that saved it."""
    tag = image.page.tags.get("ResolutionUnit")
    unit = {RESUNIT.INCH: 25.4, RESUNIT.CENTIMETER: 10.0}.get(RESUNIT.INCH if tag is None else tag.value)
    y, x = (_pixels_a_unit(image, axis) for axis in "YX")
    if unit is None or y is None or x is None or _of_a_printer(x, unit):
        return None
    sizes = plausible(unit / y), plausible(unit / x)
    return None if None in sizes else Told("its resolution for printers", (None, *sizes), sure=False)


def _of_a_printer(pixels: float, mm: float | None) -> bool:
    """Whether so many pixels an inch or a centimetre are what programs write where they know no better."""
    if mm not in (10.0, 25.4):
        return False
    return any(math.isclose(pixels * 25.4 / mm, usual, rel_tol=SAME) for usual in _PRINTERS)


def _pixels_a_unit(image: TiffImage, axis: str) -> float | None:
    tag = image.page.tags.get(f"{axis}Resolution")
    if tag is None:
        return None
    pixels, units = tag.value
    return pixels / units if pixels and units else None


def _size(number: Any, unit: object) -> float | None:
    mm = mm_of_unit(_unescaped(unit))
    try:
        return None if number is None or mm is None else plausible(abs(float(number)) * mm)
    except ValueError:
        return None


def _unescaped(unit: object) -> str:
    """ImageJ writes µ as an escape."""
    return str(unit).replace("\\u00B5", "µ").replace("\\u00b5", "µ")
