"""A lung seen by both scanners: the clinical scan, and the micro-CT truth on exactly the x8 grid.

A lung may also have clinical scans of several kinds (kernels, slice thicknesses), each a pair with the one micro-CT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ctsr.errors import UserError
from ctsr.imaging.anatomy.specimen import specimen_mask
from ctsr.imaging.formats.readers import read_volume
from ctsr.imaging.intensity import Window, robust_window
from ctsr.imaging.kernel.transfer import Softening, filtered_scan
from ctsr.imaging.orientation import canonical
from ctsr.imaging.resample import resampled_affine
from ctsr.imaging.volume import SCALE, Volume
from ctsr.phantom.labels import Label

ENDING = ".nii.gz"
MICRO, LABELS = f"micro{ENDING}", f"labels{ENDING}"

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
        filtered: The clinical scan after filters, by their names.
    """

    name: str
    clinical: Volume
    micro: Volume
    inside: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.uint8] | None
    window: Window
    slices: tuple[tuple[int, int], ...]
    filtered: Mapping[str, Volume] = field(default_factory=dict)

    def after(self, name: str) -> Pair:
        """The same lung with the clinical scan after one of the filters."""
        return replace(self, clinical=self.filtered[name])

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


Filters = Callable[[str, str, Volume], Mapping[str, Softening | None]]
"""The kind and the case of a whole scan, and it, to filters by their names; None: it is left as it is."""


def no_filters(kind: str, case: str, scan: Volume) -> Mapping[str, Softening | None]:
    """None at all."""
    return {}


def find_pairs(root: Path) -> list[Path]:
    """Folders of the paired cases under `root`: those with a clinical.nii.gz, sorted by name.

    Raises:
        UserError: If there is none.
    """
    folders = sorted(file.parent for file in root.glob("*/clinical.nii.gz"))
    if not folders:
        raise UserError(f"{root} holds no paired cases: each is a folder with clinical, micro and labels.nii.gz")
    return folders


def find_projections(root: Path) -> list[Path]:
    """Folders of the lungs under `root` that a scanner took in several kinds of acquisition, sorted by name.

    Raises:
        UserError: There is none, or one without an acquisition.
    """
    folders = sorted({file.parent for file in root.glob(f"*/[!.]*{ENDING}")})
    if not folders:
        raise UserError(f"{root} holds no lungs: each is a folder with {MICRO}, {LABELS} and a scan of each kind")
    if bare := [str(folder) for folder in folders if not scans_of(folder)]:
        raise UserError(f"{', '.join(bare)}: no clinical scan lies beside {MICRO}: add one or remove the folder")
    return folders


def scans_of(folder: Path) -> dict[str, Path]:
    """The clinical scans of such a lung, by their kind: every .nii.gz but micro and labels, sorted by name."""
    files = sorted(file for file in folder.glob(f"[!.]*{ENDING}") if file.name not in (MICRO, LABELS))
    return {file.name.removesuffix(ENDING): file for file in files}


def load_pair(
    folder: Path, percentiles: Sequence[float] = (0.5, 99.5), filters: Filters = no_filters, kind: str = "clinical"
) -> Pair:
    """Read a paired case: clinical.nii.gz, micro.nii.gz and, if there is one, labels.nii.gz.

    The clinical scan may show more than the micro-CT in the plane: it is cut to what that covers.

    Args:
        folder: Where the files are; its name becomes the case's.
        percentiles: Micro-CT greys inside the specimen that become -1 and +1, as for training cases.
        filters: Finds those that the clinical scan is also given after.
        kind: What the scan is called there.

    Raises:
        UserError: A file is missing, or the two scans do not share one x8 grid.
    """
    (pair,) = _load(folder, {kind: folder / f"clinical{ENDING}"}, percentiles, filters).values()
    return pair


def load_kinds(
    folder: Path, percentiles: Sequence[float] = (0.5, 99.5), filters: Filters = no_filters
) -> dict[str, Pair]:
    """Read a lung of `find_projections`: a pair for each kind of acquisition; all share the micro-CT's arrays.

    Args:
        folder: As for `load_pair`, with the scans of `scans_of` in place of the one.
        percentiles: As for `load_pair`.
        filters: As for `load_pair`.

    Raises:
        UserError: As for `load_pair`.
    """
    return _load(folder, scans_of(folder), percentiles, filters)


def _load(folder: Path, scans: Mapping[str, Path], percentiles: Sequence[float], filters: Filters) -> dict[str, Pair]:
    micro = _read(folder / MICRO)
    labels = None
    if (folder / LABELS).exists():
        labels = _read(folder / LABELS).array.astype(np.uint8)
        if labels.shape != micro.array.shape:
            raise UserError(f"{folder}: labels are {labels.shape}, but micro is {micro.array.shape}; make them equal")
        inside = ~np.isin(labels, (Label.OUTSIDE, Label.CHEST_WALL))
        if not inside.any():
            raise UserError(f"{folder}: {LABELS} marks no lung")
    else:
        inside = specimen_mask(micro.array, micro.spacing)
    window = robust_window(micro.array, inside, percentiles)
    pairs = {}
    for kind, path in scans.items():
        scan = _read(path)
        clinical = _covered(path, scan, micro)
        slices = _matching(path, clinical, micro)
        filtered = {
            name: clinical if one is None else _covered(path, filtered_scan(scan, one), micro)
            for name, one in filters(kind, folder.name, scan).items()
        }
        pairs[kind] = Pair(folder.name, clinical, micro, inside, labels, window, slices, filtered)
    return pairs


def _read(path: Path) -> Volume:
    return canonical(read_volume(path))[0]


def _covered(path: Path, clinical: Volume, micro: Volume) -> Volume:
    """The part of a clinical scan that the micro-CT covers in the plane, to the nearest pixel."""
    corner = np.linalg.inv(clinical.affine) @ micro.affine @ (0.0, -0.5, -0.5, 1.0)  # outer edge of the first pixel
    y, x = np.rint(corner[1:3] + 0.5).astype(int)
    height, width = (size // SCALE for size in micro.array.shape[1:])
    rows, columns = clinical.array.shape[1:]
    if min(y, x) < 0 or y + height > rows or x + width > columns:
        raise UserError(f"{path} does not show all of {MICRO} in the plane: give a scan with a larger field of view")
    affine = clinical.affine.copy()
    affine[:, 3] = clinical.affine @ (0, y, x, 1)
    # A copy: a view would keep the whole scan in memory.
    return Volume(clinical.array[:, y : y + height, x : x + width].copy(), affine)


def _matching(path: Path, clinical: Volume, micro: Volume) -> tuple[tuple[int, int], ...]:
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
            f"{path.parent}: {MICRO} is not on the x8 grid of {path.name}: {micro.array.shape[1:]} pixels instead of "
            f"{(height, width)}, {off:.2f} pixels apart; make their pixels' outer edges agree"
        )
    nearest = np.rint(landed[::4, 0]).astype(int)
    return tuple((k, int(z)) for k, z in enumerate(nearest) if 0 <= z < micro.array.shape[0])
