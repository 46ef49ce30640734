"""Measures a trained network on the cases that no stage was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from ctsr.data.prepared import PreparedCase
from ctsr.evaluation.figures import paired_figure
from ctsr.evaluation.pairs import find_pairs, load_pair
from ctsr.evaluation.protocols import Downsample, paired, synthetic
from ctsr.evaluation.results import Row, write_csv
from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window


def measure(
    GS: nn.Module,
    G1: nn.Module,
    f: Downsample,
    window: Window,
    grey_maps: Mapping[str, GreyMap],
    held_out: Sequence[PreparedCase],
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
        grey_maps: Greys of "clinical" and "synthetic" images to those of f(x), fitted on training cases; without the
            first, pairs are not measured.
        held_out: µCT cases that no stage was trained on.
        paired_root: Folder of lungs seen by both scanners; None without.
        folder: Where the files go.
        tile: Side of a tile in µCT pixels.
        cover: Least share of a tile inside the specimen.

    Returns:
        One row for each case, protocol, method and metric; none where nothing was held out.
    """
    rows: list[Row] = []
    if paired_root is not None and "clinical" in grey_maps:
        pairs = [load_pair(path) for path in find_pairs(paired_root)]
        rows += paired(GS, pairs, window, grey_maps["clinical"], tile, cover)
        paired_figure(GS, pairs, window, grey_maps["clinical"], folder / "paired.png")
    if held_out:
        rows += synthetic(GS, G1, held_out, f, grey_maps["synthetic"], tile, cover)
    if rows:
        write_csv(rows, folder / "evaluation.csv")
    return rows
