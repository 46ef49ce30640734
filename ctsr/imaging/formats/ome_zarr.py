"""OME-Zarr in a local folder (NGFF 0.4 on Zarr 2, NGFF 0.5 on Zarr 3): the resolution level that is wanted of it.

The image may lie one group down, as bioformats2raw has it. NGFF names axes but gives them no anatomical direction: as
in TIFF, slices go up, rows to the back and columns to the patient's left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from os.path import lexists
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from ctsr.errors import UserError, warn_once
from ctsr.imaging.formats.content import check_content
from ctsr.imaging.formats.recognise import ZARR_MARKS, entries
from ctsr.imaging.formats.slices import plain, reason, shortened
from ctsr.imaging.formats.table import Reader
from ctsr.imaging.formats.voxel_size import GIVE, FileSpacing, Told, axial_affine, mm_of_unit, plausible, voxel_size
from ctsr.imaging.storage import Allocate
from ctsr.imaging.volume import Array, Header, Volume

Vector = npt.NDArray[np.float64]

_SPACE = ("z", "y", "x")
_BARE = "{} is a bare Zarr array, which does not tell its axes and voxel size: write it as OME-Zarr"


@dataclass(frozen=True, eq=False)
class _Level:
    """One resolution: the array, which of its axes are z, y and x, and where its voxels are, in mm."""

    array: Any
    space: tuple[int, ...]
    spacing: tuple[float, ...]
    first: tuple[float, ...]  # centre of the first voxel

    @property
    def shape(self) -> tuple[int, int, int]:
        z, y, x = (int(self.array.shape[axis]) for axis in self.space)
        return z, y, x

    def blocks(self) -> Iterator[tuple[tuple[slice, slice], Array]]:
        """All voxels, as places along z and y and what is there: a row of chunks at a time."""
        depth, height, _ = (int(self.array.chunks[axis]) for axis in self.space)
        z, y, _ = self.shape
        for rows in product(_parts(z, depth), _parts(y, height)):
            chosen = dict(zip(self.space, (*rows, slice(None)), strict=True))
            block: Array = np.asarray(self.array[tuple(chosen.get(axis, 0) for axis in range(self.array.ndim))])
            yield rows, block.transpose(np.argsort(np.argsort(self.space)))


def _parts(length: int, step: int) -> Iterator[slice]:
    return (slice(start, start + step) for start in range(0, length, step))


class OmeZarrReader(Reader):
    """A folder with an OME-Zarr group; `Options.spacing` is the voxel size of its finest level."""

    @cached_property
    def _found(self) -> _Level:
        return _level(self.path, self.options.spacing, self.options.level_mm)

    @cached_property
    def header(self) -> Header:
        """See `Reader.header`: not one image of one channel and time with z, y and x, or no voxel size are errors."""
        z, y, x = self._found.spacing
        affine = axial_affine((z, y, x))
        affine[:3, 3] = np.array(self._found.first)[::-1] * (-1, -1, 1)
        return Header(self._found.shape, affine, "ome-zarr", slice_axis=0)

    def read(self, allocate: Allocate = np.empty) -> Volume:
        """See `Reader.read`."""
        level, folder = self._found, self.path
        _check_chunks(folder, level.array)
        if level.array.dtype.kind not in "iufb":
            raise UserError(f"{folder} holds {level.array.dtype}: save its greys")
        array = allocate(level.shape, plain(np.empty(0, level.array.dtype)).dtype)
        try:
            for rows, block in level.blocks():
                array[rows] = block
        except Exception as error:  # of any kind: they are the library's and its codecs', about a damaged file
            raise UserError(f"{folder} cannot be read, {level.array.path or 'its array'}: {reason(error)}") from error
        return Volume(array, self.header.affine, slice_axis=0)


def _level(folder: Path, spacing: FileSpacing, level_mm: float | None) -> _Level:
    levels = _levels(folder, spacing)
    fine_enough = [level for level in levels if level_mm is not None and max(level.spacing[1:]) <= 1.001 * level_mm]
    order = sorted(fine_enough or levels, key=lambda level: max(level.spacing[1:]))
    return order[-1] if fine_enough else order[0]


def _levels(folder: Path, spacing: FileSpacing) -> list[_Level]:
    check_content(
        [file for place in (folder, *entries(folder)) for file in map(place.joinpath, ZARR_MARKS) if lexists(file)]
    )
    try:
        group, image = _image(folder)
        arrays: list[Any] = [group[entry["path"]] for entry in image["datasets"]]
        axes = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in image.get("axes", [])]
        names = [axis["name"] for axis in axes]
        placed = [_placed(len(names), entry, image) for entry in image["datasets"]]
        shapes = [tuple(zip(names, array.shape, strict=True)) for array in arrays]
    except (KeyError, IndexError, TypeError, ValueError, OSError) as error:
        raise UserError(f"{folder} is no OME-Zarr image, its metadata are not those of one: {reason(error)}") from error
    if not set(_SPACE) <= set(names):
        raise UserError(f"{folder} has the axes {', '.join(names) or '(none)'}: give an image with z, y and x")
    space = [names.index(name) for name in _SPACE]
    for name, size in (pair for shape in shapes for pair in shape):
        if name not in _SPACE and size != 1:
            raise UserError(f"{folder} has {size} values along {name}: give an image with one")
    if not any(scaled for *_, scaled in placed):  # how much coarser the other levels are is not told either
        return [_Level(arrays[0], tuple(space), voxel_size(folder, spacing), (0.0, 0.0, 0.0))]
    scales = [scale[space] for scale, *_ in placed]
    if not all(scaled for *_, scaled in placed) or not (np.isfinite(scales) & (np.array(scales) > 0)).all():
        raise UserError(f"{folder} has a scale that is no voxel size, {scales}: correct its coordinateTransformations")
    units = _millimetres(folder, [axes[axis].get("unit") for axis in space], scales[0], spacing)
    return [
        _Level(array, tuple(space), tuple(scale * units), tuple(first[space] * units))
        for array, scale, (_, first, _) in zip(arrays, scales, placed, strict=True)
    ]


def _image(folder: Path) -> tuple[Any, Mapping[str, Any]]:
    """The group of the image, and what it says of it.

    Raises:
        UserError: A plate, a bare array, or several images.
    """
    try:
        group = zarr.open_group(folder, mode="r")
    except zarr.errors.ContainsArrayError as error:
        raise UserError(_BARE.format(folder)) from error
    except zarr.errors.GroupNotFoundError as error:
        if (folder / ".zarray").exists():
            raise UserError(_BARE.format(folder)) from error
        raise
    attributes = _attributes(group)
    if {"plate", "well"} & set(attributes):
        raise UserError(f"{folder} is a plate of many images: give one of them")
    if "multiscales" in attributes:
        return group, attributes["multiscales"][0]
    below = {name: (sub, _attributes(sub)) for name, sub in sorted(group.groups())}
    images = {name: (sub, meta["multiscales"][0]) for name, (sub, meta) in below.items() if "multiscales" in meta}
    if len(images) > 1:
        listed = shortened([str(folder / name) for name in images])
        raise UserError(f"{folder} holds {len(images)} images: give one of {listed}")
    if not images:
        raise UserError(f"{folder} is no OME-Zarr image: its metadata name no multiscales or no datasets")
    (found,) = images.values()
    return found


def _attributes(group: Any) -> Mapping[str, Any]:
    attributes: Mapping[str, Any] = dict(group.attrs)
    inner = attributes.get("ome", attributes)  # NGFF 0.5
    return inner if isinstance(inner, Mapping) else attributes


def _placed(axes: int, *nodes: Mapping[str, Any]) -> tuple[Vector, Vector, bool]:
    """Scale and translation of a dataset, and then of the whole image, in the units of the axes; whether it has any."""
    scale, first, scaled = np.ones(axes), np.zeros(axes), False
    for node in nodes:
        for step in node.get("coordinateTransformations", []):
            if step["type"] == "scale":
                factor = np.array(step["scale"], dtype=np.float64).reshape(axes)
                with np.errstate(invalid="ignore"):  # an infinite one is refused later, with all others
                    scale, first, scaled = scale * factor, first * factor, True
            elif step["type"] == "translation":
                first = first + np.array(step["translation"], dtype=np.float64).reshape(axes)
    return scale, first, scaled


def _millimetres(folder: Path, units: Sequence[Any], finest: Vector, spacing: FileSpacing) -> Vector:
    """Millimetres of one unit along z, y and x."""
    known = [mm_of_unit(unit) for unit in units]
    if None in known and spacing is None:
        named = f"the units {', '.join(map(str, units))}" if any(units) else "no unit"
        raise UserError(f"{folder} has {named} along its axes: {GIVE}")
    z, y, x = (unit and plausible(unit * scale) for unit, scale in zip(known, finest, strict=True))
    told = [] if None in known else [Told("its OME metadata", (z, y, x))]
    return np.array(voxel_size(folder, spacing, told)) / finest


def _check_chunks(folder: Path, array: Any) -> None:
    """A chunk that is not there reads as the fill value: right where a writer leaves out empty ones, else a loss."""
    level = folder / array.path
    chunks = [file for file in level.rglob("[!.]*") if not file.is_dir()]
    check_content(sorted(chunks))  # else they, too, would read as the fill value
    there = array.nchunks_initialized
    if not there:
        raise UserError(f"{level} holds no data: copy it anew")
    if there < array.nchunks:
        warn_once(f"{level}: {array.nchunks - there} of {array.nchunks} chunks are not there, taken as empty")
    if array.shards is None and any("blosc" in type(codec).__name__.lower() for codec in array.compressors):
        for chunk in (file for file in chunks if file.name not in ZARR_MARKS):
            with chunk.open("rb") as file:
                size = int.from_bytes(file.read(16)[12:], "little")
            if size > chunk.stat().st_size:  # which Blosc does not notice: it reads on in what memory holds there
                raise UserError(f"{chunk} is cut off: copy it anew")
