"""From a scan on disk to what networks see: dictionary transforms around the functions of `ctsr.imaging`.

They hand on `path` -> `volume` (in scanner greys) -> `mask`, `window` -> `image` and `slab` (in [-1, 1]). A user's mask
goes the scan's way beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from monai.transforms import Compose, MapTransform

from ctsr.data.finding.masks import read_masks
from ctsr.data.preparing.grid import on_prepared_grid
from ctsr.data.preparing.settings import ClinicalSettings, MicroSettings, Settings
from ctsr.errors import warn
from ctsr.imaging.anatomy.lung import lung_mask
from ctsr.imaging.anatomy.specimen import check_greys, specimen_mask
from ctsr.imaging.formats.readers import read_volume
from ctsr.imaging.formats.recognise import format_of
from ctsr.imaging.hounsfield import not_hu
from ctsr.imaging.intensity import Window, robust_window
from ctsr.imaging.orientation import canonical
from ctsr.imaging.volume import Array, Header, Volume
from ctsr.imaging.voxel_hash import voxel_hash

Data = dict[str, Any]

_SAMPLE = 5_000_000


def preparation(settings: Settings) -> Compose:
    """All of it for one case: {"path", "masks"} -> {"volume", "greys", "mask", "window", "image", "slab"}."""
    return Compose([step(settings) for step in (ReadVolumed, Canonicald, Resampled, Maskd, Normalised)])


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
            "scanned": Header(
                volume.shape,
                volume.affine,
                format_of(data["path"]) or "",
                volume.slice_axis,
                thickness=volume.thickness,
            ),
        }


class Resampled(_Step):
    """Resamples in the plane."""

    def __call__(self, data: Data) -> Data:
        """`volume`, `given_mask` -> the same at the wanted spacing, cut to whole low-resolution pixels."""
        given: Volume | None = data["given_mask"]
        return data | {
            "volume": on_prepared_grid(data["volume"], self.settings, order=3),
            "given_mask": None if given is None else on_prepared_grid(given, self.settings, order=0),
        }


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


def case_facts(scanned: Header, volume: Volume, mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Facts of one case, as plain values.

    Args:
        scanned: The scan in canonical orientation, before it is resampled.
        volume: The scan in its own greys, on the grid that it is prepared on.
        mask: True inside, the same grid.

    Returns:
        `format`, `scanned_shape`, `scanned_spacing`, `greys`, `volume_ml` and `at_ends` of
        `ctsr.records.case.CaseFacts`, and `scanned_thickness` where the scan tells it.
    """
    step = max(1, round((mask.size / _SAMPLE) ** 0.5))
    inside = volume.array[:, ::step, ::step][mask[:, ::step, ::step]]
    if not inside.size:
        inside = volume.array[mask]
    ends = volume.array.min(), volume.array.max()
    thickness = {} if scanned.thickness is None else {"scanned_thickness": scanned.thickness}
    return thickness | {
        "format": scanned.format,
        "scanned_shape": list(scanned.shape),
        "scanned_spacing": list(scanned.spacing),
        "greys": [float(grey) for grey in np.percentile(inside, (0.5, 50, 99.5))],
        "volume_ml": float(mask.sum() * np.prod(volume.spacing) / 1000),
        "at_ends": [float((inside == end).mean()) for end in ends],
    }
