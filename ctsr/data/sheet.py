"""Tables as spreadsheets save them: CSV with commas, semicolons or tabs."""

from __future__ import annotations

import csv
import io
import re

Row = tuple[int, list[str]]

_SEPARATORS = ",;\t"
_SAID = re.compile(r'"?sep=(\\t|\t|[^\w\s"])"?\1*(?:\r\n|\r|\n|$)', re.IGNORECASE)  # the first line, for Excel


def read_sheet(text: str) -> list[Row]:
    """The rows of a CSV, without empty ones.

    A first line such as `sep=;` names the separator; else it is what the first row with anything in it has most of.

    Returns:
        Each row's number as a spreadsheet shows it (which hides a line `sep=;`, and shows empty ones), and its cells
        without the blanks around them.

    Raises:
        csv.Error: It is no CSV.
    """
    if said := _SAID.match(text):
        separator, text = said[1].replace(r"\t", "\t"), text[said.end() :]
    else:
        heading = next((line for line in _lines(text) if line.strip(f"{_SEPARATORS} \r\n")), "")
        separator = max(_SEPARATORS, key=heading.count)
    rows = csv.reader(_lines(text), delimiter=separator, skipinitialspace=True)
    numbered = [(number, [cell.strip() for cell in row]) for number, row in enumerate(rows, 1)]
    return [(number, cells) for number, cells in numbered if any(cells)]


def _lines(text: str) -> io.StringIO:
    """Lines with their ends, whichever of the three; a line break within a cell stays as it is."""
    return io.StringIO(text, newline="")
