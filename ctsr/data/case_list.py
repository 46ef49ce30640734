"""A list of cases as a file, CSV or JSON: what is trained, validated and tested on, said by the user or by a run."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ctsr.data.cases import Case, the_scan
from ctsr.data.layouts import channels_of, places
from ctsr.data.patients import patient_of
from ctsr.errors import CollectedError, UserError, warn_once
from ctsr.files import replacing
from ctsr.imaging.formats import FORMATS, format_of, stem
from ctsr.imaging.voxel_size import FileSpacing

COLUMNS = ("domain", "path", "name", "patient", "part", "mask", "spacing")
NEEDED = ("domain", "path")
DOMAINS = ("clinical", "micro")
PARTS = ("train", "val", "test")
_BETWEEN_MASKS = ";"


def read_list(file: str | Path, patient: Mapping[str, str | None]) -> dict[str, list[Case]]:
    """Read a list of cases.

    Args:
        file: A CSV with a heading, or a JSON list of objects, with the columns `domain` (clinical or micro) and `path`
            (a scan, or a folder with exactly one anywhere below it, whose place then counts for name and patient);
            and, each of them optional or empty, `name`, `patient`, `part` (train, val or test; empty: drawn), `mask`
            (several files: with ; between) and `spacing` (mm, one number or z y x, of files that do not tell). Paths
            are relative to the list's folder.
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
        self._values = {column: value for column, value in values.items() if value not in (None, "", [])}
        for column in NEEDED:
            if column not in self._values:
                self.wrong(f"has no {column}: give one")
        self.domain = self._one_of("domain", DOMAINS)
        self.part = self._one_of("part", PARTS)
        self.given = self._placed(self.text("path") or "")
        self.path = self._scan()
        given = self._values.get("mask", [])
        masks = given.split(_BETWEEN_MASKS) if isinstance(given, str) else given if isinstance(given, list) else [given]
        named = [self._placed(str(mask).strip()) for mask in masks]
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
        if value is None or value in known:
            return value
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
            self.wrong(f"names {path}, which does not exist")
        return path.exists()

    def _spacing(self) -> FileSpacing:
        given = self._values.get("spacing")
        if given is None:
            return None
        values = str(given).strip("[] ").replace(",", " ").split() if isinstance(given, str) else given
        try:
            sizes = [float(size) for size in (values if isinstance(values, list) else [values])]
        except (TypeError, ValueError):
            sizes = []
        if len(sizes) not in (1, 3) or min(sizes) <= 0:
            self.wrong(f"has the spacing {given}: give mm, one number or z y x")
            return None
        return sizes[0] if len(sizes) == 1 else sizes


def _key(file: Path) -> str:
    return f"data.list={file}"


def _table(file: Path) -> tuple[list[tuple[int, Mapping[str, Any]]], list[str]]:
    """The rows, and what is wrong with the table itself.

    Rows come with their numbers: of a CSV's lines, the heading being 1; of JSON's objects, from 1.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")  # spreadsheets begin a file with a mark
        content = json.loads(text) if file.suffix.lower() == ".json" else None
    except (OSError, ValueError) as error:
        raise UserError(f"{_key(file)} cannot be read: {error}") from error
    if content is not None:
        if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
            raise UserError(f"{_key(file)} is no list of objects: give one for each case")
        return list(enumerate(content, 1)), _unknown(file, [column for row in content for column in row])
    try:
        separator = csv.Sniffer().sniff(text.partition("\n")[0], ",;\t").delimiter
    except csv.Error:  # a single column
        separator = ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    columns = [column.strip() for column in reader.fieldnames or []]
    reader.fieldnames = columns
    problems = _unknown(file, columns)
    missing = [column for column in NEEDED if column not in columns]
    if missing:  # there is nothing to say of each row
        needed = f"needed are {', '.join(NEEDED)}"
        raise CollectedError([*(f"{_key(file)} has no column {column}: {needed}" for column in missing), *problems])
    rows: list[tuple[int, Mapping[str, Any]]] = []
    for row in reader:
        if None in row or None in row.values():
            wrong = f"row {reader.line_num} has not as many values as columns: {len(columns)}"
            problems.append(f"{_key(file)}, {wrong}")
        elif any(row.values()):
            rows.append((reader.line_num, row))
    return rows, problems


def _unknown(file: Path, columns: Sequence[str]) -> list[str]:
    unknown = [column for column in dict.fromkeys(columns) if column not in COLUMNS]
    return [f"{_key(file)} has an unknown column {column}: known are {', '.join(COLUMNS)}" for column in unknown]


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
