"""Cases (one scan each) found in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os.path import exists
from pathlib import Path

from ctsr.data.finding.layouts import places
from ctsr.data.finding.patients import patient_of
from ctsr.errors import NOT_UTF_8, UserError, some_of, warn_once
from ctsr.imaging.formats.content import check_content, lack_of
from ctsr.imaging.formats.recognise import (
    FEWEST_PICTURES,
    FORMATS,
    files_in,
    format_of,
    full_and_hollow,
    is_called_dicom,
    is_tiff,
    natural_key,
    promises_scan,
    stem,
    visible,
)
from ctsr.imaging.formats.voxel_size import FileSpacing

NAMED = 5  # scans in a message


@dataclass(frozen=True)
class Case:
    """One scan.

    Attributes:
        name: Unique among the cases of its domain.
        path: What `ctsr.imaging.formats.readers.read_volume` reads.
        patient: Whose it is; without one, the case is a patient of its own.
        masks: Files that together are its mask; empty: looked for in the folder of masks, or found by the program.
        file_spacing: Voxel size in mm of files that do not tell, instead of the one for all cases.
        part: "train", "val" or "test", where a list says so; None: drawn.
        of_header: Whether `patient` was read out of a header: it is not written to files as it is.
    """

    name: str
    path: Path
    patient: str = ""
    masks: tuple[Path, ...] = ()
    file_spacing: FileSpacing = None
    part: str | None = None
    of_header: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "patient", self.patient or self.name)


def find_cases(
    root: str | Path, domain: str, files: str | None = None, patient: str | None = None, key: str | None = None
) -> list[Case]:
    """The scans at a place, sorted by name.

    Label maps, scouts, DICOM reports, and pictures beside scans are passed over, which is told on standard error.

    Args:
        root: One scan (a file, a folder of slices, or an OME-Zarr folder), or a folder of scans at any depth. Hidden
            and other files are passed over.
        domain: "clinical" or "micro", for error messages.
        files: Which files or folders below the root are the scans, as "*/ct.nii.gz"; None: all that look like scans.
        patient: See `ctsr.data.finding.patients.patient_of`.
        key: What the user gave the root as, for messages; None: the key of a training.

    Raises:
        UserError: Nothing is there, what is there is no scan, or two scans share a name.
    """
    from ctsr.data.finding.beside_scans import why_no_scan  # here, since what is prepared needs no readers

    root = Path(root).expanduser()
    key = f"{key or f'data.{domain}.root'}={root}"
    if not root.exists():
        lack = lack_of(root) if root.is_symlink() else None
        raise UserError(f"{key} {lack or f'does not exist: give {FORMATS}, or a folder of these'}")
    if files is not None:
        scans = _chosen(root, domain, files)
    elif root.is_file() or _is_scan(root):
        if (reason := why_no_scan(root)) is not None:
            raise UserError(f"{key} is no scan, but {reason}")
        _tell_of_scans_below(root)
        name = stem(root.resolve())
        return [_case(name, root, name, patient, domain)]
    else:
        scans = _scans_below(root, domain, key)
    placed = places(scans, root)
    by_name: dict[str, Path] = {}
    for scan, place in placed.items():
        if by_name.setdefault(place.name, scan) != scan:
            one, other = (path.relative_to(root) for path in (by_name[place.name], scan))
            raise UserError(f"{key}: {one} and {other} would both be case {place.name}: rename one")
    return [_case(name, scan, placed[scan].top, patient, domain) for name, scan in sorted(by_name.items())]


def _case(name: str, scan: Path, top: str, rule: str | None, domain: str) -> Case:
    try:
        str(scan).encode()  # as tables and records will have it
    except UnicodeEncodeError as error:
        raise UserError(f"{scan}: {NOT_UTF_8}") from error
    patient, of_header = patient_of(scan, name, top, rule, f"data.{domain}.patient")
    return Case(name, scan, patient, of_header=of_header)


def the_scan(path: Path, key: str, domain: str = "clinical") -> Path:
    """The one scan at a place or anywhere below it, such as on a disc or in a tree of studies.

    Args:
        path: Anything; what is neither a scan nor a folder is for the reader to refuse.
        key: What the user gave it as, for messages.
        domain: "clinical" or "micro": of µCT, pictures beside scans of other formats are scans, too.

    Raises:
        UserError: Nothing below is a scan, or several are.
    """
    if not path.is_dir():
        return path
    if _is_scan(path):
        _tell_of_scans_below(path)
        return path
    scans = _scans_below(path, domain, f"{key}={path}")
    if len(scans) > 1:
        raise UserError(f"{key}={path} holds {len(scans)} scans, but one is meant: give one of {some_of(scans, NAMED)}")
    return scans[0]


def _scans_below(root: Path, domain: str, key: str) -> list[Path]:
    """All scans below a root that is none itself; what lies beside them and is none is told."""
    from ctsr.data.finding.beside_scans import beside, told  # here, since what is prepared needs no readers

    candidates = list(_scans_in(root))
    reasons = beside(candidates, root, pictures_too=domain == "micro")
    scans = [scan for scan in candidates if scan not in reasons]
    if reasons and not scans:
        raise UserError(f"{key} holds no scan, but {told(reasons, root)}")
    if not scans:
        check_content([path for path in sorted(root.rglob("*")) if lack_of(path) and promises_scan(path)])
        raise UserError(f"{key} holds no scan: give {FORMATS}, or a folder of these")
    if reasons:
        warn_once(f"{key}: passed over {told(reasons, root)}")
    return scans


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
    check_content([path for path in scans if not path.exists()])
    other = next((path for path in scans if format_of(path) is None), None)
    if other is not None:
        raise UserError(f"{key} matches {other}, which is no scan: give {FORMATS}")
    return scans


def _scans_at(path: Path) -> Iterator[Path]:
    if path.is_symlink():
        if not path.exists():  # such as a file of a data set that was not fetched
            return
        if path.resolve() in path.parent.resolve().parents or path.resolve() == path.parent.resolve():
            return  # round and round
    if _is_scan(path):
        _tell_of_scans_below(path)
        yield path
    elif path.is_dir():
        yield from _scans_in(path)


def _scans_in(folder: Path) -> Iterator[Path]:
    """All scans below a folder that is none itself; what would be one if it had content is told, a line a folder."""
    full, without = full_and_hollow(folder)
    hollow = {
        file: lack
        for file, lack in without.items()
        if promises_scan(file) and not (exists(file) and format_of(file))  # its reader tells
    }
    if hollow:
        (first, lack), *others = hollow.items()
        names = some_of([file.name for file, _ in others], NAMED)
        too = f", and so are others that lack their content: {names}" if others else ""
        warn_once(f"{first} {lack.what}, and passed over{too}")
    damaged = [file for file in full if is_called_dicom(file) and format_of(file) is None]
    if damaged:
        warn_once(f"{folder}: passed over, since they are no DICOM images: {some_of([f.name for f in damaged], NAMED)}")
    for below in visible(folder):
        if below not in hollow:
            yield from _scans_at(below)


def _tell_of_scans_below(scan: Path) -> None:
    """Files in one folder are one scan; what lies in folders within it is another, and not looked at."""
    if scan.is_dir() and format_of(scan) != "ome-zarr" and (other := next(_scans_in_folders_of(scan), None)):
        warn_once(f"{scan} is a scan, those in folders below it are passed over, as {other.relative_to(scan)}")


def _scans_in_folders_of(folder: Path) -> Iterator[Path]:
    return (scan for path in visible(folder) if path.is_dir() for scan in _scans_at(path))


def _is_scan(path: Path) -> bool:
    """Whether a file, or the files in a folder together, are in a scan's format."""
    found = format_of(path)
    if found in ("tiff", "images") and path.is_dir():
        return not _is_of_pictures(path, found)
    if found == "dicom" and path.is_dir() and any(True for _ in _scans_in_folders_of(path)):
        from ctsr.data.finding.beside_scans import why_no_scan

        return why_no_scan(path) is None  # a scout on top of a study is none of its scans
    return found is not None


def _is_of_pictures(folder: Path, found: str) -> bool:
    """Whether the TIFF, PNG or BMP files in a folder are pictures beside scans, or volumes, rather than slices."""
    # Here, since training on prepared cases should not need their libraries.
    from ctsr.imaging.formats.readers import probe
    from ctsr.imaging.formats.tiff.reader import holds_slices

    other_scans = any(format_of(scan) not in ("tiff", "images") for scan in _scans_in_folders_of(folder))
    if found == "tiff":
        tiffs = [file for file in files_in(folder) if is_tiff(file)]
        beside = other_scans or any(format_of(f) not in (None, "tiff") for f in files_in(folder))
        if len(tiffs) < FEWEST_PICTURES and beside:
            return True
        try:
            if not holds_slices(folder):
                return True
        except UserError:
            return other_scans  # else its reader tells what is wrong with it, and the other cases are seen nevertheless
    if not other_scans:
        return False
    try:
        probe(folder, spacing=1.0)
    except UserError:
        return True  # no stack: a viewer's icons
    return False
