"""What DICOM headers say beside the scan: whose it is, and whether it is one at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from ctsr.imaging.formats import files_in, is_dicom

NO_SCANS = {  # modalities of what is exported beside scans
    "SEG": "a segmentation",
    "RTSTRUCT": "outlines",
    "RTPLAN": "a radiotherapy plan",
    "RTDOSE": "a radiotherapy dose",
    "SR": "a report",
    "PR": "a presentation state",
    "KO": "a list of key images",
    "REG": "a registration",
    "DOC": "a document",
}
_NOBODY = re.compile(r"anon(ymous|ymized|ymised|ymize|ym)?|unknown|none|n/?a|removed|[0\W_]*", re.IGNORECASE)
_TAGS = ["PatientID", "Modality", "ImageType"]


def patient_id(path: Path) -> str | None:
    """The PatientID of a scan's first file; None where it is empty, or a word that stands for nobody ("ANONYMOUS")."""
    for header in _headers(path):
        found = str(header.get("PatientID") or "").strip()
        return None if _NOBODY.fullmatch(found) else found
    return None


def why_no_dicom_scan(path: Path) -> str | None:
    """Why a DICOM file, or all files of a folder, are no scan: a scout, outlines, a report; None: they may be one."""
    reasons = []
    for header in _headers(path):
        reason = NO_SCANS.get(str(header.get("Modality", "")))
        if reason is None and "LOCALIZER" in (header.get("ImageType") or []):
            reason = "a scout"
        if reason is None:
            return None  # mostly after the first file
        reasons.append(reason)
    return reasons[0] if reasons else None


def _headers(path: Path) -> Iterator[pydicom.Dataset]:
    for file in files_in(path) if path.is_dir() else [path]:
        try:
            if is_dicom(file):
                yield pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=_TAGS)
        except (InvalidDicomError, OSError, ValueError):  # damaged: the scan's reader tells
            continue
