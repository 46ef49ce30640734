"""Is a clinical scan in HU? Judged by its greys: air or lung near -1000, soft tissue near 0."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ctsr.errors import UserError
from ctsr.imaging.volume import Volume

AIR_HU = (-1200.0, -400.0)  # with lung
BETWEEN_HU = (-650.0, -200.0)  # edges: few voxels of a CT, many of other pictures
SOFT_HU = (-200.0, 300.0)  # fat to contrast
BRIGHT_HU = 3071.0  # hardly a voxel is brighter
FEW = 0.002  # share of the voxels
PLENTY = 0.05
NARROW = 20.0  # no scale of a scanner is
HU = "HU"
_SAMPLE = 2_000_000

Greys = npt.NDArray[np.float64]


def doubts_of_ct(volume: Volume, must_be_hu: bool) -> list[str]:
    """What speaks against a clinical scan's being a CT in HU: its header, and its greys.

    Args:
        volume: The scan.
        must_be_hu: Refuse greys that do not look like HU.

    Raises:
        UserError: They do not, and must.
    """
    told = volume.modality
    doubts = [] if told in (None, "CT") else [f"its header calls it {told} (Modality), not CT"]
    if (found := not_hu(volume)) is not None:
        doubts.append(found)
        if must_be_hu:
            raise UserError("; ".join(doubts))
    return doubts


def not_hu(volume: Volume) -> str | None:
    """Why a clinical scan does not look as if it were in HU.

    Args:
        volume: A chest, or a part of one with lung in view; any size, also a single slice. Padding is not looked at,
            be it marked in `Volume.outside` or not.

    Returns:
        One line that begins with the range of its greys; None: they look like HU.
    """
    step = max(1, round((volume.array.size / _SAMPLE) ** 0.5))
    cut = (slice(None), slice(None, None, step), slice(None, None, step))
    greys = volume.array[cut]
    greys = np.ravel(greys if volume.outside is None else greys[~volume.outside[cut]]).astype(np.float64)
    if not greys.size:
        return "padding is all there is: is the scan empty?"
    # Padding is darker than all else, and may have a grey of air; but so may lungs that somebody drew.
    seen = greys[greys > greys.min()]
    found = (_scale(seen) if seen.size >= PLENTY * greys.size else None) or _scale(greys)
    if found == HU:
        return None
    return f"greys of {volume.array.min():g} ... {volume.array.max():g} {found or _of_range(greys)}"


def _scale(greys: Greys) -> str | None:
    """HU, or what the greys look like; None: they tell nothing."""
    if _surely_hu(greys):
        return HU
    # Other scales come first: bone may have the greys of tissue there, and tissue those of air.
    alike = next((what for what, hu in _other_scales(greys) if _surely_hu(hu)), None)
    return alike or (HU if _share(greys, AIR_HU) >= FEW else None)


def _of_range(greys: Greys) -> str:
    low, high = greys.min(), greys.max()
    if low == high:
        return "are one only: is the scan empty?"
    if high - low < NARROW:
        return "look normalised: give HU"
    if low >= 0 and high <= 255:
        return "look like those of a picture: give HU"
    return "have neither air nor lung near -1000: is it a CT in HU?"


def _surely_hu(greys: Greys) -> bool:
    """Whether air or lung, and soft tissue, stand apart."""
    soft = _share(greys, SOFT_HU)
    apart = _share(greys, AIR_HU) >= FEW and soft >= PLENTY and soft > _share(greys, BETWEEN_HU)
    return apart and bool(np.percentile(greys, 99) <= BRIGHT_HU)


def _other_scales(greys: Greys) -> Iterator[tuple[str, Greys]]:
    """What the greys may be, and the HU that they would then be."""
    thousand = greys * 1000
    whole = np.allclose(thousand, np.rint(thousand), rtol=0, atol=0.01)
    yield "look like HU / 1000: multiply by 1000" if whole else "look normalised, or like HU / 1000: give HU", thousand
    yield "look like HU + 1024: subtract 1024 (1000 where air is at 0), unless it is no CT", greys - 1024
    yield "look like HU - 1024, the intercept applied twice: add 1024", greys + 1024
    unsigned = np.where(greys > np.iinfo(np.int16).max, greys - 2**16, greys)
    yield "look like negative HU read as unsigned: subtract 65536 from what is above 32767", unsigned


def _share(greys: Greys, limits: tuple[float, float]) -> float:
    low, high = limits
    return float(((greys >= low) & (greys <= high)).mean())
