"""The grids of a run: the scan's, the network's, and the one written."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ctsr.imaging.resample import Plane, resample_plane, resampled_affine
from ctsr.imaging.volume import SCALE, Affine, Spacing, Volume, spacing_of
from ctsr.inference.part import Bounds
from ctsr.records.scan_settings import Grid


@dataclass(frozen=True, eq=False)
class Plan:
    """How slices go through the network.

    Attributes:
        shape: Scan (z, y, x), canonical orientation.
        affine: Of the scan, canonical orientation.
        network_plane: Pixel size (y, x) in mm of what the network is given.
        grid: "input" writes the scan's spacing / 8, "model" the network's.
    """

    shape: tuple[int, int, int]
    affine: Affine
    network_plane: Plane
    grid: Grid

    @property
    def spacing(self) -> Spacing:
        """The scan's voxel size (z, y, x) in mm."""
        return spacing_of(self.affine)

    @property
    def resampled(self) -> bool:
        """Whether the network is given another pixel size than the scan's."""
        return self.network_plane != self.spacing[1:]

    @property
    def network_shape(self) -> tuple[int, int]:
        """Pixels (y, x) of what the network is given: enough to cover the scan."""
        y, x = (
            math.ceil(n * s / t - 1e-6)
            for n, s, t in zip(self.shape[1:], self.spacing[1:], self.network_plane, strict=True)
        )
        return y, x

    @property
    def output_plane(self) -> Plane:
        """Pixel size (y, x) in mm of what is written."""
        y, x = self.spacing[1:] if self.grid == "input" else self.network_plane
        return y / SCALE, x / SCALE

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Voxels (z, y, x) of what is written, canonical orientation."""
        y, x = self.shape[1:] if self.grid == "input" else self.network_shape
        return self.shape[0], SCALE * y, SCALE * x

    @property
    def output_affine(self) -> Affine:
        """Of what is written, canonical orientation: the scan's first outer edges, its slices, and the fine pixels.

        Without resampling, the first voxel's centre moves by -7/16 of an input voxel along both in-plane axes.
        """
        return resampled_affine(self.affine, self.output_plane)

    def to_network(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """One slice of the scan on the network's grid."""
        if not self.resampled:
            return image
        return resample_plane(image, self.spacing[1:], self.network_plane, self.network_shape)

    def to_output(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """What the network made of one slice, on the grid that is written."""
        if not self.resampled or self.grid == "model":
            return image
        y, x = self.network_plane
        return resample_plane(image, (y / SCALE, x / SCALE), self.output_plane, self.output_shape[1:])

    def coarse(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """A mask of one slice of the scan on the network's grid."""
        if not mask.any():
            return np.zeros(self.network_shape, dtype=bool)
        coarse: npt.NDArray[np.bool_] = self.to_network(mask.astype(np.float32)) > 0.5
        return coarse

    def fine(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """A mask of one slice of the scan on the grid that is written: each pixel as the one of the scan it lies in."""
        rows, columns = (
            np.minimum(((np.arange(count) + 0.5) * size / self.spacing[1 + axis]).astype(int), mask.shape[axis] - 1)
            for axis, (count, size) in enumerate(zip(self.output_shape[1:], self.output_plane, strict=True))
        )
        fine: npt.NDArray[np.bool_] = mask[np.ix_(rows, columns)]
        return fine


def plan(shape: tuple[int, int, int], affine: Affine, trained: Plane, tolerance: float, grid: Grid) -> Plan:
    """Decide whether a scan must be resampled.

    Args:
        shape: Scan (z, y, x), canonical orientation.
        affine: Of the scan, canonical orientation.
        trained: Pixel size (y, x) in mm the network was trained on.
        tolerance: Largest relative difference of pixel sizes that is passed to the network as it is.
        grid: The grid to write.
    """
    plane = spacing_of(affine)[1:]
    near = all(abs(have / want - 1.0) <= tolerance for have, want in zip(plane, trained, strict=True))
    return Plan(shape, affine, plane if near else trained, grid)


def crop_mask(mask: npt.NDArray[np.bool_], bounds: Bounds | None) -> npt.NDArray[np.bool_]:
    """Part of a mask, as `crop` takes it of the volume."""
    return mask if bounds is None else mask[_window(bounds)]


def crop(volume: Volume, bounds: Bounds | None) -> Volume:
    """Part of a volume, where it was in the world.

    Args:
        volume: Canonical orientation.
        bounds: Inside the volume; None: everything.
    """
    if bounds is None:
        return volume
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ bounds[::2]
    outside = None if volume.outside is None else crop_mask(volume.outside, bounds)
    return replace(volume, array=volume.array[_window(bounds)], affine=affine, outside=outside)


def _window(bounds: Bounds) -> tuple[slice, ...]:
    return tuple(slice(low, high) for low, high in zip(bounds[::2], bounds[1::2], strict=True))
