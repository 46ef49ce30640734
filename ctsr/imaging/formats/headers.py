"""What must hold of any scan's header before its voxels are read: a size that can be meant, and room in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ctsr.errors import UserError
from ctsr.imaging.volume import Header

SMALLEST_MM = 0.001  # no scan of a specimen large enough to be of use here is finer
LARGEST_MM = (10.0, 10.0, 50.0)  # two sizes in the plane and one across it, smallest first


def check_header(path: Path, header: Header) -> None:
    """Make sure that a scan can be used, as far as its header tells.

    Raises:
        UserError: Its place or voxel size is not finite, its voxels are of a size that no scanner has, or it is larger
            than the memory that is left.
    """
    sizes = header.spacing
    told = " x ".join(f"{size:.4g}" for size in sizes)
    if not np.isfinite(header.affine).all() or np.linalg.matrix_rank(header.affine[:3, :3]) < 3:
        raise UserError(f"{path} has voxels of {told} mm or a place that cannot be: write it anew with its spacing")
    if min(sizes) < SMALLEST_MM * 0.999 or any(
        size > most for size, most in zip(sorted(sizes), LARGEST_MM, strict=True)
    ):
        raise UserError(f"{path} has voxels of {told} mm (z, y, x): is the unit right? write it anew with its spacing")
    z, y, x = (int(size) for size in header.shape)
    need, free = z * y * x * header.voxel_bytes, free_memory()
    if free is not None and need > free:
        raise UserError(f"{path} needs {need / 1e9:,.1f} GB of memory, {free / 1e9:.1f} GB are free: crop it")


def free_memory() -> int | None:
    """Bytes of memory that programs can still have, files kept there counted as free; None: unknown (not Linux)."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
