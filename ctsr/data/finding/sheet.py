"""Tables as spreadsheets save them: CSV with commas, semicolons or tabs."""

from __future__ import annotations

import csv
import io
import re

Row = tuple[int, list[str]]

_SEPARATORS = ",;\t"
_SAID = re.compile(r'\s*"?sep *= *(\\t|\t|[^\w\s"])"?\1* *(?:\r\n|\r|\n|$)', re.IGNORECASE)  # the first line, for Excel


def read_sheet(text: str) -> list[Row]:
    """The rows of a CSV, without empty ones.

    A first line such as `sep=;` names the separator; else it is what the first row with anything in it has most of.

    Returns:
        Each row's number as a spreadsheet shows it (which hides a line `sep=;`, and shows empty ones), and its cells
        without the blanks around them.

    Raises:
        csv.Error: A quote in it is not closed; its row.
    """
    if said := _SAID.match(text):
        separator, text = said[1].replace(r"\t", "\t"), text[said.end() :]
    else:
        heading = next((line for line in _lines(text) if line.strip(f"{_SEPARATORS} \r\n")), "")
        separator = max(_SEPARATORS, key=heading.count)
    reader = csv.reader(_lines(text.rstrip("\x1a")), delimiter=separator, skipinitialspace=True, strict=True)
    rows: list[Row] = []
    try:
        for number, row in enumerate(reader, 1):
            rows.append((number, [cell.strip() for cell in row]))
    except csv.Error as error:  # of a quote, which would swallow the rows below
        raise csv.Error(f"in row {len(rows) + 1} is a quote that is not closed, or not at a cell's end") from error
    return _without_counts([(number, cells) for number, cells in rows if any(cells)])


def _without_counts(rows: list[Row]) -> list[Row]:
    """The rows without a first column that has no heading and counts them, as R and pandas write it."""
    counted = [cells[0] for _, cells in rows[1:]]
    if not counted or rows[0][1][0] or counted[0] not in ("0", "1"):
        return rows
    first = int(counted[0])
    if counted != [str(number) for number in range(first, first + len(counted))]:
        return rows
    return [(number, cells[1:]) for number, cells in rows]


def _lines(text: str) -> io.StringIO:
    """Lines with their ends, whichever of the three; a line break within a cell stays as it is."""
    return io.StringIO(text, newline="")
