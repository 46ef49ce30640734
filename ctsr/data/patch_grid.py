"""Where patches can be cut out of a slice: places that lie inside the lung or the specimen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ctsr.errors import UserError


def patch_grid(mask: npt.NDArray[np.bool_], size: int, cover: float) -> npt.NDArray[np.int32]:
    """Where a patch may start: the points of a regular grid whose patch the mask covers well.

    Args:
        mask: (z, y, x), True inside lung or specimen.
        size: Side of the square patch in pixels; the grid's step is an eighth of it.
        cover: Least share of the patch inside the mask, 0 ... 1.

    Returns:
        (n, 3) corners (z, y, x).
    """
    step = max(size // 8, 1)
    corners = []
    for z, plane in enumerate(mask):
        if min(plane.shape) < size or not plane.any():
            continue
        sums = np.pad(plane.astype(np.int32).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        inside = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
        y, x = np.nonzero(inside[::step, ::step] >= cover * size * size)
        corners.append(np.stack([np.full_like(y, z), y * step, x * step], axis=1))
    return np.concatenate(corners).astype(np.int32) if corners else np.empty((0, 3), np.int32)


def no_place(case: str, domain: str, size: int, cover: float) -> UserError:
    """What to tell of a case whose mask has no place for a patch."""
    return UserError(
        f"{case}: no {size}x{size} patch lies {cover:.0%} inside the {domain} mask; "
        f"lower data.{domain}.cover or data.{domain}.patch, or leave the case out"
    )
