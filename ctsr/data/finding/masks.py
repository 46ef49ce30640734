"""Masks that users bring instead of those the program finds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ctsr.data.finding.cases import Case
from ctsr.errors import UserError
from ctsr.imaging.formats.readers import probe, read_volume
from ctsr.imaging.formats.recognise import format_of, stem
from ctsr.imaging.formats.segments import has_layers, read_layers
from ctsr.imaging.volume import Header, Volume

NAMES = ("{}", "{}_mask", "{}-mask", "{}_lung", "{}_lungs", "{}_seg", "{}.seg", "{}-label", "{}_label", "{}_labels")
"""How a mask is named after its case, before the ending of its format; or a folder of that name with it inside."""

ELSEWHERE = "the mask {} lies outside the scan it is for"
_BIDS = re.compile(r"(sub-[^_]+(?:_[a-z]+-[^_]+)*)_[A-Za-z0-9]+")  # entities, and what the file is: _ct
_LUNG = re.compile(r"lungs?([_-](left|right|upper|middle|lower|lobe))*")  # of one file for each organ or lobe


def find_masks(folder: str | Path | None, case: Case, domain: str) -> tuple[Path, ...]:
    """The files that together are a case's mask; none where the program is to find it.

    Args:
        folder: Where the masks are, at any depth: named after the case (see `NAMES`), or after its scan (BIDS: ending
            in _mask or _dseg), or in a folder of the case's name. Of several in there the lungs count together
            (TotalSegmentator). None: nowhere.
        case: Its own masks count before those of the folder.
        domain: "clinical" or "micro", for the error.

    Raises:
        UserError: There is no folder, or in it no mask, or more than one, for that case.
    """
    if case.masks or folder is None:
        return case.masks
    folder = Path(folder).expanduser()
    key = f"data.{domain}.masks={folder}"
    if not folder.is_dir():
        raise UserError(f"{key} is no folder: give one with a mask for each case")
    named = _named(folder.iterdir(), folder, case) or _named(folder.rglob("*"), folder, case)
    named = [path for path in named if _is_of_scan(path, case)] or named
    depth = min((len(path.parts) for path in named), default=0)
    found = {scan for path in named if len(path.parts) == depth for scan in _scans(path)}
    found = {scan for scan in found if scan.resolve() != case.path.resolve()}
    lungs = {scan for scan in found if _LUNG.fullmatch(stem(scan))}
    if domain == "clinical" and len(found) > 1 and lungs:
        return tuple(sorted(lungs))
    if len(found) > 1:
        from ctsr.data.finding.label_maps import why_label_map  # here, since what is prepared needs no readers

        found = {scan for scan in found if why_label_map(scan, expected=True) is not None}
    if len(found) != 1:
        what = f"{len(found)} masks ({', '.join(sorted(scan.name for scan in found)[:3])} ...)" if found else "no mask"
        raise UserError(f"{key} holds {what} of {domain} case {case.name}: name it {case.name}.nii.gz, .mha, .nrrd ...")
    return tuple(found)


def check_masks(paths: Sequence[Path], scan: Header) -> None:
    """Make sure, before any work, that masks are where their scan is.

    Raises:
        UserError: One cannot be read, or the boxes that it and the scan fill in the world do not meet.
    """
    for path in paths:
        mask = read_layers(path) if has_layers(path) else probe(path)
        corners = np.array(list(product(*((-0.5, size - 0.5) for size in mask.shape), (1.0,))))
        there = (np.linalg.inv(scan.affine) @ mask.affine @ corners.T)[:3].T
        if (there.max(axis=0) < 0).any() or (there.min(axis=0) > np.array(scan.shape) - 1).any():
            raise UserError(f"{ELSEWHERE.format(path)}: their places in the world do not overlap")


def read_masks(paths: Sequence[Path], volume: Volume) -> npt.NDArray[np.bool_]:
    """Read masks onto the grid of the scan they belong to.

    Args:
        paths: Of any format that is read; everything but 0 is inside, so that segmentations of several labels will do.
        volume: The scan, as read.

    Returns:
        True inside any of them, the scan's shape; resampled to the nearest voxel where a mask has another grid.

    Raises:
        UserError: They are empty, one lies elsewhere in the world than the scan, or is no mask.
    """
    inside = np.logical_or.reduce([_read(path, volume) for path in paths])
    if not inside.any():
        raise UserError(f"the mask {paths[0]} is empty")
    return np.asarray(inside, dtype=bool)


def _read(path: Path, volume: Volume) -> npt.NDArray[np.bool_]:
    mask = read_layers(path) if has_layers(path) else read_volume(path)
    if mask.array.min() < 0:
        raise UserError(f"the mask {path} goes down to {mask.array.min():g}: is it a scan? Give 0 outside, 1 inside")
    inside = mask.array != 0
    to_mask = np.linalg.inv(mask.affine) @ volume.affine
    if inside.shape == volume.array.shape and np.allclose(to_mask, np.eye(4), atol=0.05 / max(inside.shape)):
        return np.asarray(inside, dtype=bool)
    there: npt.NDArray[np.bool_] = ndimage.affine_transform(
        inside.astype(np.uint8), to_mask[:3, :3], to_mask[:3, 3], volume.array.shape, order=0, mode="grid-constant"
    ).astype(bool)  # a grid's outermost voxels reach half a voxel beyond their centres
    if inside.any() and not there.any():
        raise UserError(f"{ELSEWHERE.format(path)}: their places in the world do not overlap")
    return there


def _named(paths: Iterable[Path], folder: Path, case: Case) -> list[Path]:
    return [
        path
        for path in paths
        if (_is_of_case(path, case) or _is_of_scan(path, case)) and not _hidden(path.relative_to(folder))
    ]


def _is_of_case(path: Path, case: Case) -> bool:
    return stem(path) in {pattern.format(case.name) for pattern in NAMES}


def _is_of_scan(path: Path, case: Case) -> bool:
    entities = _BIDS.fullmatch(stem(case.path))
    return entities is not None and re.fullmatch(rf"{entities[1]}(_.+)?_(mask|dseg)", stem(path)) is not None


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _scans(path: Path) -> Iterator[Path]:
    """A file or folder that is a scan itself, or all scans below it."""
    if format_of(path) is not None:
        yield path
    elif path.is_dir():
        for below in sorted(path.iterdir()):
            if not below.name.startswith("."):
                yield from _scans(below)
