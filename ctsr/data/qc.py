"""One page to look at before a night of training: every case with its outline, its figures and what is odd about it."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from ctsr.data.cohort import notes_of, warnings_of
from ctsr.data.preparing.store import PreparedCase
from ctsr.files import replacing

MAX_PIXELS = 512  # of a drawn slice
THINNEST = 2  # pixels that an outline needs
HEADINGS = ("domain", "case", "part", "format", "spacing z, y, x (mm)", "greys 0.5 / 50 / 99.5 %", "ml", "patches", "")
STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #222; background: #fafafa }
table { border-collapse: collapse } th, td { padding: .3em .8em; text-align: left; border-bottom: 1px solid #ddd }
.warn { color: #a40000 } .train { color: #06437a } .val { color: #6a4c00 } .test { color: #4b0e68 }
img { max-width: 100%; display: block } h2 { margin: 1.5em 0 .3em; font-size: 1.1em }
"""

Cases = Mapping[str, Mapping[str, Sequence[PreparedCase]]]


def write_page(cases: Cases, patches: Mapping[PreparedCase, int], path: Path, notes: Sequence[str] = ()) -> None:
    """Write the page, with its pictures inside it.

    Args:
        cases: Domain -> part (train, val, test) -> cases.
        patches: For each case, the places that patches can be drawn from.
        path: An HTML file; it appears whole or not at all.
        notes: What is odd about the cases together, beside what their facts tell.
    """
    rows, pictures, told = [], [], list(notes)
    for domain, parts in cases.items():
        cohort = list({case.name: case.facts for members in parts.values() for case in members}.values())
        told += notes_of(cohort)
        for part, members in parts.items():
            for case in members:
                found = warnings_of(case.facts, cohort, patches[case])
                anchor = f"{domain}-{part}-{case.name}"
                rows.append(_row(case, part, anchor, patches[case], found))
                pictures.append(_picture(case, part, anchor, found))
    head = "".join(f"<th>{heading}</th>" for heading in HEADINGS)
    above = "".join(f"<p class='warn'>{html.escape(note)}</p>" for note in told)
    page = (
        f"<!doctype html><html><head><meta charset='utf-8'><title>cases</title><style>{STYLE}</style></head><body>"
        f"<h1>Cases</h1>{above}<table><tr>{head}</tr>{''.join(rows)}</table>{''.join(pictures)}</body></html>"
    )
    with replacing(path) as partial:
        partial.write_text(page, encoding="utf-8")


def draw_case(case: PreparedCase) -> Figure:
    """Three slices and a coronal view of a case, with the outline of its mask."""
    inside = np.flatnonzero([plane.any() for plane in case.mask])
    inside = inside if inside.size else np.arange(len(case.slices))
    chosen = [int(inside[int(share * (len(inside) - 1))]) for share in (0.25, 0.5, 0.75)]
    rows = np.flatnonzero(case.mask[chosen[1]].any(axis=1))
    row = int(np.median(rows)) if rows.size else case.plane[0] // 2
    z, y, x = case.spacing
    views = [(f"slice {k + case.slices.start}", case.image[k], case.mask[k], (y, x)) for k in chosen]
    views.append((f"coronal, row {row}", case.image[::-1, row], case.mask[::-1, row], (z, x)))
    figure = Figure(figsize=(14, 3.8), layout="constrained")
    for axis, (title, image, mask, (down, right)) in zip(figure.subplots(1, 4), views, strict=True):
        steps = tuple(slice(None, None, max(1, size // MAX_PIXELS)) for size in image.shape)
        extent = (0.0, image.shape[1] * right, image.shape[0] * down, 0.0)
        axis.imshow(_drawable(image[steps]), cmap="gray", vmin=-1, vmax=1, extent=extent)
        if min(mask[steps].shape) >= THINNEST and mask.any() and not mask.all():
            axis.contour(_drawable(mask[steps])[::-1], levels=[0.5], colors="#ff9d00", linewidths=0.8, extent=extent)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("mm", fontsize=8)
        axis.tick_params(labelsize=7)
    return figure


def _drawable(image: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    return np.asarray(image, dtype=np.float32)


def _row(case: PreparedCase, part: str, anchor: str, patches: int, found: Sequence[str]) -> str:
    facts = case.facts
    cells = [
        case.domain,
        f"<a href='#{html.escape(anchor)}'>{html.escape(case.name)}</a>",
        f"<span class='{part}'>{part}</span>",
        facts.format,
        " × ".join(f"{size:.4g}" for size in facts.spacing),
        " / ".join(f"{grey:.5g}" for grey in facts.greys),
        f"{facts.volume_ml:.0f}" if facts.volume_ml >= 100 else f"{facts.volume_ml:.3g}",
        str(patches),
        f"<span class='warn'>{html.escape('; '.join(found))}</span>",
    ]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _picture(case: PreparedCase, part: str, anchor: str, found: Sequence[str]) -> str:
    kept = case.folder / f"outline_{case.slices.start}_{case.slices.stop}.jpg"
    if not kept.exists():  # a prepared case never changes
        with replacing(kept) as partial:
            draw_case(case).savefig(partial, format="jpg", dpi=90, pil_kwargs={"quality": 85})
    data = base64.b64encode(kept.read_bytes()).decode()
    notes = "".join(f"<div class='warn'>{html.escape(text)}</div>" for text in found)
    title = f"{case.domain} {html.escape(case.name)} ({part})"
    source = f"data:image/jpeg;base64,{data}"
    return f"<h2 id='{html.escape(anchor)}'>{title}</h2>{notes}<img loading='lazy' alt='{title}' src='{source}'>"
