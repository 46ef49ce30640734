"""Measures a trained network on the cases that no stage was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from ctsr.data.prepared import PreparedCase
from ctsr.evaluation.figures import paired_figure
from ctsr.evaluation.grey_maps import fit_paired_map, fit_synthetic_map
from ctsr.evaluation.pairs import find_pairs, load_pair
from ctsr.evaluation.protocols import Downsample, paired, synthetic
from ctsr.evaluation.results import Row, write_csv
from ctsr.imaging.intensity import Window


def measure(
    GS: nn.Module,
    G1: nn.Module,
    f: Downsample,
    window: Window,
    cases: Mapping[str, Mapping[str, Sequence[PreparedCase]]],
    paired_root: Path | None,
    folder: Path,
    tile: int = 256,
    cover: float = 0.8,
) -> list[Row]:
    """Scores by each protocol that there are cases for; writes `evaluation.csv` and, with pairs, `paired.png`.

    Args:
        GS: Super-resolution network.
        G1: Synthesizing generator.
        f: Downsampling by 8, on the CPU.
        window: Clinical window of the network.
        cases: domain -> part -> prepared cases; grey maps are fitted on "train", "test" is measured.
        paired_root: Folder of lungs seen by both scanners; None without.
        folder: Where the files go.
        tile: Side of a tile in µCT pixels.
        cover: Least share of a tile inside the specimen.

    Returns:
        One row for each case, protocol, method and metric; none where nothing was held out.
    """
    training = {domain: parts["train"] for domain, parts in cases.items()}
    rows: list[Row] = []
    if paired_root is not None and "clinical" in training:
        pairs = [load_pair(path) for path in find_pairs(paired_root)]
        grey_map = fit_paired_map(training["clinical"], training["micro"], f)
        rows += paired(GS, pairs, window, grey_map, tile, cover)
        paired_figure(GS, pairs, window, grey_map, folder / "paired.png")
    if held_out := cases["micro"]["test"]:
        grey_map = fit_synthetic_map(G1, training["micro"], f, tile, cover)
        rows += synthetic(GS, G1, held_out, f, grey_map, tile, cover)
    if rows:
        write_csv(rows, folder / "evaluation.csv")
    return rows
