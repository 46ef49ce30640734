"""Whether both domains show structures at one size: f(x), an eighth of a micro-CT image, and a clinical one."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from ctsr.imaging.volume import SCALE

APART = 1.5  # the paper's own setting has 1.5 to 1.9


def scale_ratio(clinical: Sequence[float], micro: Sequence[float]) -> float:
    """How much larger a clinical pixel is than one of f(x); 1: both show structures at one size.

    Args:
        clinical: In-plane spacing of each clinical case as prepared, mm.
        micro: Of each micro-CT case.
    """
    return median(clinical) / (SCALE * median(micro))


def scale_warning(ratio: float | None) -> str | None:
    """A line where the two are further apart than the greys of one size would be; None: near enough, or unknown."""
    if ratio is None or 1 / APART <= ratio <= APART:
        return None
    larger, smaller = ("clinical", "micro-CT") if ratio > 1 else ("micro-CT", "clinical")
    return (
        f"the domains differ in scale by {max(ratio, 1 / ratio):.3g}: {larger} structures cover fewer pixels than "
        f"{smaller} ones; data.clinical.spacing={SCALE} x data.micro.spacing brings them to one"
    )
