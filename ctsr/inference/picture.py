"""A picture of a result: the scan, its interpolation and the network's image side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from torch.nn import functional as F

from ctsr.files import replacing
from ctsr.imaging.pyramid import SCALE

OUTLINED = [withStroke(linewidth=5, foreground="black")]  # seen on bright ground too

Image = npt.NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """One place.

    Attributes:
        title: Where it is.
        clinical: The scan there, values in [-1, 1].
        ours: The network's image of the same place, values in [-1, 1], about 8 times as many pixels.
        width_mm: How wide the place is.
    """

    title: str
    clinical: Image
    ours: Image
    width_mm: float


def write_picture(views: Sequence[View], path: Path, note: str) -> None:
    """Write a PNG: a row for each place; clinical, bicubic and ours in columns. It appears whole or not at all."""
    figure = Figure(figsize=(12, 4.1 * len(views) + 0.3), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(views), 3, squeeze=False)
    for row, view in zip(axes, views, strict=True):
        for axis, (name, image) in zip(row, _columns(view).items(), strict=True):
            axis.imshow(image, cmap="gray", vmin=-1, vmax=1, interpolation="nearest", extent=(0, view.width_mm, 0, 1))
            axis.set_aspect(view.width_mm * image.shape[0] / image.shape[1])
            axis.set_axis_off()
            axis.set_title(name, fontsize=10)
        row[0].set_title(f"clinical, {view.title}", fontsize=10)
        row[0].plot([1, 6], [0.04, 0.04], color="white", linewidth=3, path_effects=OUTLINED)
        row[0].text(3.5, 0.055, "5 mm", color="white", ha="center", va="bottom", fontsize=9, path_effects=OUTLINED)
    figure.suptitle(note, fontsize=9)
    with replacing(path) as partial:
        figure.savefig(partial, format="png")


def _columns(view: View) -> dict[str, Image]:
    fine = F.interpolate(torch.from_numpy(view.clinical)[None, None], scale_factor=SCALE, mode="bicubic")
    return {"clinical": view.clinical, "bicubic x8": fine[0, 0].numpy(), "ours x8": view.ours}
