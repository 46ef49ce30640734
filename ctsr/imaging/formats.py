"""Which files and folders are scans, and of which format: told by their names, and by DICOM's mark."""

from __future__ import annotations

import re
from pathlib import Path

FORMATS = (
    "a folder of DICOM, TIFF, PNG or BMP slices, an OME-Zarr folder, "
    "or a .nii, .nii.gz, .mha, .mhd, .nrrd, .nhdr, .tif or multi-frame .dcm file"
)
_BY_SUFFIX = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".mha": "metaimage",
    ".mhd": "metaimage",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".tif": "tiff",
    ".tiff": "tiff",
}
_PICTURES = (".png", ".bmp")
_ZARR_MARKS = (".zattrs", ".zgroup", ".zarray", "zarr.json")
_NOT_DICOM = (".md", ".txt", ".json", ".csv", ".yaml", ".yml", ".xml", ".html", ".pdf", ".png", ".jpg", ".raw", ".zraw")
FEWEST_PICTURES = 3  # fewer are somebody's screenshots


def format_of(path: Path) -> str | None:
    """The format of the scan that a file or folder is.

    Returns:
        "nifti", "metaimage", "nrrd", "tiff", "dicom", "images" or "ome-zarr"; None: no scan. A folder is one where its
        files together are one scan, not where it holds files that are scans each.
    """
    if path.is_file():
        if _is_nifti_header(path):
            return "nifti"
        return _BY_SUFFIX.get(suffix(path)) or ("dicom" if _may_be_dicom(path) and is_dicom(path) else None)
    if any((path / mark).exists() for mark in _ZARR_MARKS):
        return "ome-zarr"
    files = files_in(path)
    if any(is_tiff(file) for file in files):
        return "tiff"
    candidates = [file for file in files if _may_be_dicom(file)]
    if any(is_dicom(file) for file in candidates[:3]):
        return "dicom"
    if any(_BY_SUFFIX.get(suffix(file)) for file in files):
        return None
    return "images" if sum(is_picture(file) for file in files) >= FEWEST_PICTURES else None


def suffix(path: Path) -> str:
    """The lower-case ending that names a file's format; ".nii.gz" and ".ome.zarr" count as one."""
    name = path.name.lower()
    double = next((ending for ending in (".nii.gz", ".ome.zarr") if name.endswith(ending)), None)
    return double or Path(name).suffix


def stem(path: Path) -> str:
    """The file's name without that ending; of folders only those of Zarr have one."""
    if path.is_dir() and not path.name.lower().endswith(".zarr"):
        return path.name
    return path.name.removesuffix(path.name[len(path.name) - len(suffix(path)) :])


def is_nifti(path: Path) -> bool:
    """Whether the name is a NIfTI file's."""
    return _BY_SUFFIX.get(suffix(path)) == "nifti"


def _is_nifti_header(path: Path) -> bool:
    """Whether it is the .hdr of a NIfTI pair; other formats use that name too."""
    if suffix(path) != ".hdr":
        return False
    with path.open("rb") as file:
        start = file.read(348)
    return start[344:347] == b"ni1" or start[4:7] == b"ni2"


def is_tiff(path: Path) -> bool:
    """Whether the name is a TIFF file's."""
    return _BY_SUFFIX.get(suffix(path)) == "tiff"


def is_picture(path: Path) -> bool:
    """Whether the name is a PNG's or BMP's."""
    return suffix(path) in _PICTURES


def is_dicom(path: Path) -> bool:
    """Whether the file looks like DICOM: by name, or by the mark after its preamble."""
    if suffix(path) in (".dcm", ".dicom", ".ima"):
        return True
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _may_be_dicom(path: Path) -> bool:
    return suffix(path) not in _NOT_DICOM and suffix(path) not in _BY_SUFFIX


def files_in(folder: Path) -> list[Path]:
    """The visible files directly in a folder, slice2 before slice10."""
    return sorted((p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")), key=natural_key)


def natural_key(path: Path) -> list[int | str]:
    """Sorts names by the numbers in them."""
    parts = re.split(r"(\d+)", path.name)
    return [int(part) if index % 2 else part.lower() for index, part in enumerate(parts)]
