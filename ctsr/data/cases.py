"""Cases (one scan each) found in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ctsr.data.layouts import places
from ctsr.data.patients import patient_of
from ctsr.errors import UserError, warn_once
from ctsr.imaging.formats import FEWEST_PICTURES, FORMATS, files_in, format_of, is_tiff, natural_key, stem
from ctsr.imaging.voxel_size import FileSpacing


@dataclass(frozen=True)
class Case:
    """One scan.

    Attributes:
        name: Unique among the cases of its domain.
        path: What `ctsr.imaging.readers.read_volume` reads.
        patient: Whose it is; without one, the case is a patient of its own.
        masks: Files that together are its mask; empty: looked for in the folder of masks, or found by the program.
        file_spacing: Voxel size in mm of files that do not tell, instead of the one for all cases.
        part: "train", "val" or "test", where a list says so; None: drawn.
    """

    name: str
    path: Path
    patient: str = ""
    masks: tuple[Path, ...] = ()
    file_spacing: FileSpacing = None
    part: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "patient", self.patient or self.name)


def find_cases(root: str | Path, domain: str, files: str | None = None, patient: str | None = None) -> list[Case]:
    """The scans at a place, sorted by name.

    Label maps, scouts, DICOM reports, and pictures beside scans are passed over, which is told on standard error.

    Args:
        root: One scan (a file, a folder of slices, or an OME-Zarr folder), or a folder of scans at any depth. Hidden
            and other files are passed over.
        domain: "clinical" or "micro", for error messages.
        files: Which files or folders below the root are the scans, as "*/ct.nii.gz"; None: all that look like scans.
        patient: See `ctsr.data.patients.patient_of`.

    Raises:
        UserError: Nothing is there, what is there is no scan, or two scans share a name.
    """
    from ctsr.data.beside_scans import beside, told, why_no_scan  # here, since what is prepared needs no readers

    root = Path(root).expanduser()
    key = f"data.{domain}.root={root}"
    if not root.exists():
        raise UserError(f"{key} does not exist: give {FORMATS}, or a folder of these")
    if files is not None:
        scans = _chosen(root, domain, files)
    elif root.is_file() or _is_scan(root):
        if (reason := why_no_scan(root)) is not None:
            raise UserError(f"{key} is no scan, but {reason}")
        name = stem(root.resolve())
        return [Case(name, root, patient_of(root, name, name, patient, f"data.{domain}.patient"))]
    else:
        candidates = [scan for path in _visible(root) for scan in _scans_at(path)]
        reasons = beside(candidates, root, pictures_too=domain == "micro")
        scans = [scan for scan in candidates if scan not in reasons]
        if reasons and not scans:
            raise UserError(f"{key} holds no scan, but {told(reasons, root)}")
        if not scans:
            raise UserError(f"{key} holds no scan: give {FORMATS}, or a folder of these")
        if reasons:
            warn_once(f"{key}: passed over {told(reasons, root)}")
    placed = places(scans, root)
    by_name: dict[str, Path] = {}
    for scan, place in placed.items():
        if by_name.setdefault(place.name, scan) != scan:
            one, other = (path.relative_to(root) for path in (by_name[place.name], scan))
            raise UserError(f"{key}: {one} and {other} would both be case {place.name}: rename one")
    rule_key = f"data.{domain}.patient"
    return [
        Case(name, scan, patient_of(scan, *placed[scan], patient, rule_key)) for name, scan in sorted(by_name.items())
    ]


def _chosen(root: Path, domain: str, files: str) -> list[Path]:
    """The scans that the user's pattern names, whatever else they look like."""
    key = f"data.{domain}.files={files}"
    try:
        scans = sorted((path for path in root.glob(files) if not path.name.startswith(".")), key=natural_key)
    except (NotImplementedError, ValueError) as error:
        raise UserError(
            f"{key} is no pattern of files below data.{domain}.root: give one such as */ct.nii.gz"
        ) from error
    if not scans:
        raise UserError(f"{key} matches nothing below {root}: give a pattern such as */ct.nii.gz")
    other = next((path for path in scans if format_of(path) is None), None)
    if other is not None:
        raise UserError(f"{key} matches {other}, which is no scan: give {FORMATS}")
    return scans


def _scans_at(path: Path) -> Iterator[Path]:
    if _is_scan(path):
        yield path
    elif path.is_dir():
        for below in _visible(path):
            yield from _scans_at(below)


def _visible(folder: Path) -> list[Path]:
    return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=natural_key)


def _is_scan(path: Path) -> bool:
    """Whether a file, or the files in a folder together, are in a scan's format."""
    found = format_of(path)
    if found == "tiff" and path.is_dir():
        from ctsr.imaging.tiff import holds_slices  # here, since training on prepared cases should not need its library

        tiffs = [file for file in files_in(path) if is_tiff(file)]
        if len(tiffs) < FEWEST_PICTURES and any(format_of(f) not in (None, "tiff") for f in files_in(path)):
            return False  # a picture or two beside a scan
        try:
            return holds_slices(path)
        except UserError:
            return True  # its reader tells what is wrong with it, and the other cases are seen nevertheless
    return found is not None
