"""What tells a scan by its voxels alone, whatever file format they lie in."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from ctsr.imaging.volume import Array

_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], dtype=np.uint64)  # odd, of no pattern
_SHIFT = np.uint64(29)


def voxel_hash(array: Array) -> str:
    """A hash of a volume's greys, the same however its axes run and whatever number type holds them.

    Formats store one scan with axes in other orders and directions, so it is made of how often each grey occurs, and
    of the sizes in ascending order.

    Args:
        array: (z, y, x); greys that float32 tells apart count as different.
    """
    totals = [0] * len(_FACTORS)
    for plane in array:
        bits = _bits(plane)
        for index, factor in enumerate(_FACTORS):
            mixed = bits * factor
            mixed ^= mixed >> _SHIFT
            mixed *= factor
            mixed ^= mixed >> _SHIFT
            totals[index] = (totals[index] + int(mixed.sum(dtype=np.uint64))) % 2**64
    return hashlib.blake2b(f"{sorted(array.shape)} {totals}".encode(), digest_size=16).hexdigest()


def _bits(plane: Array) -> npt.NDArray[np.uint64]:
    greys = plane.astype(np.float32) + np.float32(0)  # -0 becomes 0
    return greys.view(np.uint32).astype(np.uint64) + np.uint64(1)
