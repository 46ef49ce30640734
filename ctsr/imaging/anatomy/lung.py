"""The lungs in a clinical CT: region growing that places its own seeds (section 2 of the paper; READING 12).

Growing from a seed through all connected voxels of a fixed HU range gives the connected component that holds the seed.
So all components are labelled at once, and those that can be lung are the regions grown. What is lung is decided on a
grid of about 1.5 mm; the scan's own voxels then draw its edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import convex_hull_image

from ctsr.errors import UserError
from ctsr.imaging.anatomy.airways import central_airways
from ctsr.imaging.anatomy.blocks import Block, block_for, block_means, block_spacing, to_voxels
from ctsr.imaging.anatomy.pleura import around, without_holes, without_notches
from ctsr.imaging.hounsfield import not_hu
from ctsr.imaging.storage import Allocate, zeros
from ctsr.imaging.volume import Image, Mask, Spacing, Volume

GRID_MM = 1.5
AIR_BELOW_HU = -400  # half way between lung and soft tissue
LUNG_ABOVE_HU = -975  # the median of lung, emphysema included; outside air and bowel gas lie below
SMALLEST_ML = 0.2
SMALLEST_SHARE = 0.05  # of the largest region; what is smaller are pockets of fat and gas

Labels = npt.NDArray[np.int32]


def lung_mask(volume: Volume, allocate: Allocate = np.empty) -> Mask:
    """Find the lungs, with the vessels, airways and nodules inside and at the edge of them.

    Works on whole chests, and on crops to one lung or a few slices.

    Args:
        volume: Clinical CT in HU, canonical orientation (axis 0 across the slices).
        allocate: Where the mask is put, and what is needed for it that grows with the scan.

    Returns:
        True inside the lungs, the volume's shape. Windpipe and main bronchi are left out where at least 15 mm of the
        windpipe are in view.

    Raises:
        UserError: There is no region that looks like lung; where the greys are not HU, what they look like.
    """
    block = block_for(volume.spacing, GRID_MM)
    spacing = block_spacing(volume.spacing, block)
    hu = block_means(volume.array, block, allocate=allocate)
    air: Mask = np.less(hu, AIR_BELOW_HU, out=allocate(hu.shape, bool))
    if volume.outside is not None:
        air &= block_means(volume.outside, block, allocate=allocate) == 0
    airways = central_airways(hu, spacing, allocate)
    air[airways] = False
    labels = allocate(hu.shape, np.int32)
    ndimage.label(air, output=labels)
    lungs: Mask = zeros(hu.shape, bool, allocate)
    whole: Mask = zeros(hu.shape, bool, allocate)
    # One lung at a time, so that closing does not bridge the tissue between two.
    for label, box in _lungs(hu, labels, spacing):
        here = around(box, hu.shape, spacing)
        lung = labels[here] == label
        lungs[here] |= lung
        whole[here] |= without_notches(lung, spacing) & ~airways[here]
    if not whole.any():
        found = not_hu(volume)
        raise UserError(f"no lung found: {'is this a chest CT in HU?' if found is None else found}")
    air |= airways
    return _drawn(volume, block, lungs, whole, air, allocate)


def _lungs(hu: Image, labels: Labels, spacing: Spacing) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Labels of the regions that can be lung, largest first, and the boxes around them."""
    sizes = _sizes(labels, labels.max())
    sizes[0] = 0
    in_body = _share_in_body(hu, labels, spacing)
    boxes = ndimage.find_objects(labels)
    smallest = SMALLEST_ML * 1000 / np.prod(spacing)
    for label in np.argsort(sizes)[::-1]:
        if sizes[label] < smallest:
            return
        box = boxes[label - 1]
        if in_body[label] > 0.5 and np.median(hu[box][labels[box] == label]) > LUNG_ABOVE_HU:
            smallest = max(smallest, SMALLEST_SHARE * sizes[label])
            yield int(label), box


def _share_in_body(hu: Image, labels: Labels, spacing: Spacing) -> npt.NDArray[np.float64]:
    """For each label, how much of it lies within the outline of the body; couch and blankets lie outside.

    The outline is, in each slice, the convex hull of the largest piece of tissue, on a grid of about 3 mm.
    """
    coarse = (slice(None), *(slice(None, None, max(1, round(3.0 / step))) for step in spacing[1:]))
    tissue = hu[coarse] > AIR_BELOW_HU
    cross = ndimage.generate_binary_structure(2, 1)[None]
    # Eroded, so that a couch in touch with the body comes off; but a body may be a thin wall, or vessels in a crop.
    for body in (_largest(ndimage.binary_erosion(tissue, cross)), _largest(tissue), tissue):
        if 2 * body.sum() > tissue.sum():
            break
    hulls = (convex_hull_image(plane) if plane.any() else plane for plane in body)
    last, sampled = labels.max(), labels[coarse]
    inside = _sizes((plane[hull] for plane, hull in zip(sampled, hulls, strict=True)), last)
    return inside / np.maximum(_sizes(sampled, last), 1)


def _sizes(planes: Iterable[Labels], last: int) -> npt.NDArray[np.int64]:
    """How often each label is there, from 0 to the last."""
    sizes = np.zeros(last + 1, dtype=np.int64)
    for plane in planes:  # one at a time: what counts makes a copy, of twice the size
        sizes += np.bincount(plane.ravel(), minlength=last + 1)
    return sizes


def _largest(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    largest: Mask = labels == 1 + np.argmax(_sizes(labels, count)[1:]) if count else mask
    return largest


def _drawn(volume: Volume, block: Block, lungs: Mask, whole: Mask, no_tissue: Mask, allocate: Allocate) -> Mask:
    """The lungs on the volume's own grid: blocks at the edge between air and tissue are left to their voxels.

    Other air and the airways, which are no tissue, end where their blocks do.
    """
    cube = np.ones((3, 3, 3), dtype=bool)
    grown = ndimage.binary_dilation(lungs, cube, output=allocate(lungs.shape, bool))
    core = ndimage.binary_erosion(whole, cube, border_value=1, output=allocate(whole.shape, bool))
    mask: Mask = allocate(volume.array.shape, bool)
    for z, (out, greys) in enumerate(zip(mask, volume.array, strict=True)):
        k = z // block[0]
        edge = lungs[k] | (grown[k] & ~no_tissue[k])
        sure = (whole[k] & ~lungs[k]) | core[k]
        at_edge, inside = (to_voxels(blocks, block[1:], out.shape) for blocks in (edge, sure))
        out[:] = without_holes(inside | (at_edge & (greys < AIR_BELOW_HU)), volume.spacing[1] * volume.spacing[2])
        if volume.outside is not None:
            out &= ~volume.outside[z]
    return mask
