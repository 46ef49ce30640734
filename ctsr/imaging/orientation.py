"""One orientation for all scans, by flips and axis permutation only: acquired slices stay slices.

Axis 0 runs across the slices; in the plane, rows and columns run as a radiologist's display has them. The directions
of increasing (slice, row, column) index are

    axial      Superior, Posterior, Left
    coronal    Posterior, Inferior, Left
    sagittal   Left, Inferior, Posterior

each meaning the nearest of the three world axes for an oblique scan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from nibabel import orientations

from ctsr.imaging.volume import Affine, Array, Volume, spacing_of

_TARGET = {0: ("L", "I", "P"), 1: ("P", "I", "L"), 2: ("S", "P", "L")}  # by the world axis across the slices


@dataclass(frozen=True)
class Orientation:
    """How an array was turned, and how to turn it back.

    Attributes:
        axes: For each axis of the original array, the axis it becomes.
        flips: For each axis of the original array, -1 where its direction was reversed, else 1.
    """

    axes: tuple[int, int, int]
    flips: tuple[int, int, int]

    def apply(self, array: Array) -> Array:
        """The array in canonical orientation, as a view: writing to it writes to the original."""
        return _turned(array, self._ornt)

    def undo(self, array: Array) -> Array:
        """The canonical array in the original orientation, as a view; of any size, so also one made finer."""
        return _turned(array, self._inverse)

    def apply_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of `apply(array)` for an array of this shape."""
        return tuple(int(shape[axis]) for axis in np.argsort(self.axes))

    def apply_affine(self, affine: Affine, shape: tuple[int, ...]) -> Affine:
        """Affine of `apply(array)` for an array of this shape and affine."""
        turned: Affine = affine @ orientations.inv_ornt_aff(self._ornt, shape)
        return turned

    def undo_affine(self, affine: Affine, shape: tuple[int, ...]) -> Affine:
        """Affine of `undo(array)` for a canonical array of this shape and affine."""
        turned: Affine = affine @ orientations.inv_ornt_aff(self._inverse, shape)
        return turned

    @property
    def _ornt(self) -> npt.NDArray[np.float64]:
        return np.column_stack([self.axes, self.flips]).astype(np.float64)

    @property
    def _inverse(self) -> npt.NDArray[np.float64]:
        inverse: npt.NDArray[np.float64] = orientations.ornt_transform([[0, 1], [1, 1], [2, 1]], self._ornt)
        return inverse


def canonical(volume: Volume, slice_axis: int | None = None) -> tuple[Volume, Orientation]:
    """Bring a scan into the one orientation of this module.

    Args:
        volume: Any orientation, also oblique.
        slice_axis: Axis across the slices; None: the volume's own, else judged by `find_slice_axis`.

    Returns:
        The turned volume (views of the arrays given) and the way back.
    """
    orientation = find_orientation(volume.affine, volume.slice_axis if slice_axis is None else slice_axis)
    turned = replace(
        volume,
        array=orientation.apply(volume.array),
        affine=orientation.apply_affine(volume.affine, volume.array.shape),
        outside=None if volume.outside is None else orientation.apply(volume.outside),
        slice_axis=0,
    )
    return turned, orientation


def find_orientation(affine: Affine, slice_axis: int | None = None) -> Orientation:
    """The turn that makes a grid canonical; it does not depend on the grid's size."""
    now = orientations.io_orientation(affine)
    across = find_slice_axis(affine) if slice_axis is None else slice_axis
    turn = orientations.ornt_transform(now, orientations.axcodes2ornt(_TARGET[int(now[across, 0])]))
    (a, b, c), (e, f, g) = turn.astype(int).T.tolist()
    return Orientation((a, b, c), (e, f, g))


def find_slice_axis(affine: Affine) -> int:
    """The axis whose spacing differs from the other two, which agree; otherwise the one nearest to head-feet."""
    spacing = np.array(spacing_of(affine))
    for axis in range(3):
        one, two = np.delete(spacing, axis)
        if np.isclose(one, two, rtol=1e-3) and not np.isclose(spacing[axis], one, rtol=1e-3):
            return axis
    return int(np.argmax(orientations.io_orientation(affine)[:, 0] == 2))


def _turned(array: Array, ornt: npt.NDArray[np.float64]) -> Array:
    turned: Array = orientations.apply_orientation(array, ornt)
    return turned
