"""Which structure a voxel of the phantom belongs to."""

from __future__ import annotations

from enum import IntEnum


class Label(IntEnum):
    """Value of a voxel in a `labels.nii.gz`: the structure that fills most of it."""

    OUTSIDE = 0
    PARENCHYMA = 1
    AIRWAY_LUMEN = 2
    AIRWAY_WALL = 3
    VESSEL = 4
    NODULE = 5
    PLEURA = 6
    CHEST_WALL = 7
