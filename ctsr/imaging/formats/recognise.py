"""Which files and folders are scans, and of which format: told by their names, and DICOM by its first bytes."""

from __future__ import annotations

import re
from pathlib import Path

from ctsr.errors import UserError
from ctsr.imaging.formats.content import Lack, lack_of
from ctsr.imaging.formats.table import TABLE

_BY_SUFFIX = {ending: row.name for row in TABLE.values() for ending in row.endings}
_TOLD = ", ".join(ending for ending in _BY_SUFFIX if ending != ".tiff")  # another name of .tif
FORMATS = f"a folder of DICOM, TIFF, PNG or BMP slices, an OME-Zarr folder, or a {_TOLD} or multi-frame .dcm file"
_PICTURES = (".png", ".bmp")
ZARR_MARKS = (".zattrs", ".zgroup", ".zarray", "zarr.json")
_DICOM = (".dcm", ".dicom", ".ima")
_NOT_DICOM = (".md", ".txt", ".json", ".csv", ".yaml", ".yml", ".xml", ".html", ".pdf", ".png", ".jpg", ".raw", ".zraw")
_ENDINGS = (".nii.gz", ".ome.zarr", *_BY_SUFFIX, *_PICTURES, ".zarr", ".hdr", *_DICOM, *_NOT_DICOM)
FEWEST_PICTURES = 3  # fewer are somebody's screenshots

_START = 256  # bytes of a DICOM file that tell what it is
# A data set without preamble: one of the tags that come first, then a value's kind, or its length.
_BARE = re.compile(
    rb"(?:\x02\x00[\x00-\x02\x10]|\x08\x00[\x00\x01\x05\x08\x12-\x18\x20])\x00(?:[A-Z]{2}|[\x00-\xfe]\x00\x00\x00)"
    rb"|\x00\x08\x00[\x00\x01\x05\x08\x12-\x18\x20][A-Z]{2}",  # big endian
    re.DOTALL,
)
# Classes without pixels: a disc's directory, presentation states, reports, registrations, documents, plans.
_NO_IMAGE = re.compile(
    rb"1\.2\.840\.10008\.(?:1\.3\.10|5\.1\.4\.1\.1\.(?:(?:11|88|104)\.|66(?:\.[1235])?(?![.\d])|481\.[3-9](?!\d)))"
)


def format_of(path: Path) -> str | None:
    """The format of the scan that a file or folder is.

    Returns:
        Its name in `TABLE`; None: no scan. A folder is one where its files together are one scan, not where it holds
        files that are scans each.
    """
    if path.is_file():
        if _is_nifti_header(path):
            return "nifti"
        return _BY_SUFFIX.get(suffix(path)) or ("dicom" if may_be_dicom(path) and is_dicom(path) else None)
    if any((path / mark).exists() for mark in ZARR_MARKS):
        return "ome-zarr"
    files, hollow = full_and_hollow(path)
    names = [*files, *hollow]  # a slice that was not fetched is one nevertheless
    tiffs = any(is_tiff(file) for file in files)
    previews = sum(map(is_tiff, names)) <= sum(map(may_be_dicom, names))  # at most one of each slice
    if previews and any(may_be_dicom(file) and is_dicom(file) for file in files):
        return "dicom"
    if tiffs:
        return "tiff"
    if any(_BY_SUFFIX.get(suffix(file)) for file in files):
        return None
    pictures = any(is_picture(file) for file in files) and sum(map(is_picture, names)) >= FEWEST_PICTURES
    return "images" if pictures else None


def suffix(path: Path) -> str:
    """The lower-case ending that names a file's format, such as ".nii.gz"; empty where it names none.

    What follows the last dot of a UID or of a date is no ending.
    """
    name = path.name.lower()
    return next((ending for ending in _ENDINGS if name.endswith(ending)), "")


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


def may_be_dicom(path: Path) -> bool:
    """Whether the name allows the file to be a DICOM image; most such files have no ending, or any."""
    if path.name.upper() == "DICOMDIR":  # a disc's index, whatever it holds
        return False
    return suffix(path) not in _NOT_DICOM and suffix(path) not in _BY_SUFFIX


def promises_scan(path: Path) -> bool:
    """Whether a file that lacks its content should be a scan or a slice, by its name, or since it is kept elsewhere."""
    if suffix(path) in (*_BY_SUFFIX, *_PICTURES, *_DICOM):
        return True
    numbered = not path.suffix and any(letter.isdigit() for letter in path.name)  # as slices are
    return may_be_dicom(path) and (path.is_symlink() or path.stat().st_size > 0 or numbered)


def is_called_dicom(path: Path) -> bool:
    """Whether its ending says that a file is DICOM."""
    return suffix(path) in _DICOM


def is_dicom(path: Path) -> bool:
    """Whether the file is a DICOM image, told by its first bytes: names tell nothing.

    Raises:
        UserError: It cannot be opened.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError as error:
        raise UserError(f"{path} cannot be opened: {error.strerror}") from error
    return (start[128:132] == b"DICM" or bool(_BARE.match(start))) and not _NO_IMAGE.search(start)


def files_in(folder: Path) -> list[Path]:
    """The visible files directly in a folder that have content, slice2 before slice10."""
    return full_and_hollow(folder)[0]


def hollow_in(folder: Path) -> dict[Path, Lack]:
    """The visible files directly in a folder that lack their content, in the same order, and what is wrong."""
    return full_and_hollow(folder)[1]


def full_and_hollow(folder: Path) -> tuple[list[Path], dict[Path, Lack]]:
    """`files_in` and `hollow_in` in one look: each asks every file of the folder for its content."""
    lacks = {path: lack_of(path) for path in visible(folder)}
    full = [path for path, lack in lacks.items() if lack is None and path.is_file()]
    return full, {path: lack for path, lack in lacks.items() if lack is not None}


def visible(folder: Path) -> list[Path]:
    """All that lies directly in a folder and is not hidden, slice2 before slice10."""
    return sorted((path for path in entries(folder) if not path.name.startswith(".")), key=natural_key)


def entries(folder: Path) -> list[Path]:
    """All that lies directly in a folder.

    Raises:
        UserError: It cannot be looked into.
    """
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder} cannot be opened: {error.strerror}") from error


def natural_key(path: Path) -> list[int | str]:
    """Sorts names by the numbers in them."""
    parts = re.split(r"(\d+)", path.name)
    return [int(part) if index % 2 else part.lower() for index, part in enumerate(parts)]
