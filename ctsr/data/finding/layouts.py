"""Names of cases by the place of their files: patient trees, BIDS, nnU-Net, Medical Segmentation Decathlon."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ctsr.imaging.formats.recognise import stem

_IMAGES = ("imagesTr", "imagesTs", "imagesVal")  # nnU-Net, Medical Segmentation Decathlon: a file for each patient
_KINDS = (
    "image",
    "images",
    "scan",
    "scans",
    "volumes",
    "ct",
    "nifti",
    "nrrd",
    "dicom",
    "tiff",
    "tif",
    "raw",
    "rawdata",
    "sourcedata",
    "derivatives",
)
_PARTS = ("train", "training", "val", "validation", "test", "testing")
_NO_PATIENTS = (*map(str.lower, _IMAGES), *_KINDS, *_PARTS)  # a folder of such a name is nobody's
_CHANNEL = re.compile(r"(.+)_(\d{4})")
FIRST_CHANNEL = "0000"


class Place(NamedTuple):
    """What a scan's place says.

    Attributes:
        name: Of the case; unique where the files' names are.
        top: The folder directly below the root that it lies in; the case's name, where it lies in none.
    """

    name: str
    top: str


def places(scans: Sequence[Path], root: Path) -> dict[Path, Place]:
    """Name scans by where they lie below a root.

    A folder below the root with one scan in it gives it its name. Of several, each is named by all folders on the way
    to it; or by its own name alone, where that begins with the folder's (BIDS). nnU-Net's channel is no part of a name,
    nor is a first folder that tells a kind of file or a part of the data (images, imagesTr, train), where names stay
    unique without it.
    """
    shorter = _named(scans, root, _NO_PATIENTS)
    names = {place.name for place in shorter.values()}
    if len(names) == len(scans):
        return shorter
    return {scan: Place(full.name, shorter[scan].top) for scan, full in _named(scans, root, ()).items()}


def _named(scans: Sequence[Path], root: Path, skipped: Container[str]) -> dict[Path, Place]:
    channels = channels_of(scans)
    below = {scan: scan.relative_to(root).parts for scan in scans}
    members = Counter(parts[0] for parts in below.values())
    dropped = {top for top, count in members.items() if top.lower() in skipped and (count > 1 or top in _IMAGES)}
    below = {scan: parts[1:] if parts[1:] and parts[0] in dropped else parts for scan, parts in below.items()}
    members = Counter(parts[0] for parts in below.values())
    named = {}
    for scan, parts in below.items():
        own = channels[scan][0] if scan in channels else stem(scan)
        if len(parts) == 1:
            named[scan] = Place(own, own)
        elif members[parts[0]] == 1:
            named[scan] = Place(parts[0], parts[0])
        else:
            name = own if own.startswith(f"{parts[0]}_") else "-".join((*parts[:-1], own))
            named[scan] = Place(name, own if scan.parent.name in _IMAGES else parts[0])
    return named


def channels_of(scans: Sequence[Path]) -> Mapping[Path, tuple[str, str]]:
    """Case and channel of the scans of nnU-Net: <case>_0000, <case>_0001.

    In a folder whose files are numbered cases instead, such as case_0000 to case_0041, nothing is a channel.
    """
    split: dict[Path, tuple[str, str]] = {}
    folders = dict.fromkeys(scan.parent for scan in scans if scan.resolve().parent.name in _IMAGES)
    for folder in folders:
        found = {scan: _CHANNEL.fullmatch(stem(scan)) for scan in scans if scan.parent == folder}
        parts = {scan: (match[1], match[2]) for scan, match in found.items() if match}
        cases = Counter(case for case, _ in parts.values())
        first = {case for case, channel in parts.values() if channel == FIRST_CHANNEL}
        told = _channels_told(folder.resolve().parent / "dataset.json")
        if len(parts) == len(found) and first == set(cases) and (len(cases) > 1 or max(cases.values()) in (1, told)):
            split |= parts
    return split


def _channels_told(dataset: Path) -> int | None:
    """How many channels nnU-Net's description of a data set tells."""
    try:
        content = json.loads(dataset.read_text(encoding="utf-8"))
        return len(content.get("channel_names") or content["modality"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or not nnU-Net's
        return None
