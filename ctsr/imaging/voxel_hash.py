"""What tells a scan by its voxels alone, whatever file format they lie in."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from ctsr.imaging.volume import Array

_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], dtype=np.uint64)  # odd, of no pattern
_SHIFT = np.uint64(29)

Words = npt.NDArray[np.uint64]


def voxel_hash(array: Array) -> str:
    """A hash of a volume's greys, the same however its axes run and whatever number type holds them.

    Formats store one scan with axes in other orders and directions, so it is made of each axis' profile (of every slice
    across it, which greys it holds and how often), read from either end.

    Args:
        array: (z, y, x); greys that float32 tells apart count as different.
    """
    profiles = [np.zeros(size, dtype=np.uint64) for size in array.shape]
    for z, plane in enumerate(array):
        words = _words(plane)
        profiles[0][z] = words.sum(dtype=np.uint64)
        profiles[1] += words.sum(axis=1, dtype=np.uint64)
        profiles[2] += words.sum(axis=0, dtype=np.uint64)
    either_end = (min(profile.tobytes(), profile[::-1].tobytes()) for profile in profiles)
    return hashlib.blake2b(b"|".join(sorted(either_end)), digest_size=16).hexdigest()


def _words(plane: Array) -> Words:
    """A word of 64 bits for each grey, without a pattern that sums would keep."""
    greys = plane.astype(np.float32) + np.float32(0)  # -0 becomes 0
    words: Words = greys.view(np.uint32).astype(np.uint64) + np.uint64(1)
    for factor in _FACTORS:
        words *= factor
        words ^= words >> _SHIFT
    return words
