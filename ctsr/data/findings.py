"""What is known of scans that were looked at: as a table, case by case, or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Column, Table

from ctsr.data.finding.cases import Case
from ctsr.data.preparing.settings import ClinicalSettings, Settings

AXES = "slices, rows, columns"
NOTES = {"size": f"({AXES})", "spacing": "(mm)", "as stored": "(axes run to)", "greys": "(range)"}
DONE = "what is done with it"
UNLIMITED = 10_000  # characters in a line of what is no terminal


@dataclass(frozen=True)
class Greys:
    """The greys of a scan.

    Attributes:
        kind: Of number, such as "int16".
        lowest: Padding included.
        highest: The same.
        padding: Share of the voxels; None: there is none.
        voxels: See `ctsr.imaging.voxel_hash`.
    """

    kind: str
    lowest: float
    highest: float
    padding: float | None
    voxels: str

    def __str__(self) -> str:
        padding = "" if self.padding is None else f"; {self.padding:.0%} is padding"
        return f"{self.kind}, {self.lowest:g} ... {self.highest:g}{padding}"


@dataclass(frozen=True)
class Finding:
    """What is known of one case.

    Attributes:
        case: Name, path and patient.
        domain: "clinical" or "micro".
        format: None: it is of none.
        size: Slices, rows, columns; None, as what follows: it was not read.
        spacing: Their distances in mm.
        orientation: Where the axes run to as they are stored, such as "SPL".
        greys: Also None where only headers were read.
        steps: What preparing it would do.
        doubts: What is odd about it.
        refused: Why it cannot be used; None: it can.
        cramped: Whether it can with a smaller patch only.
    """

    case: Case
    domain: str
    format: str | None = None
    size: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    orientation: str | None = None
    greys: Greys | None = None
    steps: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    refused: str | None = None
    cramped: bool = False

    @property
    def seen(self) -> dict[str, str]:
        """Heading -> what the scan is, as far as it is known."""
        told = {
            "format": self.format or "?",
            "size": None if self.size is None else " x ".join(map(str, self.size)),
            "spacing": None if self.spacing is None else " x ".join(f"{size:.4g}" for size in self.spacing),
            "as stored": self.orientation,
            "greys": None if self.greys is None else str(self.greys),
        }
        return {heading: text for heading, text in told.items() if text is not None}

    def to_plain(self) -> dict[str, Any]:
        """As JSON has it."""
        greys = self.greys
        told = None
        if greys is not None:
            told = {"type": greys.kind, "lowest": greys.lowest, "highest": greys.highest, "padding": greys.padding}
        return {
            "name": self.case.name,
            "domain": self.domain,
            "path": str(self.case.path),
            "patient": self.case.patient,
            "format": self.format,
            "size": self.size,
            "spacing": self.spacing,
            "orientation": self.orientation,
            "greys": told,
            "steps": self.steps,
            "doubts": self.doubts,
            "refused": self.refused,
        }


def print_findings(findings: Sequence[Finding], settings: Settings, console: Console) -> None:
    """Print the cases of a domain, what would be done with them, and the refused ones with the reason.

    As a table where it fits into the console without breaking a name or a number, else case by case.
    """
    headings = list(dict.fromkeys(heading for finding in findings for heading in _row(finding)))
    table = Table(*(Column(f"{name}\n{NOTES.get(name, '')}".strip(), no_wrap=True) for name in headings))
    table.add_column(DONE, overflow="fold", min_width=24)
    for finding in findings:
        row = _row(finding)
        table.add_row(*(row.get(heading, "") for heading in headings), "\n".join(_done(finding)))
    if Measurement.get(console, console.options.update(width=UNLIMITED), table).minimum <= console.width:
        console.print(table)
    else:
        for finding in findings:
            for heading, text in [*_row(finding).items(), (DONE, "; ".join(_done(finding)))]:
                label = f"{heading} {NOTES.get(heading, '')}".strip()
                console.print(f"{label}: {text}", soft_wrap=True, highlight=False)
            console.print()
    for finding in findings:
        if finding.refused is not None:
            name = escape(finding.case.name)
            console.print(f"[red]{name}:[/] {escape(finding.refused)}", soft_wrap=True, highlight=False)
    usable = sum(finding.refused is None for finding in findings)
    patients = len({finding.case.patient for finding in findings})
    cramped = sum(finding.cramped for finding in findings)
    only = f", {cramped} of them with a smaller patch only" if cramped else ""
    console.print(
        f"{usable} of {len(findings)} {settings.domain} cases can be used{only}, of {patients} "
        f"{'patient' if patients == 1 else 'patients'}. {_for_all(settings)}",
        highlight=False,
    )


def _row(finding: Finding) -> dict[str, str]:
    """Heading -> text; names may hold what is a markup to the library that prints."""
    return {"case": escape(finding.case.name), "patient": escape(finding.case.patient)} | finding.seen


def _done(finding: Finding) -> list[str]:
    if finding.refused is not None:
        return ["[red]refused, see below[/]"]
    doubts = [f"[yellow]{escape(doubt)}[/]" for doubt in finding.doubts]
    return [*finding.steps, *doubts] or ["taken as it is"]


def _for_all(settings: Settings) -> str:
    """What is done with every case."""
    if isinstance(settings, ClinicalSettings):
        low, high = settings.window
        return f"In all, the lungs are then found by region growing, and {low:g} ... {high:g} HU become -1 ... 1."
    low, high = settings.percentiles
    return f"In all, the specimen is then found, and the {low:g} and {high:g} percentiles of its greys become -1 and 1."
