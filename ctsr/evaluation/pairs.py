"""A lung seen by both scanners: the clinical scan, and the micro-CT truth on exactly the x8 grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ctsr.errors import UserError
from ctsr.imaging.intensity import Window
from ctsr.imaging.orientation import canonical
from ctsr.imaging.pyramid import SCALE
from ctsr.imaging.readers import read_volume
from ctsr.imaging.resample import resampled_affine
from ctsr.imaging.volume import Volume
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
        labels: Structure of each micro-CT voxel, (z, y, x), values of `ctsr.phantom.labels.Label`.
        window: Micro-CT greys that become [-1, 1].
        slices: For each clinical slice that has one, its micro-CT slice: (clinical index, micro-CT index).
    """

    name: str
    clinical: Volume
    micro: Volume
    labels: npt.NDArray[np.uint8]
    window: Window
    slices: tuple[tuple[int, int], ...]

    def specimen(self, z: int) -> npt.NDArray[np.bool_]:
        """(H, W), True where a micro-CT slice shows lung: neither outside nor the chest wall, which is not resected."""
        return _is_lung(self.labels[z])

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


def load_pair(folder: Path, percentiles: tuple[float, float] = (0.5, 99.5)) -> Pair:
    """Read a paired case: clinical.nii.gz, micro.nii.gz and labels.nii.gz.

    Args:
        folder: Where the three files are; its name becomes the case's.
        percentiles: Micro-CT greys inside the specimen that become -1 and +1, as for training cases.

    Raises:
        UserError: If a file is missing or the two scans do not share one x8 grid.
    """
    clinical, micro, labels = (
        canonical(read_volume(folder / f"{part}.nii.gz"))[0] for part in ("clinical", "micro", "labels")
    )
    if labels.array.shape != micro.array.shape:
        raise UserError(f"{folder}: labels are {labels.array.shape}, but micro is {micro.array.shape}; make them equal")
    specimen = micro.array[_is_lung(labels.array)]
    if not specimen.size:
        raise UserError(f"{folder}: labels.nii.gz marks no lung")
    low, high = np.percentile(specimen, percentiles)
    window = Window(float(low), float(high))
    return Pair(folder.name, clinical, micro, labels.array.astype(np.uint8), window, _matching(folder, clinical, micro))


def _is_lung(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    lung: npt.NDArray[np.bool_] = (labels != Label.OUTSIDE) & (labels != Label.CHEST_WALL)
    return lung


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
