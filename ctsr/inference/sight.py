"""What the picture of a result shows: the same part of the world in the scan and in what was made of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ctsr.imaging.intensity import Window
from ctsr.imaging.volume import Volume
from ctsr.inference.grid import Plan
from ctsr.inference.nifti_stream import NiftiStream
from ctsr.inference.picture import Reformat, View
from ctsr.inference.regions_of_interest import Place

FEWEST_SLICES = 3  # of a reformat; less is a line


@dataclass(frozen=True)
class Sight:
    """Parts of a run.

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

    def view(self, place: Place, difference: npt.NDArray[np.float32]) -> View:
        """One place, in its slice.

        Args:
            place: Where.
            difference: |f(SR) - y| of the place's slice, in HU, on the network's grid.
        """
        rows, columns = slice(place.y, place.y + place.size), slice(place.x, place.x + place.size)
        network = self.steps.network_plane
        return View(
            f"slice {self.first[0] + place.z}",
            self.clinical.normalise(self.volume.array[place.z, rows, columns]),
            self.greys.normalise(self.result[place.z, self._fine(rows, 0), self._fine(columns, 1)]),
            difference[self._on(rows, 0, network[0]), self._on(columns, 1, network[1])],
            place.size * self.steps.spacing[2],
        )

    def reformats(self, place: Place) -> list[Reformat]:
        """A coronal and a sagittal cut through the middle of a place, as wide as it and at most as high."""
        depth, step = self.steps.shape[0], self.steps.spacing[0]
        reach = max(1, round(place.size * self.steps.spacing[1] / step / 2))
        slices = slice(max(0, place.z - reach), min(depth, place.z + reach + 1))
        height = (slices.stop - slices.start) * step
        if slices.stop - slices.start < FEWEST_SLICES:
            return []
        rows, columns = slice(place.y, place.y + place.size), slice(place.x, place.x + place.size)
        y, x = place.y + place.size // 2, place.x + place.size // 2
        fine_y, fine_x = (self._fine(slice(at, at + 1), axis).start + 4 for axis, at in ((0, y), (1, x)))
        # The head is up.
        return [
            Reformat(
                f"coronal, row {self.first[1] + y}",
                self.clinical.normalise(self.volume.array[slices, y, columns])[::-1],
                self.greys.normalise(self.result[slices, fine_y, self._fine(columns, 1)])[::-1],
                place.size * self.steps.spacing[2],
                height,
            ),
            Reformat(
                f"sagittal, column {self.first[2] + x}",
                self.clinical.normalise(self.volume.array[slices, rows, x])[::-1],
                self.greys.normalise(self.result[slices, self._fine(rows, 0), fine_x])[::-1],
                place.size * self.steps.spacing[1],
                height,
            ),
        ]

    def _fine(self, part: slice, axis: int) -> slice:
        """The same part of an axis (0 rows, 1 columns) in the result."""
        return self._on(part, axis, self.steps.output_plane[axis])

    def _on(self, part: slice, axis: int, pixel_mm: float) -> slice:
        ratio = self.steps.spacing[1 + axis] / pixel_mm
        return slice(round(part.start * ratio), round(part.stop * ratio))
