"""OME-Zarr in a local folder (NGFF 0.4 on Zarr 2, NGFF 0.5 on Zarr 3): the resolution level that is wanted of it.

NGFF names axes but gives them no anatomical direction: as in TIFF, slices go up, rows to the back and columns to the
patient's left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ctsr.errors import UserError
from ctsr.imaging.slices import FileSpacing, axial_affine
from ctsr.imaging.volume import Array, Header, Volume

_MM = {"nanometer": 1e-6, "micrometer": 1e-3, "millimeter": 1.0, "centimeter": 10.0, "meter": 1000.0}
_SPACE = ("z", "y", "x")


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


def probe_ome_zarr(folder: Path, spacing: FileSpacing, level_mm: float | None) -> Header:
    """Shape and geometry of a level.

    Args:
        folder: With the group's metadata.
        spacing: Voxel size of the finest level in mm, for files whose axes have no unit; else ignored.
        level_mm: Wanted in-plane pixel size: the coarsest level that is at least as fine; None: the finest.

    Raises:
        UserError: No image of one channel and time with z, y and x, or no unit.
    """
    return _header(folder, _level(folder, spacing, level_mm))


def read_ome_zarr(folder: Path, spacing: FileSpacing, level_mm: float | None) -> Volume:
    """Read a level; arguments and errors as for `probe_ome_zarr`."""
    level = _level(folder, spacing, level_mm)
    chosen = tuple(slice(None) if axis in level.space else 0 for axis in range(level.array.ndim))
    array: Array = np.asarray(level.array[chosen])
    array = array.transpose(np.argsort(np.argsort(level.space)))
    array = np.ascontiguousarray(array, dtype=np.float32 if array.dtype.kind == "f" else None)
    return Volume(array, _header(folder, level).affine, slice_axis=0)


def _header(folder: Path, level: _Level) -> Header:
    affine = axial_affine(folder, level.spacing)
    affine[:3, 3] = np.array(level.first)[::-1] * (-1, -1, 1)
    return Header(level.shape, affine, "ome-zarr", slice_axis=0)


def _level(folder: Path, spacing: FileSpacing, level_mm: float | None) -> _Level:
    levels = _levels(folder, spacing)
    fine_enough = [level for level in levels if level_mm is not None and max(level.spacing[1:]) <= 1.001 * level_mm]
    order = sorted(fine_enough or levels, key=lambda level: max(level.spacing[1:]))
    return order[-1] if fine_enough else order[0]


def _levels(folder: Path, spacing: FileSpacing) -> list[_Level]:
    try:
        group = zarr.open_group(folder, mode="r")
        attributes: Mapping[str, Any] = dict(group.attrs)
        image = attributes.get("ome", attributes)["multiscales"][0]
        arrays: list[Any] = [group[entry["path"]] for entry in image["datasets"]]
    except (KeyError, IndexError, TypeError, ValueError, OSError) as error:
        raise UserError(f"{folder} is no OME-Zarr image: its metadata name no multiscales or no datasets") from error
    axes = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in image.get("axes", [])]
    names = [axis["name"] for axis in axes]
    if not set(_SPACE) <= set(names):
        raise UserError(f"{folder} has the axes {', '.join(names) or '(none)'}: give an image with z, y and x")
    space = tuple(names.index(name) for name in _SPACE)
    levels = []
    for entry, array in zip(image["datasets"], arrays, strict=True):
        for axis, (name, size) in enumerate(zip(names, array.shape, strict=True)):
            if axis not in space and size != 1:
                raise UserError(f"{folder} has {size} values along {name}: give an image with one")
        scale, first = _placed(len(names), entry, image)
        levels.append((array, scale, first))
    units = _units(folder, [axes[axis] for axis in space], spacing, [levels[0][1][axis] for axis in space])
    return [
        _Level(
            array,
            space,
            tuple(float(scale[axis] * unit) for axis, unit in zip(space, units, strict=True)),
            tuple(float(first[axis] * unit) for axis, unit in zip(space, units, strict=True)),
        )
        for array, scale, first in levels
    ]


def _placed(axes: int, *nodes: Mapping[str, Any]) -> tuple[Any, Any]:
    """Scale and translation of a dataset, and then of the whole image, in the units of the axes."""
    scale, first = np.ones(axes), np.zeros(axes)
    for node in nodes:
        for step in node.get("coordinateTransformations", []):
            if step["type"] == "scale":
                scale, first = scale * step["scale"], first * step["scale"]
            elif step["type"] == "translation":
                first = first + step["translation"]
    return scale, first


def _units(folder: Path, axes: list[Mapping[str, Any]], spacing: FileSpacing, finest: list[float]) -> tuple[float, ...]:
    """Millimetres of one unit along z, y and x."""
    named = [axis.get("unit") for axis in axes]
    if all(unit in _MM for unit in named):
        return tuple(_MM[str(unit)] for unit in named)
    if spacing is None:
        told = "no unit" if not any(named) else f"the units {', '.join(str(unit) for unit in named)}"
        raise UserError(f"{folder} has {told} along its axes: give file_spacing=<mm> of its finest level")
    sizes = np.broadcast_to(np.asarray(spacing, dtype=np.float64), 3)
    return tuple(float(size / scale) for size, scale in zip(sizes, finest, strict=True))
