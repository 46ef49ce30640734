"""The lungs in a clinical CT: region growing that places its own seeds (section 2 of the paper; READING 12).

Growing from a seed through all connected voxels of a fixed HU range gives the connected component that holds the seed.
So all components are labelled at once, and those that can be lung are the regions grown.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import convex_hull_image

from ctsr.errors import UserError
from ctsr.imaging.volume import Array, Spacing, Volume

AIR_BELOW_HU = -400  # half way between lung and soft tissue
LUNG_ABOVE_HU = -975  # the median of lung, emphysema included; outside air and bowel gas lie below
SMALLEST_ML = 0.2
SMALLEST_SHARE = 0.05  # of the largest region; what is smaller are pockets of fat and gas
CLOSING_MM = 6.0  # half the width of the widest notch, left by a vessel or nodule at the pleura, that is bridged
WIDEST_HOLE_MM = 30.0  # a wider hole is not a nodule but the top of the diaphragm

Mask = npt.NDArray[np.bool_]


def lung_mask(volume: Volume, closing_mm: float = CLOSING_MM) -> Mask:
    """Find the lungs, with the vessels and nodules inside and at the edge of them.

    Works on whole chests, and on crops to one lung or a few slices.

    Args:
        volume: Clinical CT in HU, canonical orientation (axis 0 across the slices).
        closing_mm: Radius of the in-plane closing that takes in what juts into the lung from its edge.

    Returns:
        True inside the lungs, the volume's shape. The windpipe counts as lung where it opens into it.

    Raises:
        UserError: There is no region that looks like lung.
    """
    air = volume.array < AIR_BELOW_HU
    if volume.outside is not None:
        air &= ~volume.outside
    labels, _ = ndimage.label(air)
    mask = np.zeros(volume.array.shape, dtype=bool)
    # One lung at a time, so that closing does not bridge the tissue between two.
    for label, box in _lungs(volume, labels):
        wide = _widened(box, closing_mm, volume)
        mask[wide] |= _closed(labels[wide] == label, volume.spacing, closing_mm)
    if not mask.any():
        raise UserError("no lung found: is this a chest CT in HU?")
    if volume.outside is not None:
        mask &= ~volume.outside
    return mask


def _lungs(volume: Volume, labels: npt.NDArray[np.int32]) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Labels of the regions that can be lung, largest first, each with its bounding box."""
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    in_body = _share_in_body(volume, labels)
    boxes = ndimage.find_objects(labels)
    smallest = SMALLEST_ML * 1000 / np.prod(volume.spacing)
    for label in np.argsort(sizes)[::-1]:
        if sizes[label] < smallest:
            return
        box = boxes[label - 1]
        if in_body[label] > 0.5 and _median(volume.array[box], labels[box] == label) > LUNG_ABOVE_HU:
            smallest = max(smallest, SMALLEST_SHARE * sizes[label])
            yield int(label), box


def _share_in_body(volume: Volume, labels: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """For each label, how much of it lies within the outline of the body; couch and blankets lie outside.

    The outline is, in each slice, the convex hull of the largest piece of tissue, on a grid of about 3 mm.
    """
    coarse = (slice(None), *(slice(None, None, max(1, round(3.0 / step))) for step in volume.spacing[1:]))
    tissue = volume.array[coarse] > AIR_BELOW_HU
    cross = ndimage.generate_binary_structure(2, 1)[None]
    # Eroded, so that a couch in touch with the body comes off; but a body may be a thin wall, or vessels in a crop.
    for body in (_largest(ndimage.binary_erosion(tissue, cross)), _largest(tissue), tissue):
        if 2 * body.sum() > tissue.sum():
            break
    hull = np.stack([convex_hull_image(plane) if plane.any() else plane for plane in body])
    count = int(labels.max()) + 1
    sampled = labels[coarse]
    inside = np.bincount(sampled[hull], minlength=count)
    return inside / np.maximum(np.bincount(sampled.ravel(), minlength=count), 1)


def _largest(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    largest: Mask = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]) if count else mask
    return largest


def _median(array: Array, inside: Mask) -> float:
    greys = array[inside]
    return float(np.median(greys[:: max(1, greys.size // 1_000_000)]))


def _widened(box: tuple[slice, ...], margin_mm: float, volume: Volume) -> tuple[slice, ...]:
    """The box with a margin in the plane, as far as the image goes."""
    margins = _margins(volume.spacing, margin_mm)
    sides = [
        slice(max(0, side.start - margin), min(size, side.stop + margin))
        for side, margin, size in zip(box[1:], margins, volume.array.shape[1:], strict=True)
    ]
    return (box[0], *sides)


def _margins(spacing: Spacing, margin_mm: float) -> list[int]:
    return [int(np.ceil(margin_mm / step)) + 1 for step in spacing[1:]]


def _closed(region: Mask, spacing: Spacing, radius_mm: float) -> Mask:
    """Each slice closed with a disk, then its holes filled."""
    margins = _margins(spacing, radius_mm)
    inner = tuple(slice(margin, -margin) for margin in margins)
    closed = np.zeros_like(region)
    for plane, out in zip(region, closed, strict=True):
        if plane.any():
            # Lung cut off by the image's edge goes on beyond it. Distances: their cost does not grow with the radius.
            padded = np.pad(plane, [(margin, margin) for margin in margins], mode="edge")
            grown = ndimage.distance_transform_edt(~padded, sampling=spacing[1:]) <= radius_mm
            shrunk = ndimage.distance_transform_edt(grown, sampling=spacing[1:]) > radius_mm
            out[:] = _filled(shrunk[inner] | plane, spacing[1] * spacing[2])
    return closed


def _filled(plane: Mask, pixel_mm2: float) -> Mask:
    """A slice with its holes filled, up to the area of a disk as wide as `WIDEST_HOLE_MM`."""
    holes, _ = ndimage.label(ndimage.binary_fill_holes(plane) & ~plane)
    small = np.bincount(holes.ravel()) * pixel_mm2 <= np.pi / 4 * WIDEST_HOLE_MM**2
    small[0] = False
    filled: Mask = plane | small[holes]
    return filled
