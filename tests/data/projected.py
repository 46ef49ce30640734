"""Lungs by a scanner of several kinds of acquisition, in miniature: what it saw is known by arithmetic."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

FINE = 0.078125
SLICES = {"edge": range(1, 16, 3), "soft": range(2, 16, 4)}
"""Of each kind the micro-CT slices that its slices lie at."""


def phantom(seed: int = 0, size: int = 128) -> npt.NDArray[np.int16]:
    """Smooth blobs in HU, some of them beyond -1000 to 100."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(16, size, size)), (2, 4, 4))
    return np.rint(-450 + 300 * field / field.std()).astype(np.int16)


def averaged(micro: npt.NDArray[np.int16], kind: str) -> npt.NDArray[np.int16]:
    """What "soft" saw of each of its slices: means of 8 x 8 pixels; "edge" saw twice the contrast."""
    slices = micro[list(SLICES[kind])]
    low = slices.shape[1] // 8
    means = slices.reshape(len(slices), low, 8, low, 8).mean(axis=(2, 4))
    return np.rint(means if kind == "soft" else 2 * means + 450).astype(np.int16)


def write_lung(
    folder: Path, seed: int = 0, first: tuple[int, int] = (3, 5), flip: bool = False, size: int = 128
) -> npt.NDArray[np.int16]:
    """Write a lung by "soft" and "edge", each in a field of 24 x 30 pixels of which the micro-CT begins at `first`.

    Returns:
        The micro-CT.
    """
    folder.mkdir(parents=True)
    micro = phantom(seed, size)
    labels = np.ones(micro.shape, np.uint8)
    labels[:, 40:60, 40:60] = 4
    _write(folder / "micro.nii.gz", micro, FINE, FINE, 0.0)
    _write(folder / "labels.nii.gz", labels, FINE, FINE, 0.0)
    for kind, places in SLICES.items():
        field = np.random.default_rng(7).integers(-2000, -1500, (len(places), 24, 30)).astype(np.int16)
        low = averaged(micro[:, : size // 8 * 8, : size // 8 * 8], kind)
        seen = field[:, max(0, first[0]) :, max(0, first[1]) :][:, : low.shape[1], : low.shape[2]]
        seen[:] = low[:, : seen.shape[1], : seen.shape[2]]
        _write(folder / f"{kind}.nii.gz", field, 8 * FINE, places.step * FINE, places.start * FINE, first, flip)
    return micro


def _write(
    path: Path,
    array: npt.NDArray[np.generic],
    pixel: float,
    slice_mm: float,
    first_z: float,
    first: tuple[int, int] = (0, 0),
    flip: bool = False,
) -> None:
    """Rows run to posterior, columns to the left; the pixel `first` begins where the world does."""
    affine = np.diag([-pixel, -pixel, slice_mm, 1.0])
    affine[:3, 3] = (first[1] - 0.5) * pixel, (first[0] - 0.5) * pixel, first_z
    image = nibabel.Nifti1Image(np.ascontiguousarray(array.T), affine)
    nibabel.save(nibabel.as_closest_canonical(image) if flip else image, path)
