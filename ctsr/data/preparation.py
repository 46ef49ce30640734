"""From a scan on disk to what networks see: dictionary transforms around the functions of `ctsr.imaging`.

They hand on `path` -> `volume` (in scanner greys) -> `mask`, `window` -> `image` and `slab` (in [-1, 1]). A user's mask
goes the scan's way beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from monai.transforms import Compose, MapTransform

from ctsr.data.masks import read_masks
from ctsr.data.settings import ClinicalSettings, MicroSettings, Settings
from ctsr.errors import warn
from ctsr.imaging.formats import format_of
from ctsr.imaging.hounsfield import not_hu
from ctsr.imaging.intensity import Window, robust_window
from ctsr.imaging.lung import lung_mask
from ctsr.imaging.orientation import canonical, find_orientation
from ctsr.imaging.readers import read_volume
from ctsr.imaging.resample import Plane, resample_plane, resampled_affine, resampled_shape
from ctsr.imaging.specimen import check_greys, specimen_mask
from ctsr.imaging.volume import Array, Header, Spacing, Volume, spacing_of
from ctsr.imaging.voxel_hash import voxel_hash

Data = dict[str, Any]


def preparation(settings: Settings) -> Compose:
    """All of it for one case: {"path", "masks"} -> {"volume", "greys", "mask", "window", "image", "slab"}."""
    return Compose([step(settings) for step in (ReadVolumed, Canonicald, Resampled, Maskd, Normalised)])


def prepared_plane(header: Header, settings: Settings) -> tuple[int, int]:
    """In-plane size (y, x) that a scan will have once prepared."""
    plane = canonical_spacing(header)[1:]
    shape = find_orientation(header.affine, header.slice_axis).apply_shape(header.shape)
    height, width = resampled_shape(shape[1:], plane, _target(plane, settings))
    return height - height % settings.multiple, width - width % settings.multiple


def prepared_spacing(header: Header, settings: Settings) -> Spacing:
    """Voxel size (z, y, x) in mm that a scan will have once prepared."""
    slices, *plane = canonical_spacing(header)
    return (slices, *_target((plane[0], plane[1]), settings))


def canonical_spacing(header: Header) -> Spacing:
    """Voxel size in mm with the acquired slices first, however they lie in the file."""
    orientation = find_orientation(header.affine, header.slice_axis)
    return spacing_of(orientation.apply_affine(header.affine, header.shape))


def outline(volume: Volume, masks: Sequence[Path], settings: Settings) -> Array:
    """The lungs or the specimen of a scan as it was read, on its prepared grid, without the work on its greys.

    Args:
        volume: The scan.
        masks: The user's; empty: it is found.
        settings: How its domain is prepared.

    Raises:
        UserError: Nothing is found, or the masks do not fit.
    """
    upright = canonical(volume)[0]
    if masks:
        mask = canonical(replace(volume, array=read_masks(masks, volume), outside=None))[0].array
    elif isinstance(settings, ClinicalSettings):
        mask = lung_mask(upright)
    else:
        mask = specimen_mask(upright.array, upright.spacing)
    return Resampled(settings).on_grid(replace(upright, array=mask, outside=None), order=0).array > 0


def slab_slices(slab_mm: float, spacing: float) -> int:
    """The odd number of slices that comes nearest to a thickness."""
    return 1 + 2 * max(0, round((slab_mm / spacing - 1) / 2))


def slab_means(array: Array, slices: int) -> Iterator[npt.NDArray[np.float32]]:
    """For each slice, the mean over the slices around it; over fewer at the two ends."""
    half = slices // 2
    total = array[: half + 1].sum(axis=0, dtype=np.float64)
    for index in range(len(array)):
        first, last = max(0, index - half), min(len(array) - 1, index + half)
        yield (total / (last - first + 1)).astype(np.float32)
        if index + half + 1 < len(array):
            total += array[index + half + 1]
        if index >= half:
            total -= array[index - half]


def _target(plane: Plane, settings: Settings) -> Plane:
    return plane if settings.spacing is None else (settings.spacing, settings.spacing)


class _Step(MapTransform):
    """One step of `preparation`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(keys="volume", allow_missing_keys=True)
        self.settings = settings


class ReadVolumed(_Step):
    """Reads the scan, and the user's mask."""

    def __call__(self, data: Data) -> Data:
        """`path`, `masks` -> `volume`, its `greys` hashed, and `given_mask` (None without)."""
        settings = self.settings
        padding_below = settings.padding_below if isinstance(settings, ClinicalSettings) else None
        volume = read_volume(data["path"], settings.file_spacing, padding_below, settings.series, settings.spacing)
        if isinstance(settings, MicroSettings):
            check_greys(volume.array)
        masks = data["masks"]
        given = replace(volume, array=read_masks(masks, volume), outside=None) if masks else None
        return data | {"volume": volume, "greys": voxel_hash(volume.array), "given_mask": given}


class Canonicald(_Step):
    """Turns the scan."""

    def __call__(self, data: Data) -> Data:
        """`volume`, `given_mask` -> the same in the one orientation; `scanned`: the grid before it is resampled."""
        volume, given = canonical(data["volume"])[0], data["given_mask"]
        return data | {
            "volume": volume,
            "given_mask": None if given is None else canonical(given)[0],
            "scanned": Header(volume.shape, volume.affine, format_of(data["path"]) or "", volume.slice_axis),
        }


class Resampled(_Step):
    """Resamples in the plane."""

    def __call__(self, data: Data) -> Data:
        """`volume`, `given_mask` -> the same at the wanted spacing, cut to whole low-resolution pixels."""
        given: Volume | None = data["given_mask"]
        return data | {
            "volume": self.on_grid(data["volume"], order=3),
            "given_mask": None if given is None else self.on_grid(given, order=0),
        }

    def on_grid(self, volume: Volume, order: int) -> Volume:
        """A volume at the wanted spacing, cut."""
        plane = volume.spacing[1:]
        target = _target(plane, self.settings)
        if not np.allclose(plane, target, rtol=1e-4):
            outside = volume.outside
            volume = replace(
                volume,
                array=resample_plane(volume.array, plane, target, order=order),
                affine=resampled_affine(volume.affine, target),
                outside=None if outside is None else resample_plane(outside, plane, target, order=0) > 0.5,
            )
        height, width = (size - size % self.settings.multiple for size in volume.array.shape[1:])
        cut = (slice(None), slice(height), slice(width))
        outside = None if volume.outside is None else volume.outside[cut]
        return replace(volume, array=volume.array[cut], outside=outside)


class Maskd(_Step):
    """Finds the lungs or the specimen, unless the user gave a mask, and the greys that become -1 and +1."""

    def __call__(self, data: Data) -> Data:
        """`volume`, `given_mask` -> `mask` and `window`."""
        volume: Volume = data["volume"]
        mask = None if data["given_mask"] is None else data["given_mask"].array > 0
        if isinstance(self.settings, ClinicalSettings):
            low, high = self.settings.window
            mask = lung_mask(volume) if mask is None else mask
            if (found := not_hu(volume)) is not None:
                warn(f"{data['path']}: {found}")
            return data | {"mask": mask, "window": Window(low, high)}
        mask = specimen_mask(volume.array, volume.spacing) if mask is None else mask
        return data | {"mask": mask, "window": robust_window(volume.array, mask, self.settings.percentiles)}


class Normalised(_Step):
    """Brings greys to [-1, 1], and averages slices.

    Greys are averaged before they are clipped to the window, as a thick slice's detector does.
    """

    def __call__(self, data: Data) -> Data:
        """`volume`, `window` -> `image` and, where slices are averaged, `slab` (else None): float16."""
        volume: Volume = data["volume"]
        slab_mm = self.settings.slab_mm if isinstance(self.settings, MicroSettings) else 0.0
        slices = slab_slices(slab_mm, volume.spacing[0])
        slab = None if slices == 1 else _normalised(slab_means(volume.array, slices), volume, data["window"])
        return data | {"image": _normalised(iter(volume.array), volume, data["window"]), "slab": slab}


def _normalised(planes: Iterator[Array], volume: Volume, window: Window) -> npt.NDArray[np.float16]:
    normalised = np.empty(volume.array.shape, dtype=np.float16)
    for out, plane in zip(normalised, planes, strict=True):
        out[:] = window.normalise(plane)
    return normalised
