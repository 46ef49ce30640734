"""What lies beside scans in their formats and is none: label maps, scouts, DICOM reports, pictures to look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pydicom
import tifffile
from pydicom.errors import InvalidDicomError

from ctsr.data.finding.label_maps import is_label_name, is_label_place, why_label_map
from ctsr.data.finding.layouts import FIRST_CHANNEL, channels_of
from ctsr.errors import some_of
from ctsr.imaging.formats.dicom.series import is_scout
from ctsr.imaging.formats.recognise import files_in, format_of, is_dicom, is_tiff, stem
from ctsr.imaging.formats.tiff.pages import listening

Reasons = dict[Path, str]

SECOND_VERSIONS = {  # BIDS: what was made of the scans, and what the scans were made of
    "derivatives": "a derivative",
    "sourcedata": "a source of another scan",
}
_MODALITIES = {  # of DICOM objects that are exported beside scans
    "SEG": "a DICOM segmentation",
    "RTSTRUCT": "DICOM outlines",
    "RTPLAN": "a radiotherapy plan",
    "RTDOSE": "a radiotherapy dose",
    "SR": "a DICOM report",
    "PR": "a DICOM presentation state",
    "KO": "a DICOM list of images",
    "REG": "a DICOM registration",
    "DOC": "a DICOM document",
}
COLOURS = 3
VOLUME = 3  # axes
NAMED = 3  # of those passed over in a message


def why_no_scan(path: Path) -> str | None:
    """Why a file or folder in a scan's format is none, as "a scout"; None: it may be one."""
    if format_of(path) == "dicom":
        return _dicom_object(path) or ("a scout" if is_scout(path) else None)
    if is_record(path.with_name(f"{stem(path)}.json")):
        return "a result of infer.py"
    return why_label_map(path, expected=is_label_name(path))


def is_record(path: Path) -> bool:
    """Whether a file tells where a result comes from, rather than what somebody else keeps beside a scan."""
    try:
        return "notice" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def beside(scans: Sequence[Path], root: Path, pictures_too: bool) -> Reasons:
    """Those of the candidates below a root that are no scan, and why.

    A folder named as label maps' are is believed, unless the first file in it is a scan by its voxels.

    Args:
        scans: Files and folders in a scan's format.
        root: They lie below it.
        pictures_too: Take stacks of PNG or BMP as scans beside scans of other formats, unless both are of one case.
    """
    reasons = {scan: "another channel" for scan, (_, n) in channels_of(scans).items() if n != FIRST_CHANNEL}
    second = {
        scan: SECOND_VERSIONS[part.name]
        for scan in scans
        for part in scan.relative_to(root).parents
        if part.name in SECOND_VERSIONS
    }
    if len(second) < len(scans):  # there are first ones
        reasons |= second
    places: dict[Path, bool] = {}
    for scan in scans:
        if scan in reasons:
            continue
        above = list(scan.relative_to(root).parents)
        place = next((root / part for part in above if is_label_place(part.name)), None)
        if place is None and is_label_place(scan.name):
            place = scan  # a folder of slices
        if place is not None and place not in places:
            places[place] = why_label_map(scan, expected=True) is not None
        reason = "a label map" if place is not None and places[place] else why_no_scan(scan)
        if reason is not None:
            reasons[scan] = reason
    return reasons | _pictures([scan for scan in scans if scan not in reasons], root, pictures_too)


def told(reasons: Reasons, root: Path) -> str:
    """One line over all that is passed over: "2 x a label map (a/heart.nii.gz, ...); a scout (S1000)"."""
    by_reason: dict[str, list[str]] = {}
    for path, reason in reasons.items():
        by_reason.setdefault(reason, []).append(str(path.relative_to(root)))
    return "; ".join(
        f"{f'{len(paths)} x ' if len(paths) > 1 else ''}{reason} ({some_of(paths, NAMED)})"
        for reason, paths in by_reason.items()
    )


def _dicom_object(path: Path) -> str | None:
    """What a DICOM file, or all files of a folder, are instead of images."""
    found = None
    for file in files_in(path) if path.is_dir() else [path]:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, force=True) if is_dicom(file) else None
        except (InvalidDicomError, OSError, EOFError, ValueError):  # damaged: the scan's reader tells
            header = None
        if header is not None:
            found = _MODALITIES.get(str(header.get("Modality", ""))) or _picture(header)
            if found is None:
                return None  # mostly at the first file
    return found


def _picture(header: pydicom.Dataset) -> str | None:
    """What a scanner's console saves beside its scans, such as the dose report."""
    if "SCREEN SAVE" in (header.get("ImageType") or []):
        return "a DICOM screenshot"
    return "a DICOM colour picture" if header.get("SamplesPerPixel") == COLOURS else None


def _pictures(scans: Sequence[Path], root: Path, pictures_too: bool) -> Reasons:
    """Pictures beside scans of other formats, which somebody made to look at."""
    pictures = [scan for scan in scans if format_of(scan) == "images" or _is_single_page(scan)]
    others = [scan.relative_to(root).parts[0] for scan in scans if scan not in pictures]
    return {
        scan: "a folder of pictures" if scan.is_dir() else "a picture"
        for scan in pictures
        if scan.relative_to(root).parts[0] in others or (others and not pictures_too)
    }


def _is_single_page(scan: Path) -> bool:
    """Whether a file is a TIFF of one slice, or in colour."""
    if scan.is_dir() or not is_tiff(scan):
        return False
    try:
        with listening([]), tifffile.TiffFile(scan) as tiff:
            return "S" in tiff.series[0].axes or tiff.series[0].ndim < VOLUME
    except (tifffile.TiffFileError, OSError, IndexError, ValueError):  # damaged: the scan's reader tells
        return False
