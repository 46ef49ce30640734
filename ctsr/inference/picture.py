"""A picture of a result: the scan, its interpolation and the network's image side by side."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from ctsr.files import replacing
from ctsr.imaging.intensity import Window
from ctsr.imaging.interpolation import bicubic
from ctsr.imaging.kernel.transfer import Softening
from ctsr.imaging.volume import Image, Volume
from ctsr.inference.grid import Plan
from ctsr.inference.nifti_stream import NiftiStream
from ctsr.inference.regions_of_interest import Region

OUTLINED = [withStroke(linewidth=5, foreground="black")]  # seen on bright ground too
LARGEST_HU = 200.0  # at the bright end of the differences
BAR_MM = 5.0


FEWEST_SLICES = 3  # of a reformat; less is a line


@dataclass(frozen=True)
class View:
    """One region.

    Attributes:
        title: Where it is.
        clinical: The scan there, values in [-1, 1].
        enlarged: The network's image of the same region, values in [-1, 1], about 8 times as many pixels.
        difference: |f(SR) - y| there, in HU.
        width_mm: How wide the region is.
        filtered: The scan there as the network was given it, values in [-1, 1]; None: as it is.
    """

    title: str
    clinical: Image
    enlarged: Image
    difference: Image
    width_mm: float
    filtered: Image | None = None


@dataclass(frozen=True)
class Reformat:
    """A cut across the slices.

    Attributes:
        title: Where it is.
        clinical: The scan there, one row a slice, values in [-1, 1].
        enlarged: What was made of it, one row a slice: slices are not refined.
        width_mm: How wide it is.
        height_mm: How high it is.
    """

    title: str
    clinical: Image
    enlarged: Image
    width_mm: float
    height_mm: float


def write_picture(
    views: Sequence[View], reformats: Sequence[Reformat], path: Path, note: str, softening: Softening | None = None
) -> None:
    """Write a PNG: a row for each region, with clinical, bicubic, the network's and |f(SR) - y|; then the reformats.

    It appears whole or not at all.

    Args:
        views: The regions.
        reformats: Cuts across the slices.
        path: Of the PNG.
        note: Stands above all.
        softening: The filter that the scan went through first; its gain is drawn beside what it made of the scan.
    """
    heights = [1.0] * len(views) + [cut.height_mm / cut.width_mm for cut in reformats[:1]]
    columns = 5 if any(view.filtered is not None for view in views) else 4
    figure = Figure(figsize=(3.75 * columns, 3.9 * sum(heights) + 0.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights)
    for axis in axes.flat:
        axis.set_axis_off()
    for place, (row, view) in enumerate(zip(axes, views, strict=False)):
        size = (view.width_mm, view.width_mm * view.clinical.shape[0] / view.clinical.shape[1])
        _show(row[0], view.clinical, size, f"clinical, {view.title}")
        seen, of = view.clinical, ""
        if view.filtered is not None:
            seen, of = view.filtered, " of that"
            _show(row[1], seen, size, "by training's kernel")
            if softening is not None and place == 0:
                _draw_gain(row[1], softening)
        fine = bicubic(torch.from_numpy(seen)[None, None])[0, 0].numpy()
        _show(row[-3], fine, size, f"bicubic x8{of}")
        _show(row[-2], view.enlarged, size, f"network x8{of}")
        name = f"|f(network) - {'that' if of else 'clinical'}|, 0 to {LARGEST_HU:.0f} HU"
        _show(row[-1], view.difference, size, name, cmap="magma", vmin=0.0, vmax=LARGEST_HU)
        _scale_bar(row[0])
    for column, cut in enumerate(reformats):
        size = (cut.width_mm, cut.height_mm)
        _show(axes[-1, 2 * column], cut.clinical, size, f"clinical, {cut.title}")
        _show(axes[-1, 2 * column + 1], cut.enlarged, size, "network x8 in the plane")
    figure.suptitle(note, fontsize=9, parse_math=False)  # a $ in a name is no formula
    with replacing(path) as partial, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # of a name that the font cannot write
        figure.savefig(partial, format="png")


def _show(axis: Axes, image: Image, size_mm: tuple[float, float], title: str, **colours: Any) -> None:
    width, height = size_mm
    options: dict[str, Any] = {"cmap": "gray", "vmin": -1.0, "vmax": 1.0} | colours
    axis.imshow(image, interpolation="nearest", extent=(0.0, width, 0.0, height), aspect="equal", **options)
    axis.set_axis_off()
    axis.set_title(title, fontsize=10)


def _draw_gain(beside: Axes, softening: Softening) -> None:
    axis = beside.inset_axes((0.14, 0.12, 0.4, 0.28))
    axis.plot(softening.frequency, softening.gain, color="black", linewidth=1.5)
    axis.set(xlim=(0, 0.8), ylim=(0, 1.05), xticks=(0, 0.4, 0.8), yticks=(0, 1))
    axis.tick_params(labelsize=7, colors="white")
    axis.set_title("gain of the filter over 1/mm", fontsize=7, color="white")


def _scale_bar(axis: Axes) -> None:
    height = axis.get_ylim()[1]
    axis.plot([1, 1 + BAR_MM], [0.04 * height] * 2, color="white", linewidth=3, path_effects=OUTLINED)
    label = (1 + BAR_MM / 2, 0.055 * height, f"{BAR_MM:.0f} mm")
    axis.text(*label, color="white", ha="center", va="bottom", fontsize=9, path_effects=OUTLINED)


@dataclass(frozen=True)
class Views:
    """Cuts views out of a scan and out of what was made of it.

    Attributes:
        volume: The scan, or a part of it, canonical orientation.
        first: Where in the scan its first voxel lies: slice, row, column. Titles count from the scan's own.
        steps: Its grids.
        result: What has been written.
        clinical: Greys of the scan that are seen.
        greys: Greys of the result that are seen.
    """

    volume: Volume
    first: tuple[int, int, int]
    steps: Plan
    result: NiftiStream
    clinical: Window
    greys: Window

    def view(
        self, region: Region, difference: npt.NDArray[np.float32], filtered: Callable[[int], Image] | None = None
    ) -> View:
        """One region, in its slice.

        Args:
            region: Where.
            difference: |f(SR) - y| of the region's slice, in HU, on the network's grid.
            filtered: Gives a slice in HU as it was filtered; None: none was.
        """
        rows, columns = slice(region.y, region.y + region.size), slice(region.x, region.x + region.size)
        network = self.steps.network_plane
        return View(
            f"slice {self.first[0] + region.z}",
            self.clinical.normalise(self.volume.array[region.z, rows, columns]),
            self.greys.normalise(self.result[region.z, self._fine(rows, 0), self._fine(columns, 1)]),
            difference[self._on(rows, 0, network[0]), self._on(columns, 1, network[1])],
            region.size * self.steps.spacing[2],
            None if filtered is None else self.clinical.normalise(filtered(region.z)[rows, columns]),
        )

    def reformats(self, region: Region) -> list[Reformat]:
        """A coronal and a sagittal cut through the middle of a region, as wide as it and at most as high."""
        depth, step = self.steps.shape[0], self.steps.spacing[0]
        reach = max(1, round(region.size * self.steps.spacing[1] / step / 2))
        slices = slice(max(0, region.z - reach), min(depth, region.z + reach + 1))
        height = (slices.stop - slices.start) * step
        if slices.stop - slices.start < FEWEST_SLICES:
            return []
        rows, columns = slice(region.y, region.y + region.size), slice(region.x, region.x + region.size)
        y, x = region.y + region.size // 2, region.x + region.size // 2
        fine_y, fine_x = (self._fine(slice(at, at + 1), axis).start + 4 for axis, at in ((0, y), (1, x)))
        # The head is up.
        return [
            Reformat(
                f"coronal, row {self.first[1] + y}",
                self.clinical.normalise(self.volume.array[slices, y, columns])[::-1],
                self.greys.normalise(self.result[slices, fine_y, self._fine(columns, 1)])[::-1],
                region.size * self.steps.spacing[2],
                height,
            ),
            Reformat(
                f"sagittal, column {self.first[2] + x}",
                self.clinical.normalise(self.volume.array[slices, rows, x])[::-1],
                self.greys.normalise(self.result[slices, self._fine(rows, 0), fine_x])[::-1],
                region.size * self.steps.spacing[1],
                height,
            ),
        ]

    def _fine(self, part: slice, axis: int) -> slice:
        """The same part of an axis (0 rows, 1 columns) in the result."""
        return self._on(part, axis, self.steps.output_plane[axis])

    def _on(self, part: slice, axis: int, pixel_mm: float) -> slice:
        ratio = self.steps.spacing[1 + axis] / pixel_mm
        return slice(round(part.start * ratio), round(part.stop * ratio))
