"""A lung seen by both scanners: the clinical scan, and the micro-CT truth on exactly the x8 grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ctsr.errors import UserError
from ctsr.imaging.anatomy.specimen import specimen_mask
from ctsr.imaging.formats.readers import read_volume
from ctsr.imaging.intensity import Window, robust_window
from ctsr.imaging.orientation import canonical
from ctsr.imaging.resample import resampled_affine
from ctsr.imaging.volume import SCALE, Volume
from ctsr.phantom.labels import Label

GRID_TOLERANCE = 0.05
"""How far, in micro-CT pixels, the two grids may be apart."""


@dataclass(frozen=True, eq=False)
class Pair:
    """One lung, through two scanners.

    Attributes:
        name: Name of the case.
        clinical: Clinical scan in HU, canonical orientation.
        micro: Micro-CT scan, in its own greys, canonical orientation.
        inside: True inside the specimen, (z, y, x) of the micro-CT: neither beyond it nor in the chest wall, which is
            not resected.
        labels: Structure of each micro-CT voxel, values of `ctsr.phantom.labels.Label`; None where nobody knows.
        window: Micro-CT greys that become [-1, 1].
        slices: For each clinical slice that has one, its micro-CT slice: (clinical index, micro-CT index).
    """

    name: str
    clinical: Volume
    micro: Volume
    inside: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.uint8] | None
    window: Window
    slices: tuple[tuple[int, int], ...]

    def truth(self, z: int, slab: bool = False) -> npt.NDArray[np.float32]:
        """Micro-CT slice in [-1, 1], or the mean of those within half a clinical slice distance of it."""
        reach = round(self.clinical.spacing[0] / self.micro.spacing[0] / 2) if slab else 0
        slices = self.window.normalise(self.micro.array[max(0, z - reach) : z + reach + 1])
        mean: npt.NDArray[np.float32] = slices.mean(axis=0, dtype=np.float32)
        return mean

    @property
    def pixel_mm(self) -> float:
        """Micro-CT pixel size in the plane, in millimetres."""
        return self.micro.spacing[1]


def find_pairs(root: Path) -> list[Path]:
    """Folders of the paired cases under `root`: those with a clinical.nii.gz, sorted by name.

    Raises:
        UserError: If there is none.
    """
    folders = sorted(file.parent for file in root.glob("*/clinical.nii.gz"))
    if not folders:
        raise UserError(f"{root} holds no paired cases: each is a folder with clinical, micro and labels.nii.gz")
    return folders


def load_pair(folder: Path, percentiles: Sequence[float] = (0.5, 99.5)) -> Pair:
    """Read a paired case: clinical.nii.gz, micro.nii.gz and, if there is one, labels.nii.gz.

    Args:
        folder: Where the files are; its name becomes the case's.
        percentiles: Micro-CT greys inside the specimen that become -1 and +1, as for training cases.

    Raises:
        UserError: A file is missing, or the two scans do not share one x8 grid.
    """
    clinical, micro = (canonical(read_volume(folder / f"{part}.nii.gz"))[0] for part in ("clinical", "micro"))
    labels = None
    if (folder / "labels.nii.gz").exists():
        labels = canonical(read_volume(folder / "labels.nii.gz"))[0].array.astype(np.uint8)
        if labels.shape != micro.array.shape:
            raise UserError(f"{folder}: labels are {labels.shape}, but micro is {micro.array.shape}; make them equal")
        inside = ~np.isin(labels, (Label.OUTSIDE, Label.CHEST_WALL))
        if not inside.any():
            raise UserError(f"{folder}: labels.nii.gz marks no lung")
    else:
        inside = specimen_mask(micro.array, micro.spacing)
    window = robust_window(micro.array, inside, percentiles)
    return Pair(folder.name, clinical, micro, inside, labels, window, _matching(folder, clinical, micro))


def _matching(folder: Path, clinical: Volume, micro: Volume) -> tuple[tuple[int, int], ...]:
    """The micro-CT slice at the world position of each clinical slice."""
    y, x = clinical.spacing[1:]
    fine = resampled_affine(clinical.affine, (y / SCALE, x / SCALE))
    to_micro = np.linalg.inv(micro.affine) @ fine
    count, *plane = clinical.array.shape
    height, width = (SCALE * size for size in plane)
    corners = np.array([[k, y, x, 1] for k in range(count) for y in (0, height - 1) for x in (0, width - 1)], float)
    landed = corners @ to_micro.T
    off = np.abs(landed[:, 1:3] - corners[:, 1:3]).max()
    if micro.array.shape[1:] != (height, width) or off > GRID_TOLERANCE or np.ptp(landed[:4, 0]) > GRID_TOLERANCE:
        raise UserError(
            f"{folder}: micro.nii.gz is not on the x8 grid of clinical.nii.gz: "
            f"{micro.array.shape[1:]} pixels instead of {(height, width)}, {off:.2f} pixels apart"
        )
    nearest = np.rint(landed[::4, 0]).astype(int)
    return tuple((k, int(z)) for k, z in enumerate(nearest) if 0 <= z < micro.array.shape[0])
