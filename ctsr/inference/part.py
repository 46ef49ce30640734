"""Which part of a scan is enlarged: what was typed, as voxels of that scan."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from ctsr.errors import UserError, as_typed
from ctsr.imaging.volume import LPS_TO_RAS, Affine
from ctsr.records.scan_settings import ScanSettings

Bounds = tuple[int, int, int, int, int, int]
"""First and one past the last voxel: z0, z1, y0, y1, x0, x1."""

ROUNDING_MM = 1e-4  # a centre this far outside a box lies on its face: headers hold single precision


def part_of(shape: tuple[int, int, int], affine: Affine, settings: ScanSettings) -> Bounds | None:
    """Find the voxels of a scan that the settings ask for.

    Args:
        shape: Scan (z, y, x), canonical orientation.
        affine: Of the scan, canonical orientation.
        settings: Of which one of `roi`, `slices` and `box_mm` is given, or none.

    Returns:
        Their bounds, inside the scan; None: everything is asked for.

    Raises:
        UserError: The scan has no such part.
    """
    for key, typed in (("roi", settings.roi), ("slices", settings.slices)):
        if typed is not None:
            return _in_scan(shape, key, typed)
    return None if settings.box_mm is None else _in_box(shape, affine, settings.box_mm)


def _in_scan(shape: tuple[int, int, int], key: str, typed: Sequence[int | None]) -> Bounds:
    """What limits of the first axes, as they were typed, come to."""
    bounds = [limit for size in shape for limit in (0, size)]
    bounds[: len(typed)] = [whole if limit is None else limit for limit, whole in zip(typed, bounds, strict=False)]
    z0, z1, y0, y1, x0, x1 = bounds
    if any(not 0 <= low < high <= size for low, high, size in zip(bounds[::2], bounds[1::2], shape, strict=True)):
        names = ",".join(("z0", "z1", "y0", "y1", "x0", "x1")[: len(typed)])
        raise UserError(
            f"{key}={as_typed(typed)} is no part of a scan of {'x'.join(map(str, shape))} voxels: "
            f"give [{names}], indices from 0, the second of each pair one past the last, null for no limit"
        )
    return z0, z1, y0, y1, x0, x1


def _in_box(shape: tuple[int, int, int], affine: Affine, box: Sequence[float | None]) -> Bounds:
    """The smallest part that holds each voxel whose centre lies in a box, also of a scan that is oblique to it."""
    low = np.array([-np.inf if limit is None else limit for limit in box[::2]])
    high = np.array([np.inf if limit is None else limit for limit in box[1::2]])
    to_lps = LPS_TO_RAS @ affine[:3]  # its own inverse
    rows, columns = np.ogrid[: shape[1], : shape[2]]
    first_slice = [row * rows + column * columns + origin for _, row, column, origin in to_lps]
    held = [np.zeros(size, dtype=bool) for size in shape]
    for z in range(shape[0]):  # slice z lies as the first one does, further along
        inside = np.ones(shape[1:], dtype=bool)
        for centres, along, least, most in zip(first_slice, to_lps[:, 0] * z, low, high, strict=True):
            inside &= (least - ROUNDING_MM - along <= centres) & (centres <= most + ROUNDING_MM - along)
        held[0][z] = inside.any()
        held[1] |= inside.any(axis=1)
        held[2] |= inside.any(axis=0)
    if (low >= high).any() or not held[0].any():
        raise UserError(
            f"box_mm={as_typed(box)} holds no voxel of the scan, which takes up {_extent(shape, to_lps)}: "
            "give [x0,x1,y0,y1,z0,z1] in LPS mm, the smaller of each pair first, null for no limit"
        )
    (z0, z1), (y0, y1), (x0, x1) = ((int(one[0]), int(one[-1]) + 1) for one in map(np.flatnonzero, held))
    return z0, z1, y0, y1, x0, x1


def _extent(shape: tuple[int, int, int], to_lps: Affine) -> str:
    """The box about a scan's outermost edges, rounded outwards, as it would be typed."""
    ends = [(-0.5, size - 0.5) for size in shape]
    places = [to_lps @ [*corner, 1.0] for corner in itertools.product(*ends)]
    low, high = np.floor(np.min(places, axis=0) * 10) / 10, np.ceil(np.max(places, axis=0) * 10) / 10
    return as_typed(np.column_stack([low, high]).ravel().tolist())
