"""From a scan to what networks see: read, turned, resampled, its lungs or specimen found, its greys normalised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
from ctsr.imaging.kernel.measured import Measured
from ctsr.imaging.kernel.measuring import measure
from ctsr.imaging.orientation import canonical
from ctsr.imaging.padding import find_padding, mark_padding
from ctsr.imaging.volume import Array, Header, Mask, Volume
from ctsr.imaging.voxel_hash import voxel_hash

Halves = npt.NDArray[np.float16]

_SAMPLE = 5_000_000  # voxels that settle a percentile


@dataclass(frozen=True, eq=False)
class Prepared:
    """What becomes of a scan.

    Attributes:
        scanned: The scan in canonical orientation, before it is resampled.
        volume: The scan in its own greys, on the prepared grid, as are the arrays below.
        voxels: Hash of its greys as read, see `ctsr.imaging.voxel_hash`.
        mask: True in the lungs or the specimen.
        window: Scanner greys of -1 and +1.
        image: Slices in [-1, 1].
        slab: The same, each averaged with its neighbours; None where none are.
        kernel: What a clinical scan shows of its reconstruction kernel; None of µCT.
    """

    scanned: Header
    volume: Volume
    voxels: str
    mask: Mask
    window: Window
    image: Halves
    slab: Halves | None
    kernel: Measured | None


def prepare_scan(path: Path, masks: Sequence[Path], settings: Settings) -> Prepared:
    """Prepare one scan; a mask that the user gives goes the scan's way beside it.

    Args:
        path: Of the scan.
        masks: The user's; empty: it is found.
        settings: How; also says which domain it is.

    Raises:
        UserError: The scan or a mask cannot be read, they do not fit, or there is neither lung nor specimen.
    """
    volume = read_volume(path, settings.file_spacing, settings.padding_below, settings.series, settings.spacing)
    if isinstance(settings, MicroSettings):
        check_greys(volume.array)
    given = _given(masks, volume)
    voxels = voxel_hash(volume.array)
    volume = canonical(volume)[0]
    scanned = Header(volume.shape, volume.affine, format_of(path) or "", volume.slice_axis, thickness=volume.thickness)
    volume = on_prepared_grid(volume, settings, order=3)
    mask = _found(volume, settings) if given is None else on_prepared_grid(given, settings, order=0).array > 0
    if isinstance(settings, MicroSettings):
        window = robust_window(volume.array, mask, settings.percentiles)
    else:
        window = Window(*settings.window)
        if (doubt := not_hu(volume)) is not None:
            warn(f"{path}: {doubt}")
    slices = slab_slices(settings.slab_mm, volume.spacing[0])
    return Prepared(
        scanned=scanned,
        volume=volume,
        voxels=voxels,
        mask=mask,
        window=window,
        image=_normalised(iter(volume.array), volume, window),
        # Averaged before greys are clipped to the window, as a thick slice's detector does.
        slab=None if slices == 1 else _normalised(slab_means(volume.array, slices), volume, window),
        kernel=None if isinstance(settings, MicroSettings) else _kernel(volume, mask),
    )


def _kernel(volume: Volume, mask: Mask) -> Measured:
    """What there is to see of it where the scanner saw the body, before greys are clipped to the window."""
    return measure(mark_padding(volume, find_padding(volume.array)), mask)


def outline(volume: Volume, masks: Sequence[Path], settings: Settings) -> Mask:
    """The lungs or the specimen of a scan as it was read, on its prepared grid, without the work on its greys.

    Args:
        volume: The scan.
        masks: The user's; empty: it is found.
        settings: How its domain is prepared.

    Raises:
        UserError: Nothing is found, or the masks do not fit.
    """
    upright, given = canonical(volume)[0], _given(masks, volume)
    mask = _found(upright, settings) if given is None else given.array
    return on_prepared_grid(replace(upright, array=mask, outside=None), settings, order=0).array > 0


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


def _given(masks: Sequence[Path], volume: Volume) -> Volume | None:
    """The user's masks on the grid of the scan as read, then in canonical orientation; None: there are none."""
    return canonical(replace(volume, array=read_masks(masks, volume), outside=None))[0] if masks else None


def _found(volume: Volume, settings: Settings) -> Mask:
    """The lungs or the specimen of a scan in canonical orientation."""
    return lung_mask(volume) if isinstance(settings, ClinicalSettings) else specimen_mask(volume.array, volume.spacing)


def _normalised(planes: Iterator[Array], volume: Volume, window: Window) -> Halves:
    normalised = np.empty(volume.array.shape, dtype=np.float16)
    for out, plane in zip(normalised, planes, strict=True):
        out[:] = window.normalise(plane)
    return normalised
