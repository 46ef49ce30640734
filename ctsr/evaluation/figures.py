"""Pictures for paired lungs after the paper's Fig. 4, with the truth that the paper did not have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from scipy.ndimage import uniform_filter
from torch import nn

from ctsr.evaluation.metrics import ssim
from ctsr.evaluation.pairs import Pair
from ctsr.evaluation.protocols import OURS, chosen_slices, enlarged, to_unit
from ctsr.files import replacing
from ctsr.imaging.grey_map import GreyMap
from ctsr.imaging.intensity import Window
from ctsr.phantom.labels import Label

STRUCTURES = {"vessel": Label.VESSEL, "airway": Label.AIRWAY_WALL, "nodule": Label.NODULE}
OUTLINED = [withStroke(linewidth=5, foreground="black")]  # seen on bright ground too
COLUMNS = {"nearest": "clinical", "bicubic_mapped": "bicubic, greys mapped", OURS: "ours", "truth": "micro-CT truth"}


def paired_figure(
    GS: nn.Module,
    pairs: Sequence[Pair],
    window: Window,
    grey_map: GreyMap,
    path: Path,
    size: int = 160,
    slices: int = 4,
) -> None:
    """Write a PNG: clinical | bicubic | ours | truth where there is most of a vessel, an airway and a nodule.

    Args:
        GS: Super-resolution network.
        pairs: Lungs seen by both scanners.
        window: Clinical window of the network.
        grey_map: Clinical to micro-CT greys.
        path: The picture; it appears whole or not at all.
        size: Side of a crop in micro-CT pixels; made smaller where the scan is.
        slices: Slices searched of each case, evenly spread.
    """
    size = min(size, *(side for pair in pairs for side in pair.micro.array.shape[1:]))
    places = {name: place for name, label in STRUCTURES.items() if (place := _fullest(pairs, label, size, slices))}
    if not places:
        return  # scans too small to hold a whole crop
    figure = Figure(figsize=(3 * len(COLUMNS), 3.2 * len(places)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(places), len(COLUMNS), squeeze=False)
    for row, (name, (pair, (clinical_z, micro_z), (y, x))) in zip(axes, places.items(), strict=True):
        images = enlarged(GS, window.normalise(pair.clinical.array[clinical_z]), grey_map)
        images["truth"] = pair.window.normalise(pair.micro.array[micro_z])
        crop = np.s_[y : y + size, x : x + size]
        truth = to_unit(images["truth"][crop])
        for axis, (method, title) in zip(row, COLUMNS.items(), strict=True):
            image = to_unit(images[method][crop])
            axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(title, fontsize=9)
            if method != "truth":
                axis.set_xlabel(f"SSIM {ssim(image, truth):.2f}", fontsize=8)
        row[0].set_ylabel(f"{name}: {pair.name}, slice {clinical_z}", fontsize=9)
        _scale_bar(row[-1], size, pair.pixel_mm)
    with replacing(path) as partial:
        figure.savefig(partial, format="png")


def _fullest(
    pairs: Sequence[Pair], label: Label, size: int, slices: int
) -> tuple[Pair, tuple[int, int], tuple[int, int]] | None:
    """The crop with most of a structure that lies wholly inside the specimen: pair, slices, first row and column."""
    best, most = None, 0.0
    for pair in pairs:
        for place in chosen_slices(pair, slices):
            labels = pair.labels[place[1]]
            inside = _share(pair.specimen(place[1]), size) > 0.98
            share = np.where(inside, _share(labels == label, size), 0.0)
            if share.max() > most:
                y, x = np.unravel_index(np.argmax(share), share.shape)
                best, most = (pair, place, (int(y), int(x))), float(share.max())
    return best


def _share(mask: npt.NDArray[np.bool_], size: int) -> npt.NDArray[np.float64]:
    """Share of the mask in the crop that starts at each pixel where a whole crop fits."""
    filtered: npt.NDArray[np.float64] = uniform_filter(mask.astype(np.float64), size, origin=-(size // 2))
    return filtered[: mask.shape[0] - size + 1, : mask.shape[1] - size + 1]


def _scale_bar(axis: Axes, size: int, pixel_mm: float) -> None:
    length = 2.0 / pixel_mm
    axis.plot([0.05 * size, 0.05 * size + length], [0.95 * size] * 2, color="white", linewidth=3, path_effects=OUTLINED)
    middle = 0.05 * size + length / 2
    axis.text(middle, 0.93 * size, "2 mm", color="white", ha="center", va="bottom", fontsize=8, path_effects=OUTLINED)
