"""The outline of lungs or specimen on the grid of a prepared case, without preparing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ctsr.data.finding.masks import read_masks
from ctsr.data.preparing.grid import on_prepared_grid
from ctsr.data.preparing.settings import ClinicalSettings, Settings
from ctsr.imaging.anatomy.lung import lung_mask
from ctsr.imaging.anatomy.specimen import specimen_mask
from ctsr.imaging.orientation import canonical
from ctsr.imaging.volume import Array, Volume


def outline(volume: Volume, masks: Sequence[Path], settings: Settings) -> Array:
    """The lungs or the specimen of a scan as it was read, on its prepared grid, without the work on its greys.

    Args:
        volume: The scan.
        masks: The user's; empty: it is found.
        settings: How its domain is prepared.

    Raises:
        UserError: Nothing is found, or the masks do not fit.
    """
    upright = canonical(volume)[0]
    if masks:
        mask = canonical(replace(volume, array=read_masks(masks, volume), outside=None))[0].array
    elif isinstance(settings, ClinicalSettings):
        mask = lung_mask(upright)
    else:
        mask = specimen_mask(upright.array, upright.spacing)
    return on_prepared_grid(replace(upright, array=mask, outside=None), settings, order=0).array > 0
