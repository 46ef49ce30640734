"""A CT scanner in parallel beams: what its detector counts, and the image that a kernel makes of it.

Nothing here is blurred, mapped or made noisy by a formula for images: point spread, greys, noise and artefacts are what
projections and filtered backprojection leave (Kak and Slaney, Principles of Computerized Tomographic Imaging, ch. 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from ctsr.phantom.projections.beam import transmitted, water_path
from ctsr.phantom.projections.body import MUSCLE, Body
from ctsr.phantom.projections.kernels import Kernel
from ctsr.phantom.projections.rays import TOGETHER, add_line_integrals, backproject
from ctsr.phantom.tissue import AIR

Array = npt.NDArray[np.float32]

RAY = 0.15  # mm between the thin rays that a reading is the mean of
CELL, SPOT = 4, 2  # rays across a detector cell (0.6 mm) and across the focal spot (0.3 mm), both at the axis
SAMPLE = 2  # rays between readings: half a cell, which a flying focal spot gives
REACH = 105.0  # mm on either side of the axis that the detector sees
WITHIN_VIEW = 2  # positions of the turning gantry during a reading
FINER = 4  # filtered readings are interpolated between before they are spread over the image
OUTSIDE = -1024.0  # HU beyond the field of view
ELECTRONIC = 5.0  # standard deviation of a reading without a photon, in photons

TAPS = np.convolve(np.ones(CELL) / CELL, np.ones(SPOT) / SPOT)
PITCH = SAMPLE * RAY
SAMPLES = 2 * round(REACH / PITCH) + 1
ENDS = PITCH * (SAMPLES - 1) / 2  # mm from the axis to the outermost readings
RAYS = SAMPLE * (SAMPLES - 1) + len(TAPS)
FIRST = -ENDS - RAY * (len(TAPS) // 2)  # offset of the first ray
OFFSETS = (FIRST + RAY * np.arange(RAYS)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Lung:
    """A block of tissue inside the muscle of a body.

    Attributes:
        density: (z, y, x) in HU.
        vessels: Where blood vessels are, its shape.
        voxel: Voxel size in mm.
        centre: Its middle (y, x) in mm from the axis of rotation.
        rows: Middle of each detector row in mm from the block's first face.
        row_width: Of a detector row in mm.
    """

    density: Array
    vessels: npt.NDArray[np.bool_]
    voxel: float
    centre: tuple[float, float]
    rows: npt.NDArray[np.floating]
    row_width: float


@dataclass(frozen=True)
class Acquisition:
    """What differs between scans of one body.

    Attributes:
        drift: How far the lung moves to the left and to posterior, evenly, during the half turn, in mm.
        iodine: Contrast agent in blood, in mg/ml.
    """

    drift: float = 0.0
    iodine: float = 0.0


STILL = Acquisition()


@dataclass(frozen=True)
class ProjectionScanner:
    """The scanner.

    Attributes:
        views: Readings of the detector over half a turn.
    """

    views: int = 720

    def angles(self) -> npt.NDArray[np.float64]:
        """Of the views in radians: the middle of each reading."""
        return (np.arange(self.views) + 0.5) * np.pi / self.views

    def shares(self, body: Body, lung: Lung | None, acquisition: Acquisition) -> Array:
        """Shares of the signal that reach the detector, without noise: (view, row, sample).

        A reading is the mean of the intensity over the cell, the focal spot and the way that the gantry turns, not the
        intensity of a mean: edges along the beam are seen as they are by a scanner. Over the height of a
        detector row paths differ so little that their mean is taken.
        """
        blocks = _blocks(lung, acquisition)
        rows = 1 if lung is None else len(lung.rows)
        out = np.empty((self.views, rows, SAMPLES), np.float32)
        turns = (np.arange(WITHIN_VIEW) + 0.5) / WITHIN_VIEW - 0.5
        for view, angle in enumerate(self.angles()):
            seen = np.zeros((rows, RAYS), np.float32)
            for turn in angle + turns * np.pi / self.views:
                cos, sin = float(np.cos(turn)), float(np.sin(turn))
                water, bone, blood = body.paths(cos, sin, OFFSETS)
                if lung is not None:
                    moved = acquisition.drift * (turn / np.pi - 0.5)
                    centre = (lung.centre[0] + moved, lung.centre[1] + moved)
                    through = [_through(block, lung.voxel, centre, cos, sin) for block in blocks]
                    water, blood = water + through[0], blood + sum(through[1:])
                seen += transmitted(np.broadcast_to(water, seen.shape), bone, np.float32(acquisition.iodine) * blood)
            read = sum(tap * seen[:, k : k + SAMPLE * SAMPLES - 1 : SAMPLE] for k, tap in enumerate(TAPS))
            out[view] = read / WITHIN_VIEW
        return out

    def measure(self, shares: Array, photons: float, rng: np.random.Generator) -> Array:
        """Paths in mm of water that noisy readings tell, the shape of `shares`.

        Args:
            shares: Of `shares()`.
            photons: That reach a detector cell in one reading where nothing is in the beam; infinite: no noise.
            rng: Source of the noise.
        """
        if np.isinf(photons):
            return np.asarray(water_path(shares), dtype=np.float32)
        counted = rng.poisson(photons * shares).astype(np.float32)
        counted += np.float32(ELECTRONIC) * rng.standard_normal(shares.shape, dtype=np.float32)
        return np.asarray(water_path(np.maximum(counted, 1) / np.float32(photons)), dtype=np.float32)

    def reconstruct(self, paths: Array, kernel: Kernel, pixels: int, pixel: float) -> Array:
        """HU (slice, y, x) by filtered backprojection: water 0, air -1000; -1024 beyond what the detector sees.

        Args:
            paths: (view, slice, sample) in mm of water.
            kernel: Of the image.
            pixels: Rows and columns.
            pixel: Their size in mm; the middle of the image is the axis of rotation.
        """
        count = paths.shape[1]
        if count > TOGETHER:
            parts = (paths[:, :TOGETHER], paths[:, TOGETHER:])
            return np.concatenate([self.reconstruct(part, kernel, pixels, pixel) for part in parts])
        size = fft.next_fast_len(2 * SAMPLES, real=True)
        spectra = fft.rfft(paths, size, axis=-1) * image_filter(kernel, size).astype(np.float32)
        fine = fft.irfft(spectra, FINER * size, axis=-1)[..., : FINER * (SAMPLES - 1) + 1] * FINER
        views = np.zeros((self.views, fine.shape[2], TOGETHER), np.float32)
        views[:, :, :count] = fine.transpose(0, 2, 1)
        image = np.zeros((pixels, pixels, TOGETHER), np.float32)
        backproject(views, self.angles(), ENDS, PITCH / FINER, pixel, image)
        hu = np.ascontiguousarray(1000 * (image[:, :, :count].transpose(2, 0, 1) - 1))
        places = (np.arange(pixels) - (pixels - 1) / 2) * pixel
        hu[:, np.hypot(places[:, None], places) > ENDS] = OUTSIDE
        return hu


def aperture(frequency: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """What detector cell and focal spot leave of a frequency in /mm."""
    ways = RAY * (np.arange(len(TAPS)) - len(TAPS) // 2)
    return np.asarray(np.cos(2 * np.pi * np.multiply.outer(np.asarray(frequency), ways)) @ TAPS)


def image_filter(kernel: Kernel, size: int) -> npt.NDArray[np.float64]:
    """What filtered backprojection multiplies the spectrum of a view with: a ramp, and the way to the kernel.

    The kernel is the transfer function of the whole, so what the aperture and the interpolation take is given back.

    Args:
        kernel: Of the image.
        size: Samples of a view, with the zeros behind it.

    Returns:
        The factor of each frequency of a real transform of that size, in /mm.
    """
    lags = np.minimum(np.arange(size), size - np.arange(size))
    odd = lags % 2 == 1
    ramp = np.where(lags == 0, 1 / (4 * PITCH), 0.0)
    ramp[odd] = -1 / (np.pi**2 * lags[odd] ** 2 * PITCH)  # the ramp's samples: |f| sampled would shift all greys
    frequency = fft.rfftfreq(size, PITCH)
    lost = np.maximum(aperture(frequency), 0.05) * np.sinc(frequency * PITCH / FINER) ** 2
    return np.asarray(fft.rfft(ramp).real * kernel.transfer(frequency) / lost)


def slices_of(paths: Array, width: float, count: int) -> Array:
    """Slices out of detector rows: the mean over a width, for each of the middle rows.

    Args:
        paths: (view, row, sample).
        width: Of a slice, in rows.
        count: How many slices, each in the middle of a row.

    Returns:
        (view, slice, sample).
    """
    rows = np.arange(paths.shape[1])
    middles = np.arange(count) + (paths.shape[1] - count) // 2
    ends = [np.clip(rows + side - middles[:, None], -width / 2, width / 2) for side in (-0.5, 0.5)]
    weights = ((ends[1] - ends[0]) / width).astype(np.float32)
    return np.ascontiguousarray(np.einsum("sr,vrk->vsk", weights, paths))


def _blocks(lung: Lung | None, acquisition: Acquisition) -> list[tuple[Array, Array]]:
    """Density beyond that of muscle, of water's, and blood where it holds contrast agent.

    Each (y, x, row) and (x, y, row), the mean over the height of each detector row.
    """
    if lung is None:
        return []
    edges = np.arange(lung.density.shape[0] + 1) * lung.voxel
    inside = np.clip(edges - lung.rows[:, None], -lung.row_width / 2, lung.row_width / 2)
    weights = (np.diff(inside, axis=1) / lung.row_width).astype(np.float32)
    volumes: list[Array] = [(lung.density - np.float32(AIR)) / np.float32(1000) - np.float32(MUSCLE)]
    if acquisition.iodine:
        volumes.append(lung.vessels.astype(np.float32))
    means = [np.tensordot(volume, weights, axes=(0, 1)) for volume in volumes]
    return [(mean, np.ascontiguousarray(mean.transpose(1, 0, 2))) for mean in means]


def _through(block: tuple[Array, Array], voxel: float, centre: tuple[float, float], cos: float, sin: float) -> Array:
    """Line integrals (row, ray) of a block."""
    (y, x), (by_row, by_column) = centre, block
    out = np.zeros((RAYS, by_row.shape[2]), np.float32)
    if abs(cos) >= abs(sin):
        add_line_integrals(by_row, voxel, (y, x), cos, sin, FIRST, RAY, out)
    else:
        add_line_integrals(by_column, voxel, (x, y), sin, cos, FIRST, RAY, out)
    return np.ascontiguousarray(out.T)
