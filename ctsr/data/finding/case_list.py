"""A list of cases as a file, CSV or JSON: what is trained, validated and tested on, said by the user or by a run."""

from __future__ import annotations

import csv
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ctsr.data.finding.cases import Case, the_scan
from ctsr.data.finding.layouts import channels_of, places
from ctsr.data.finding.patients import patient_of
from ctsr.data.finding.sheet import Row, read_sheet
from ctsr.errors import CollectedError, UserError, warn_once
from ctsr.files import replacing, text_of
from ctsr.imaging.formats.recognise import FORMATS, format_of, stem
from ctsr.imaging.formats.voxel_size import FileSpacing

COLUMNS = ("domain", "path", "name", "patient", "part", "mask", "spacing")
NEEDED = ("domain", "path")
DOMAINS = ("clinical", "micro")
PARTS = ("train", "val", "test")
_BETWEEN_MASKS = ";"
_NOTHING: Sequence[Any] = (None, "", [], "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "None", "<NA>")  # as R, pandas ...
_SPREADSHEETS = (b"PK\3\4", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods are ZIP, .xls is OLE


def read_list(file: str | Path, patient: Mapping[str, str | None]) -> dict[str, list[Case]]:
    """Read a list of cases.

    Args:
        file: A CSV with a heading, as spreadsheets save it (commas, semicolons or tabs; UTF-8 or UTF-16), or a JSON
            list of objects, with the columns `domain` (clinical or micro) and `path` (a scan, or a folder with exactly
            one anywhere below it, whose place then counts for name and patient); and, each of them optional or empty,
            `name`, `patient`, `part` (train, val or test; empty: drawn), `mask` (several files: with ; between) and
            `spacing` (mm, one number or z y x, of files that do not tell). Paths are relative to the list's folder;
            capitals count in paths, names and patients only.
        patient: Domain -> the user's rule for patients, where the list names none.

    Returns:
        Domain -> its cases, sorted by name.

    Raises:
        UserError: It cannot be read, or is empty.
        CollectedError: Columns or values are unknown or missing, files are not there, two rows are one case, or a
            patient would be in two parts: a line for each, which names the row.
    """
    file = Path(file).expanduser()
    table, problems = _table(file)
    rows = [_Row(file, number, values) for number, values in table]
    if not rows and not problems:
        raise UserError(f"{_key(file)} names no case: give a row for each")
    by_domain = {domain: [row for row in rows if row.domain == domain] for domain in DOMAINS}
    found = {domain: _cases(here, domain, patient[domain]) for domain, here in by_domain.items() if here}
    _check_parts(pair for pairs in found.values() for pair in pairs)
    problems += [problem for row in rows for problem in row.problems]
    if problems:
        raise CollectedError(list(dict.fromkeys(problems)))
    for domain, pairs in found.items():
        if patient[domain] is None:
            _tell_guessed(pairs, file)
    return {domain: [case for case, _ in pairs] for domain, pairs in found.items()}


def write_list(cases: Mapping[str, Sequence[Case]], file: Path) -> None:
    """Write cases, with the parts they are in, as a CSV that `read_list` reads from anywhere."""
    with replacing(file) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        for domain, members in cases.items():
            for case in members:
                spacing = case.file_spacing
                sizes = [] if spacing is None else [spacing] if isinstance(spacing, int | float) else spacing
                writer.writerow(
                    {
                        "domain": domain,
                        "path": case.path.resolve(),
                        "name": case.name,
                        "patient": case.patient,
                        "part": case.part or "",
                        "mask": _BETWEEN_MASKS.join(str(mask.resolve()) for mask in case.masks),
                        "spacing": " ".join(str(size) for size in sizes),
                    }
                )


class _Row:
    """A row of the list.

    Attributes:
        number: For other rows' problems.
        domain: None where it is unknown.
        path: Of the scan; None where there is none.
        given: Where the list says that it is: the scan, or a folder that it lies in.
        part: None where none is given.
        masks: Those that are there.
        spacing: Of files that do not tell; None where none is given.
        problems: All that is wrong with it, a line each.
    """

    def __init__(self, file: Path, number: int, values: Mapping[str, Any]) -> None:
        self.number = f"row {number}"
        self.problems: list[str] = []
        self._folder = file.absolute().parent
        self._place = f"{_key(file)}, {self.number}"
        stripped = {column: value.strip() if isinstance(value, str) else value for column, value in values.items()}
        self._values = {column: value for column, value in stripped.items() if value not in _NOTHING}
        for column in NEEDED:
            if column not in self._values:
                self.wrong(f"has no {column}: give one")
        self.domain = self._one_of("domain", DOMAINS)
        self.part = self._one_of("part", PARTS)
        self.given = self._placed(self.text("path") or "")
        self.path = self._scan()
        given = self._values.get("mask", [])
        masks = given.split(_BETWEEN_MASKS) if isinstance(given, str) else given if isinstance(given, list) else [given]
        named = [self._placed(text) for mask in masks if (text := str(mask).strip())]
        self.masks = tuple(mask for mask in named if self._exists(mask))
        self.spacing = self._spacing()

    def wrong(self, what: str) -> None:
        """Note a problem, in words that follow the row's number."""
        self.problems.append(f"{self._place} {what}")

    def text(self, column: str) -> str | None:
        """A value as text; None without one."""
        return str(self._values[column]).strip() if column in self._values else None

    def _one_of(self, column: str, known: Sequence[str]) -> str | None:
        value = self.text(column)
        if value is None or value.lower() in known:
            return value and value.lower()
        self.wrong(f"has the {column} {value}: give {', '.join(known)}")
        return None

    def _scan(self) -> Path | None:
        if "path" not in self._values or not self._exists(self.given) or self.domain is None:
            return None
        if self.given.is_dir():
            try:
                return the_scan(self.given, f"{self._place}: path", self.domain)
            except UserError as error:
                self.problems.append(str(error))
                return None
        if format_of(self.given) is not None:
            return self.given
        self.wrong(f"names {self.given}, which is no scan: give {FORMATS}")
        return None

    def _placed(self, text: str) -> Path:
        return self._folder / Path(text).expanduser()

    def _exists(self, path: Path) -> bool:
        if not path.exists():
            mend = ": write it with /, as on this machine" if "\\" in path.name else ""
            self.wrong(f"names {path}, which does not exist{mend}")
        return path.exists()

    def _spacing(self) -> FileSpacing:
        given = self._values.get("spacing")
        if given is None:
            return None
        values = _numbers(given) if isinstance(given, str) else given if isinstance(given, list) else [given]
        try:
            sizes = [] if any(isinstance(size, bool) for size in values) else [float(size) for size in values]
        except (TypeError, ValueError):
            sizes = []
        if len(sizes) not in (1, 3) or not all(0 < size < math.inf for size in sizes):
            self.wrong(f"has the spacing {given}: give mm, one number or z y x")
            return None
        return sizes[0] if len(sizes) == 1 else sizes


def _numbers(text: str) -> list[str]:
    """Numbers with blanks or commas between, as `float` takes them: a lone comma within one, 0,05, is a decimal one."""
    words = [word.strip(",") for word in text.strip("[] ").split()]
    if any("." in word or word.count(",") > 1 for word in words):
        return text.strip("[] ").replace(",", " ").split()
    return [word.replace(",", ".") for word in words if word]


def _key(file: Path) -> str:
    return f"data.list={file}"


def _table(file: Path) -> tuple[list[tuple[int, Mapping[str, Any]]], list[str]]:
    """The rows, and what is wrong with the table itself.

    Rows come with their numbers: of a CSV's as a spreadsheet shows them, of JSON's objects from 1.
    """
    is_json = file.suffix.lower() == ".json"
    try:
        text = text_of(file)
        sheet, content = ([], json.loads(text)) if is_json else (read_sheet(text), None)
    except UnicodeError as error:
        what = "a spreadsheet" if file.read_bytes().startswith(_SPREADSHEETS) else "not UTF-8"
        raise UserError(f"{_key(file)} is {what}: save it as {'UTF-8' if is_json else 'CSV UTF-8'}") from error
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{_key(file)} cannot be read: {reason}") from error
    if not is_json:
        return _of_sheet(file, sheet)
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise UserError(f"{_key(file)} is no list of objects: give one for each case")
    rows = [{_column(name): value for name, value in row.items()} for row in content]
    return list(enumerate(rows, 1)), _unknown(file, [name for row in content for name in row])


def _of_sheet(file: Path, sheet: Sequence[Row]) -> tuple[list[tuple[int, Mapping[str, Any]]], list[str]]:
    """As `_table`; columns without a heading are left out where nothing is in them, and cells may lack at the end."""
    if not sheet:
        raise UserError(f"{_key(file)} is empty: give a heading, {', '.join(NEEDED)}, and a row for each case")
    (_, heading), *rows = sheet
    columns = [_column(name) for name in heading]
    problems = _unknown(file, [name for name in heading if name])
    twice = [column for column, times in Counter(columns).items() if times > 1 and column in COLUMNS]
    problems += [f"{_key(file)} has several columns {column}: keep one" for column in twice]
    missing = [column for column in NEEDED if column not in columns]
    if missing:  # there is nothing to say of each row
        needed = f"needed are {', '.join(NEEDED)}"
        raise CollectedError([*(f"{_key(file)} has no column {column}: {needed}" for column in missing), *problems])
    table: list[tuple[int, Mapping[str, Any]]] = []
    for number, cells in rows:
        row = f"{_key(file)}, row {number}"
        if any(cells[len(columns) :]):
            problems.append(f"{row} has not as many values as columns: {len(columns)}")
            continue
        for position, (column, cell) in enumerate(zip(columns, cells, strict=False), 1):
            if cell and not column:
                problems.append(f"{row} has {cell} in column {position}, which has no heading: give one, or remove it")
        table.append((number, dict(zip(columns, cells, strict=False))))
    return table, problems


def _column(name: str) -> str:
    """A heading as it is known, however it is typed."""
    return name.strip().lower()


def _unknown(file: Path, names: Sequence[str]) -> list[str]:
    unknown = [name for name in dict.fromkeys(names) if _column(name) not in COLUMNS]
    return [f"{_key(file)} has an unknown column {name}: known are {', '.join(COLUMNS)}" for name in unknown]


def _cases(rows: Sequence[_Row], domain: str, rule: str | None) -> list[tuple[Case, _Row]]:
    """The cases of a domain, by name; names and patients that are not given follow from the files' places."""
    by_scan: dict[Path, _Row] = {}
    paths: dict[_Row, Path] = {}
    for row in rows:
        if row.path is None:
            continue
        first = by_scan.setdefault(row.path.resolve(), row)
        if first is row:
            paths[row] = row.path
        else:
            row.wrong(f"names {row.given}, as {first.number} does: keep one")
    given = [row.given for row in paths]
    placed = places(given, Path(os.path.commonpath([path.parent for path in given]))) if given else {}
    channels = channels_of(given)
    own = {path: channels[path][0] if path in channels else stem(path) for path in given}
    times = Counter(own.values())
    cases: dict[str, tuple[Case, _Row]] = {}
    for row, scan in paths.items():
        place, own_name = placed[row.given], own[row.given]
        name = row.text("name") or (own_name if times[own_name] == 1 else place.name)
        top = name if place.top == place.name else place.top
        patient, of_header = row.text("patient"), False
        if not patient:
            try:
                patient, of_header = patient_of(scan, name, top, rule, f"data.{domain}.patient")
            except UserError as error:
                row.problems.append(str(error))
                continue
        case = Case(name, scan, patient, row.masks, row.spacing, row.part, of_header)
        if (first := cases.setdefault(name, (case, row))[1]) is not row:
            row.wrong(f"is case {name}, as {first.number} is: give each a name of its own")
    return [cases[name] for name in sorted(cases)]


def _tell_guessed(cases: Sequence[tuple[Case, _Row]], file: Path) -> None:
    """Tell which cases are taken for one patient's without the user saying so."""
    guessed = {case.patient for case, row in cases if not row.text("patient")}
    several = {p: [case.name for case, _ in cases if case.patient == p] for p in sorted(guessed)}
    for patient, names in several.items():
        if len(names) > 1:
            warn_once(f"{_key(file)}: {', '.join(names)} are taken for patient {patient}: the column patient says else")


def _check_parts(cases: Iterable[tuple[Case, _Row]]) -> None:
    """A patient is in one part, in both domains."""
    first: dict[str, _Row] = {}
    for case, row in cases:
        known = first.setdefault(case.patient, row) if case.part else row
        if known.part != row.part:
            row.wrong(
                f"puts patient {case.patient} into {row.part}, but {known.number} into {known.part}: "
                "keep a patient in one part"
            )
