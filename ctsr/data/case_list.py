"""A list of cases as a file, CSV or JSON: what is trained, validated and tested on, said by the user or by a run."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ctsr.data.cases import Case
from ctsr.data.layouts import channels_of, places
from ctsr.data.patients import patient_of
from ctsr.errors import UserError, warn_once
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
        file: A CSV with a heading, or a JSON list of objects, with the columns `domain` (clinical or micro) and `path`;
            and, each of them optional or empty, `name`, `patient`, `part` (train, val or test; empty: drawn), `mask`
            (several files: with ; between) and `spacing` (mm, one number or z y x, of files that do not tell). Paths
            are relative to the list's folder.
        patient: Domain -> the user's rule for patients, where the list names none.

    Returns:
        Domain -> its cases, sorted by name.

    Raises:
        UserError: A column or value is unknown or missing, a file is not there, or a patient would be in two parts; the
            row is named.
    """
    file = Path(file).expanduser()
    rows = [_Row(file, number, values) for number, values in _rows(file)]
    if not rows:
        raise UserError(f"{_key(file)} names no case: give a row for each")
    by_domain = {domain: [row for row in rows if row.domain == domain] for domain in DOMAINS}
    found = {domain: _cases(here, domain, patient[domain], file) for domain, here in by_domain.items() if here}
    _check_parts(pair for pairs in found.values() for pair in pairs)
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
    """A row of the list, checked by itself."""

    def __init__(self, file: Path, number: int, values: Mapping[str, Any]) -> None:
        self.number = f"row {number}"
        self.place = f"{_key(file)}, {self.number}"
        self.values = {column: value for column, value in values.items() if value not in (None, "", [])}
        for column in NEEDED:
            if column not in self.values:
                raise UserError(f"{self.place} has no {column}: give one")
        self.domain = self._one_of("domain", DOMAINS)
        self.part = self._one_of("part", PARTS) if "part" in self.values else None
        self.path = self._existing(file, str(self.values["path"]))
        if format_of(self.path) is None:
            raise UserError(f"{self.place} names {self.path}, which is no scan: give {FORMATS}")
        given = self.values.get("mask", [])
        masks = given.split(_BETWEEN_MASKS) if isinstance(given, str) else given
        self.masks = tuple(self._existing(file, str(mask).strip()) for mask in masks)
        self.spacing = self._spacing()

    def text(self, column: str) -> str | None:
        """A value as text; None without one."""
        return str(self.values[column]).strip() if column in self.values else None

    def _one_of(self, column: str, known: Sequence[str]) -> str:
        value = str(self.values[column]).strip()
        if value not in known:
            raise UserError(f"{self.place} has the {column} {value}: give {', '.join(known)}")
        return value

    def _existing(self, file: Path, text: str) -> Path:
        path = file.absolute().parent / Path(text.strip()).expanduser()
        if not path.exists():
            raise UserError(f"{self.place} names {path}, which does not exist")
        return path

    def _spacing(self) -> FileSpacing:
        given = self.values.get("spacing")
        if given is None:
            return None
        values = str(given).strip("[] ").replace(",", " ").split() if isinstance(given, str) else given
        try:
            sizes = [float(size) for size in (values if isinstance(values, list) else [values])]
        except (TypeError, ValueError):
            sizes = []
        if len(sizes) not in (1, 3) or min(sizes) <= 0:
            raise UserError(f"{self.place} has the spacing {given}: give mm, one number or z y x")
        return sizes[0] if len(sizes) == 1 else sizes


def _key(file: Path) -> str:
    return f"data.list={file}"


def _rows(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows with their numbers: of a CSV's lines, the heading being 1; of JSON's objects, from 1."""
    try:
        text = file.read_text(encoding="utf-8-sig")  # spreadsheets begin a file with a mark
        content = json.loads(text) if file.suffix.lower() == ".json" else None
    except (OSError, ValueError) as error:
        raise UserError(f"{_key(file)} cannot be read: {error}") from error
    if content is None:
        try:
            separator = csv.Sniffer().sniff(text.partition("\n")[0], ",;\t").delimiter
        except csv.Error:  # a single column
            separator = ","
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
        columns = [column.strip() for column in reader.fieldnames or []]
        reader.fieldnames = columns
        _check_columns(file, columns)
        for row in reader:
            if None in row or None in row.values():
                raise UserError(
                    f"{_key(file)}, row {reader.line_num} has not as many values as columns: {len(columns)}"
                )
            if any(row.values()):
                yield reader.line_num, row
        return
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise UserError(f"{_key(file)} is no list of objects: give one for each case")
    for number, row in enumerate(content, 1):
        _check_columns(file, list(row))
        yield number, row


def _check_columns(file: Path, columns: Sequence[str]) -> None:
    for column in NEEDED:
        if column not in columns:
            raise UserError(f"{_key(file)} has no column {column}: needed are {', '.join(NEEDED)}")
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown:
        raise UserError(f"{_key(file)} has an unknown column {unknown[0]}: known are {', '.join(COLUMNS)}")


def _cases(rows: Sequence[_Row], domain: str, rule: str | None, file: Path) -> list[tuple[Case, _Row]]:
    """The cases of a domain; names and patients that are not given follow from the files' places."""
    by_path: dict[Path, _Row] = {}
    for row in rows:
        if by_path.setdefault(row.path.resolve(), row) is not row:
            raise UserError(f"{row.place} names {row.path}, as {by_path[row.path.resolve()].number} does: keep one")
    placed = places([row.path for row in rows], Path(os.path.commonpath([row.path.parent for row in rows])))
    channels = channels_of([row.path for row in rows])
    own = {row.path: channels[row.path][0] if row.path in channels else stem(row.path) for row in rows}
    times = Counter(own.values())
    cases: dict[str, tuple[Case, _Row]] = {}
    for row in rows:
        place = placed[row.path]
        name = row.text("name") or (own[row.path] if times[own[row.path]] == 1 else place.name)
        top = name if place.top == place.name else place.top
        patient = row.text("patient") or patient_of(row.path, name, top, rule, f"data.{domain}.patient")
        case = Case(name, row.path, patient, row.masks, row.spacing, row.part)
        if cases.setdefault(name, (case, row))[1] is not row:
            raise UserError(f"{row.place} is case {name}, as {cases[name][1].number} is: give each a name of its own")
    guessed = {case.patient for case, row in cases.values() if not row.text("patient") and rule is None}
    several = {p: [c.name for c, _ in cases.values() if c.patient == p] for p in sorted(guessed)}
    for patient, names in several.items():
        if len(names) > 1:
            warn_once(f"{_key(file)}: {', '.join(names)} are taken for patient {patient}: the column patient says else")
    return [cases[name] for name in sorted(cases)]


def _check_parts(cases: Iterable[tuple[Case, _Row]]) -> None:
    """A patient is in one part, in both domains."""
    first: dict[str, _Row] = {}
    for case, row in cases:
        known = first.setdefault(case.patient, row) if case.part else row
        if known.part != row.part:
            raise UserError(
                f"{row.place} puts patient {case.patient} into {row.part}, but {known.number} into {known.part}: "
                "keep a patient in one part"
            )
