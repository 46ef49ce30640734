"""The grid that a scan has once it is prepared: known from its header alone, and put under its voxels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ctsr.data.preparing.settings import Settings
from ctsr.imaging.orientation import find_orientation
from ctsr.imaging.resample import Plane, resample_plane, resampled_affine, resampled_shape
from ctsr.imaging.volume import Header, Spacing, Volume, spacing_of


def prepared_plane(header: Header, settings: Settings) -> tuple[int, int]:
    """In-plane size (y, x) that a scan will have once prepared."""
    plane = canonical_spacing(header)[1:]
    shape = find_orientation(header.affine, header.slice_axis).apply_shape(header.shape)
    height, width = resampled_shape(shape[1:], plane, target_plane(plane, settings))
    return height - height % settings.multiple, width - width % settings.multiple


def prepared_spacing(header: Header, settings: Settings) -> Spacing:
    """Voxel size (z, y, x) in mm that a scan will have once prepared."""
    slices, *plane = canonical_spacing(header)
    return (slices, *target_plane((plane[0], plane[1]), settings))


def canonical_spacing(header: Header) -> Spacing:
    """Voxel size in mm with the acquired slices first, however they lie in the file."""
    orientation = find_orientation(header.affine, header.slice_axis)
    return spacing_of(orientation.apply_affine(header.affine, header.shape))


def target_plane(plane: Plane, settings: Settings) -> Plane:
    """In-plane pixel size (y, x) in mm that a scan of pixels `plane` is brought to."""
    return plane if settings.spacing is None else (settings.spacing, settings.spacing)


def on_prepared_grid(volume: Volume, settings: Settings, order: int) -> Volume:
    """A canonical volume at the wanted in-plane spacing, cut to whole low-resolution pixels.

    Args:
        volume: As it lies after `canonical`.
        settings: Of its domain.
        order: Of the spline that interpolates: 3 for greys, 0 for masks.
    """
    plane = volume.spacing[1:]
    target = target_plane(plane, settings)
    if not np.allclose(plane, target, rtol=1e-4):
        outside = volume.outside
        volume = replace(
            volume,
            array=resample_plane(volume.array, plane, target, order=order),
            affine=resampled_affine(volume.affine, target),
            outside=None if outside is None else resample_plane(outside, plane, target, order=0) > 0.5,
        )
    height, width = (size - size % settings.multiple for size in volume.array.shape[1:])
    cut = (slice(None), slice(height), slice(width))
    outside = None if volume.outside is None else volume.outside[cut]
    return replace(volume, array=volume.array[cut], outside=outside)
