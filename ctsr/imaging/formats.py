"""Which files are scans: told by their names, and by DICOM's mark."""

from __future__ import annotations

import re
from pathlib import Path

FORMATS = "a folder of DICOM or TIFF slices, or a .nii, .nii.gz, .tif or .tiff file"


def suffix(path: Path) -> str:
    """The lower-case ending that names a file's format; ".nii.gz" counts as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def stem(path: Path) -> str:
    """The file's name without that ending."""
    return path.name.removesuffix(path.name[len(path.name) - len(suffix(path)) :])


def is_nifti(path: Path) -> bool:
    """Whether the name is a NIfTI file's."""
    return suffix(path) in (".nii", ".nii.gz")


def is_tiff(path: Path) -> bool:
    """Whether the name is a TIFF file's."""
    return suffix(path) in (".tif", ".tiff")


def is_dicom(path: Path) -> bool:
    """Whether the file looks like DICOM: by name, or by the mark after its preamble."""
    if suffix(path) in (".dcm", ".dicom", ".ima"):
        return True
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def files_in(folder: Path) -> list[Path]:
    """The visible files directly in a folder, slice2 before slice10."""
    return sorted((p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")), key=natural_key)


def natural_key(path: Path) -> list[int | str]:
    """Sorts names by the numbers in them."""
    parts = re.split(r"(\d+)", path.name)
    return [int(part) if index % 2 else part.lower() for index, part in enumerate(parts)]
