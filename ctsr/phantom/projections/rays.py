"""Line integrals through a block of voxels, and their way back: Joseph's method and linear backprojection."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ctsr.phantom.compiled import compiled

Array = npt.NDArray[np.float32]


TOGETHER = 8  # slices that are spread at once: as many as a register holds


@compiled
def add_line_integrals(
    block: Array,
    pixel: float,
    centre: tuple[float, float],
    along: float,
    across: float,
    first: float,
    step: float,
    out: Array,
) -> None:
    """Add a block's integrals along rays v along + u across = first + k step, |along| >= |across|.

    Joseph's method (IEEE Trans. Med. Imaging 1, 1982): one value is interpolated in each row that a ray crosses.

    Args:
        block: (u, v, row of the detector); each of these rows sees its own plane. Its border is nothing.
        pixel: Its pixel size in mm.
        centre: Its middle (u, v) in mm.
        along: Cosine of the angle between the v axis and the detector.
        across: Its sine.
        first: Offset of the first ray in mm.
        step: Distance of rays in mm.
        out: (ray, row of the detector) in the block's units times mm.
    """
    height, width, rows = block.shape
    top, left = centre[0] - pixel * (height - 1) / 2, centre[1] - pixel * (width - 1) / 2
    length = pixel / abs(along)
    for k in range(height):
        start = ((first - (top + k * pixel) * across) / along - left) / pixel  # in voxels
        stride = step / along / pixel
        ends = -start / stride, (width - 1 - start) / stride
        for ray in range(max(0, int(np.ceil(min(ends)))), min(out.shape[0], int(np.ceil(max(ends))))):
            at = start + ray * stride
            near = min(int(at), width - 2)  # rounding may end on the last voxel
            far = np.float32((at - near) * length)
            close = np.float32(length) - far
            for row in range(rows):
                out[ray, row] += close * block[k, near, row] + far * block[k, near + 1, row]


@compiled
def backproject(
    views: Array, angles: npt.NDArray[np.float64], reach: float, step: float, pixel: float, out: Array
) -> None:
    """Add up filtered views over an image: ∫ q(θ, x cos θ + y sin θ) dθ over half a turn.

    Args:
        views: (angle, sample, slice), `TOGETHER` slices.
        angles: In radians, evenly spaced over half a turn.
        reach: Samples go from -reach to reach, in mm; beyond that circle the image stays as it is.
        step: Distance of samples in mm; values between are interpolated linearly.
        pixel: Pixel size of the image in mm; its middle is the axis of rotation.
        out: (y, x, slice), zero.
    """
    height, width, _ = out.shape
    last = views.shape[1] - 2
    weight = np.float32(np.pi / len(angles))
    for view in range(len(angles)):
        cos, sin = np.cos(angles[view]), np.sin(angles[view])
        for i in range(height):
            y = (i - (height - 1) / 2) * pixel
            half = np.sqrt(max(reach**2 - y**2, 0)) / pixel  # of the circle's chord, in pixels
            for j in range(max(0, int(np.ceil((width - 1) / 2 - half))), min(width, int((width - 1) / 2 + half) + 1)):
                at = ((j - (width - 1) / 2) * pixel * cos + y * sin + reach) / step
                near = min(max(int(at), 0), last)  # rounding may leave the samples by a hair
                far = weight * np.float32(at - near)
                close = weight - far
                for z in range(TOGETHER):
                    out[i, j, z] += close * views[view, near, z] + far * views[view, near + 1, z]
