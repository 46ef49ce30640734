"""The voxel size of formats that need not hold one: what files and scanner logs tell, and what the user gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from ctsr.errors import UserError, warn_once
from ctsr.imaging.volume import Affine, Spacing

FileSpacing = float | Sequence[float] | None
GIVE = (
    "give file_spacing=<mm or [z,y,x]> (in training data.micro.file_spacing= or data.clinical.file_spacing=, "
    "in inspect --file-spacing)"
)
SAME = 0.01  # relative: sizes that differ by no more are one size, rounded
LARGEST_MM = 20.0  # no slices of a CT are further apart: who gives more gives micrometres

_MM = {
    1e-7: ("angstrom", "å"),
    1e-6: ("nm", "nanometer", "nanometre"),
    1e-3: ("um", "µm", "micron", "micrometer", "micrometre"),
    1.0: ("mm", "millimeter", "millimetre"),
    10.0: ("cm", "centimeter", "centimetre"),
    25.4: ("in", "inch", '"'),
    1000.0: ("m", "meter", "metre"),
}


@dataclass(frozen=True)
class Told:
    """What one source tells of the voxel size.

    Attributes:
        by: The source, for messages.
        sizes: (z, y, x) in mm; None where it does not tell.
        sure: Whether it was written to tell a voxel size. A resolution for printers is not: it never decides.
    """

    by: str
    sizes: tuple[float | None, float | None, float | None]
    sure: bool = True

    @property
    def whole(self) -> Spacing | None:
        """The size, where all of it is told."""
        z, y, x = self.sizes
        return None if z is None or y is None or x is None else (z, y, x)

    def contradicts(self, sizes: Sequence[float | None]) -> bool:
        """Whether an axis of which both tell has another size there."""
        pairs = zip(self.sizes, sizes, strict=True)
        return any(one and other and abs(one / other - 1) > SAME for one, other in pairs)

    def __str__(self) -> str:
        if self.whole is not None:
            return f"{self.by} tells voxels of {_text(self.whole)} mm"
        return f"{self.by} tells pixels of {_text([size for size in self.sizes[1:] if size])} mm"


def mm_of_unit(name: object) -> float | None:
    """Millimetres of a unit of length by any of its usual names, "µm", "micron" or "micrometers"; None: not known."""
    wanted = str(name).strip().casefold()
    for mm, names in _MM.items():
        known = [known.casefold() for known in names]  # of the two letters µ one becomes the other
        if wanted in known or wanted.removesuffix("s") in known[1:]:
            return mm
    return None


def plausible(size: float | None) -> float | None:
    """The size, where it can be one of a voxel; else None."""
    return size if size is not None and math.isfinite(size) and 0 < size <= LARGEST_MM else None


def given_size(spacing: FileSpacing) -> Spacing | None:
    """The (z, y, x) in mm that the user gives; None: nothing.

    Raises:
        UserError: It is no voxel size.
    """
    if spacing is None:
        return None
    sizes: Any = [spacing] * 3 if isinstance(spacing, Real) else spacing
    wrong = isinstance(sizes, str) or len(sizes) != 3
    if wrong or not all(isinstance(size, Real) and not isinstance(size, bool) for size in sizes):
        raise UserError(f"file_spacing={spacing} is not a voxel size: give one number or [z,y,x] in mm")
    if not all(map(plausible, sizes)):
        raise UserError(f"file_spacing={spacing} is not a voxel size: it is in mm, above 0 and to {LARGEST_MM:g}")
    z, y, x = map(float, sizes)
    return z, y, x


def voxel_size(path: Path, spacing: FileSpacing, told: Sequence[Told] = ()) -> Spacing:
    """The voxel size (z, y, x) in mm.

    A file that tells keeps what it tells: `spacing` is for those that do not. Where the two contradict one of them is
    wrong, by a factor that nothing later would show, so that neither is taken.

    Args:
        path: Whose, for errors.
        spacing: What the user gives.
        told: What the files, and logs beside them, tell.

    Raises:
        UserError: Nobody tells all of it, what is told contradicts, or what is given is no voxel size.
    """
    given, sure = given_size(spacing), [one for one in told if one.sure]
    for one in told:
        if given is not None and one.contradicts(given):
            both = f"{path}: {one}, but file_spacing={_text(given)}"
            if one.sure:
                raise UserError(f"{both}: leave file_spacing out, or correct the file")
            warn_once(f"{both}, which is taken")
    whole = next((one.whole for one in sure if one.whole is not None), given)
    if whole is None:
        known = next((f"tells no distance of its slices ({one})" for one in told), "has no spacing inside")
        raise UserError(f"{path} {known}: {GIVE}")
    for one in sure if given is None else ():
        for other in sure:
            if one.contradicts(other.sizes):
                raise UserError(f"{path}: {one}, but {other}: remove what does not belong to it, or correct it")
    return whole


def axial_affine(size: Spacing) -> Affine:
    """Slices go up, rows to the back and columns to the patient's left, as axial CT has them.

    Args:
        size: (z, y, x) mm.
    """
    z, y, x = size
    return np.array([[0, 0, -x, 0], [0, -y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


def _text(sizes: Sequence[float]) -> str:
    texts = [f"{size:.5g}" for size in sizes]
    return texts[0] if len(set(texts)) == 1 else " x ".join(texts)
