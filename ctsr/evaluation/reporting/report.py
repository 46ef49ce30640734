"""The report of an evaluation: one Markdown file and one HTML page with its pictures inside."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from ctsr.evaluation.questions.competitors import TrainedNetwork
from ctsr.evaluation.questions.test_set import TestSet
from ctsr.evaluation.reporting.tables import Table
from ctsr.files import replacing

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em; color: #222; background: #fafafa; max-width: 110em }
table { border-collapse: collapse; margin: .5em 0 2em } th, td { padding: .25em .7em; text-align: left;
border-bottom: 1px solid #ddd; white-space: nowrap; font-variant-numeric: tabular-nums } th { background: #eee }
img { max-width: 100% } p { max-width: 60em } h3 { margin-bottom: .2em }
"""
CAPTIONS = {
    "paired": "Places in held-out lungs with most of a structure, after the paper's Fig. 4: what the clinical scanner "
    "saw, each method, and the true micro-CT slice.",
    "synthesis": "After the paper's Fig. 3: x, f(x), the clinical-like image of each method's generator, a real y.",
    "scans": "Real scans, after the paper's Fig. 5, for three kernels (soft and sharp simulated). There is no truth.",
    "projections": "A held-out lung by the projection scanner, where its middle slice has most vessel: a row for each "
    "kind of acquisition; the scan, each method and the phantom's HU, all in the first network's clinical window.",
    "found_and_made_up": "Structures made up over structures found, as the level is lowered at which an image is cut.",
}
CAUTION = (
    "No table mixes protocols; each names its reference. No measure is to be trusted alone: the table of controls "
    "shows what each of them sees. Figures on phantoms say how methods do on phantoms. Not for diagnosis."
)


def write_report(
    networks: Sequence[TrainedNetwork],
    test: TestSet,
    tables: Sequence[Table],
    figures: Sequence[Path],
    folder: Path,
    note: str,
) -> Path:
    """Write `report.md` and `report.html`, each whole or not at all.

    Args:
        networks: Who took part.
        test: On what.
        tables: In order.
        figures: PNG files in `folder`.
        folder: Where to.
        note: What else is to be known.

    Returns:
        The HTML page.
    """
    who = Table(
        "Networks",
        "Several seeds of one method are pooled.",
        ["method", "seed", "checkpoint"],
        [[one.name, str(one.seed), str(one.path)] for one in networks],
    )
    projected = {pair.name for pairs in test.projections.values() for pair in pairs}
    cases = (
        f"{len(test.pairs)} paired lungs, {len(test.micro)} micro-CT cases, {len(test.empty)} empty lungs, "
        f"{len(test.clinical)} clinical scans, {len(projected)} lungs by the projection scanner "
        f"({len(test.projections)} kinds of acquisition); no network was trained on any of them (by the hashes "
        "of the scans)."
    )
    pictures = "\n".join(f"![{path.stem}]({path.name})\n\n*{CAPTIONS[path.stem]}*\n" for path in figures)
    text = "\n".join(
        [
            "# Evaluation",
            "",
            cases,
            "",
            CAUTION,
            "",
            note,
            "",
            *(table.markdown() for table in (who, *tables)),
            pictures,
        ]
    )
    with replacing(folder / "report.md") as partial:
        partial.write_text(text, encoding="utf-8")
    images = "".join(
        f"<h3>{path.stem}</h3><p>{html.escape(CAPTIONS[path.stem])}</p>"
        f"<img alt='{path.stem}' src='data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}'>"
        for path in figures
    )
    body = "".join(f"<p>{html.escape(text)}</p>" for text in (cases, CAUTION, note))
    page = (
        f"<!doctype html><html><head><meta charset='utf-8'><title>evaluation</title><style>{STYLE}</style></head><body>"
        f"<h1>Evaluation</h1>{body}{images}{''.join(table.html() for table in (who, *tables))}</body></html>"
    )
    path = folder / "report.html"
    with replacing(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path
