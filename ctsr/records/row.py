"""Numbers that know where they come from: every value names its protocol, method, metric and case."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from ctsr.files import replacing

PROJECTIONS = "projections/"
"""What the names of protocols by the projection scanner begin with; the kind of acquisition follows."""


@dataclass(frozen=True)
class Row:
    """One number.

    Attributes:
        protocol: What was compared with what, see `ctsr.evaluation.questions.protocols`.
        method: What made the image: an interpolation, or the name of a trained method.
        metric: As named in `ctsr.evaluation.measures.metrics`.
        value: The number.
        case: The case it belongs to; None for the mean over cases.
        seed: Of the method's training; None for interpolation, and where there is one training only.
    """

    protocol: str
    method: str
    metric: str
    value: float
    case: str | None = None
    seed: int | None = None

    def to_dict(self) -> dict[str, str | float]:
        """Plain values for JSON; `case` only where there is one."""
        plain: dict[str, str | float] = {
            "protocol": self.protocol,
            "method": self.method,
            "metric": self.metric,
            "value": self.value,
        }
        return plain if self.case is None else plain | {"case": self.case}


def means(rows: Iterable[Row]) -> list[Row]:
    """Means over cases, in the order in which protocol, method and metric first appear."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        groups.setdefault((row.protocol, row.method, row.metric), []).append(row.value)
    return [Row(*key, fmean(values)) for key, values in groups.items()]


def write_csv(rows: Iterable[Row], path: Path) -> None:
    """Write every row, per case, to a CSV file; it appears whole or not at all."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["protocol", "case", "method", "seed", "metric", "value"])
        table.writerows(
            [row.protocol, row.case or "", row.method, "" if row.seed is None else row.seed, row.metric, row.value]
            for row in rows
        )


def read_csv(path: Path) -> list[Row]:
    """The rows of a file by `write_csv`."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [
            Row(
                line["protocol"],
                line["method"],
                line["metric"],
                float(line["value"]),
                line["case"] or None,
                int(line["seed"]) if line["seed"] else None,
            )
            for line in csv.DictReader(stream)
        ]


COMPARED = ("bicubic_mapped", "bicubic", "fx", "real")
"""What a method is compared with during training; where one's name begins another's, the longer comes first."""


def validation_name(name: str, method: str) -> tuple[str, str]:
    """Metric and method of a figure logged during training: "val/bicubic_ssim" is bicubic's, "val/ssim" `method`'s own.

    The methods that may stand before a metric: bicubic, bicubic_mapped; fx (f(x) as it is, without G1) and real (one
    half of the real images against the other: what a distance between equal sets amounts to by chance).
    """
    match = re.fullmatch(rf"val/(?:({'|'.join(COMPARED)})_)?(.+)", name)
    if match is None:
        raise ValueError(f"{name} is no figure of a validation")
    return match[2], match[1] or method
