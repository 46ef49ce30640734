"""Which DICOM series a file or folder holds, and which of them is meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from ctsr.errors import UserError
from ctsr.imaging.formats.dicom.headers import ImageHeader, image_headers
from ctsr.imaging.formats.recognise import FORMATS

LISTED = 12  # series in a message
FEWEST_SLICES = 3  # of a series that is a scan; fewer are scouts, or pictures
_SCOUT = re.compile("scout|topogram|surview|localizer|scanogram", re.IGNORECASE)
_DRAWN = ("SEG", "RTDOSE", "OT")  # modalities of what was made from a scan, or is a picture of it
_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # SOP classes of pictures of a screen, or of what some converter wrote


@dataclass(frozen=True)
class Series:
    """A series in a folder.

    Attributes:
        uid: Its unique identifier.
        number: As the scanner's console counts them; empty where it is not told.
        description: What the scanner's console calls it.
        headers: Of its files.
        slices: How many slices they hold.
        aside: What it is where it is no scan, such as "scout"; empty: a scan.
    """

    uid: str
    number: str
    description: str
    headers: tuple[ImageHeader, ...]
    slices: int
    aside: str

    def __str__(self) -> str:
        return f"{self.name} ({self.slices} slices{f', {self.aside}' if self.aside else ''})"

    @property
    def name(self) -> str:
        """Number and description, or whatever it has."""
        return f"{self.number} '{self.description}'".strip() if self.description else self.number or self.uid

    @property
    def full(self) -> str:
        """What tells it from another of the same number and description."""
        return f"{self.uid}: {self}"

    @property
    def is_scan(self) -> bool:
        """Whether it is what is meant where nothing is said."""
        return not self.aside and self.slices >= FEWEST_SLICES


def find_series(path: Path) -> list[Series]:
    """The series in a folder or file, in the order of their numbers; a scout within a series counts as another.

    Raises:
        UserError: There is none, or a file is damaged.
    """
    groups: dict[tuple[str, str, str], list[ImageHeader]] = {}
    for header in image_headers(path):
        # Programs that remove names give one UID to all at times, but two patients are never one series.
        group = header.text("SeriesInstanceUID"), header.text("PatientID"), _aside(header)
        groups.setdefault(group, []).append(header)
    if not groups:
        raise UserError(f"{path} holds no scan that can be read: give {FORMATS}")
    found = [
        Series(
            uid=uid,
            number=headers[0].text("SeriesNumber"),
            description=headers[0].text("SeriesDescription"),
            headers=tuple(headers),
            slices=sum(header.frames for header in headers),
            aside=aside,
        )
        for (uid, _, aside), headers in groups.items()
    ]
    return sorted(found, key=lambda s: (int(s.number) if s.number.isdecimal() else 0, s.uid))


def choose(path: Path, found: list[Series], wanted: str | None) -> Series:
    """The one series that is meant.

    Args:
        path: Where they are, for the error.
        found: All that are there.
        wanted: Number, UID, description or part of it, or the series as an error lists it; None: the only scan.

    Raises:
        UserError: It is none of them, or several.
    """
    if wanted is None:
        matching = [s for s in found if s.is_scan] or found
    else:
        matching = _matching(found, _plain(wanted))
        matching = [s for s in matching if not s.aside] or matching
    if len(matching) == 1:
        return matching[0]
    shown = [str(s) for s in found]
    listed = "; ".join(s.full if shown.count(str(s)) > 1 else str(s) for s in found[:LISTED])
    listed += f"; ... ({len(found)} in all)" if len(found) > LISTED else ""
    if wanted is None:
        what = f"holds {len(found)} DICOM series: pick one by series=<number, UID or part of its description>"
    else:
        what = f"holds {len(matching) or 'no'} series that match series={wanted}: give a number or UID"
    raise UserError(f"{path} {what}, of {listed}")


def is_scout(path: Path) -> bool:
    """Whether all that a DICOM file or folder shows is localizers: nothing to train on, or to enlarge.

    Headers alone are read, and of a folder of slices only the first ones.

    Args:
        path: Of a scan of any format; what is not DICOM is no scout.

    Returns:
        True where each image calls itself a localizer; one or two images may do so by their description. False where
        a file is damaged: this is told by whoever reads it.
    """
    headers = image_headers(path)
    try:
        first = list(islice(headers, FEWEST_SLICES))
        few = len(first) < FEWEST_SLICES
        return bool(first) and all(
            _aside(header) == "scout" or (few and _SCOUT.search(header.text("SeriesDescription")))
            for header in chain(first, headers)
        )
    except UserError:
        return False


def patient_of(path: Path) -> str | None:
    """The PatientID in the first DICOM header of a file or folder.

    None: there is none, or it is empty, or the file is damaged, which is told by whoever reads it.
    """
    try:
        header = next(image_headers(path), None)
        return None if header is None else header.text("PatientID") or None
    except UserError:
        return None


def _aside(header: ImageHeader) -> str:
    if "LOCALIZER" in header.text("ImageType").split("\\"):
        return "scout"
    if header.is_colour:
        return "colour"
    if header.text("Modality") in _DRAWN:
        return header.text("Modality")
    return "secondary capture" if f"{header.text('SOPClassUID')}.".startswith(f"{_CAPTURE}.") else ""


def _matching(found: list[Series], wanted: str) -> list[Series]:
    """Those of the first sort of match that there is: the more exact wins."""
    exact = [s for s in found if wanted in (s.uid, s.number, *map(_plain, (str(s), s.name, s.full)))]
    same = [s for s in found if wanted == _plain(s.description)]
    return exact or same or [s for s in found if wanted in _plain(s.description)]


def _plain(text: str) -> str:
    """What a list on a terminal keeps of a text."""
    return " ".join(text.split()).casefold()
