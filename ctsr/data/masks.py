"""Masks that users bring instead of those the program finds."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ctsr.errors import UserError
from ctsr.imaging.formats import files_in, format_of, stem
from ctsr.imaging.readers import probe, read_volume
from ctsr.imaging.volume import Header, Volume

NAMES = ("{}", "{}_mask", "{}_lung", "{}_lungs", "{}_seg")
"""How a mask is named after its case, before the ending of its format; or a folder of that name with one scan in it."""

ELSEWHERE = "the mask {} lies outside the scan it is for"


def find_mask(folder: str | Path, name: str, domain: str) -> Path:
    """The mask of a case.

    Args:
        folder: Where the masks are.
        name: The case's.
        domain: "clinical" or "micro", for the error.

    Raises:
        UserError: There is no folder, or in it no mask, or more than one, of that name.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise UserError(f"data.{domain}.masks={folder} is no folder: give one with a mask for each case")
    wanted = [pattern.format(name) for pattern in NAMES]
    found = [path for path in folder.iterdir() if stem(path) in wanted and not path.name.startswith(".")]
    found = [scan for path in found for scan in _scans(path)]
    if len(found) != 1:
        what = f"{len(found)} masks" if found else "no mask"
        raise UserError(
            f"data.{domain}.masks={folder} holds {what} of {domain} case {name}: name it {name}.nii.gz, .mha, .nrrd ..."
        )
    return found[0]


def check_mask(path: Path, scan: Header) -> None:
    """Make sure, before any work, that a mask is where its scan is.

    Raises:
        UserError: It cannot be read, or the boxes that the two fill in the world do not meet.
    """
    mask = probe(path)
    corners = np.array(list(product(*((-0.5, size - 0.5) for size in mask.shape), (1.0,))))
    there = (np.linalg.inv(scan.affine) @ mask.affine @ corners.T)[:3].T
    if (there.max(axis=0) < 0).any() or (there.min(axis=0) > np.array(scan.shape) - 1).any():
        raise UserError(f"{ELSEWHERE.format(path)}: their places in the world do not overlap")


def read_mask(path: Path, volume: Volume) -> npt.NDArray[np.bool_]:
    """Read a mask onto the grid of the scan it belongs to.

    Args:
        path: Of any format that is read; everything but 0 is inside, so that segmentations of several labels will do.
        volume: The scan, as read.

    Returns:
        True inside, the scan's shape; resampled to the nearest voxel where the mask has another grid.

    Raises:
        UserError: The mask is empty, or lies elsewhere in the world than the scan.
    """
    mask = read_volume(path)
    inside = mask.array != 0
    if not inside.any():
        raise UserError(f"the mask {path} is empty")
    to_mask = np.linalg.inv(mask.affine) @ volume.affine
    if inside.shape == volume.array.shape and np.allclose(to_mask, np.eye(4), atol=0.05 / max(inside.shape)):
        return np.asarray(inside, dtype=bool)
    there: npt.NDArray[np.bool_] = ndimage.affine_transform(
        inside.astype(np.uint8), to_mask[:3, :3], to_mask[:3, 3], volume.array.shape, order=0
    ).astype(bool)
    if not there.any():
        raise UserError(f"{ELSEWHERE.format(path)}: their places in the world do not overlap")
    return there


def _scans(path: Path) -> list[Path]:
    if format_of(path) is not None:
        return [path]
    return [file for file in files_in(path) if format_of(file) is not None] if path.is_dir() else []
