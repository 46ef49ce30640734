"""Real µCT volumes through the projection scanner: the data set of docs/results/real_volumes.md.

Run it as `python docs/real_volumes.py OUT VOLUME ...` and ask `python infer.py task=evaluate data=OUT`. Each volume is
put three times, its slices along each of its axes, into a body between muscles, and scanned in every kind of the set
for judging. A voxel counts as one of 0.078 mm, whatever it was: trabeculae and fibres are then as wide as vessels. The
grey of the voids (0.5 percentile) becomes air's HU and that of the material (99.5) soft tissue's, for bone would lie
beyond the networks' window.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ctsr.imaging.formats.readers import read_volume
from ctsr.imaging.intensity import robust_window
from ctsr.imaging.volume import SCALE
from ctsr.phantom.drawing import write
from ctsr.phantom.projections.body import Body
from ctsr.phantom.projections.kinds import SETS
from ctsr.phantom.projections.lungs import ASIDE, BEYOND, first_voxel, kept_slices, place, scans
from ctsr.phantom.tissue import AIR, SOFT
from ctsr.records.phantom import ProjectionSettings

PERCENTILES = (0.5, 99.5)
VOXEL = 0.078125  # mm


def scan_volume(folder: Path, hu: npt.NDArray[np.float32], rng: np.random.Generator) -> None:
    """Write `micro.nii.gz`, the volume itself, and `<kind>.nii.gz`, as the set for judging has them.

    Args:
        folder: To make.
        hu: (z, y, x); a multiple of 8 voxels in the plane.
        rng: Source of the body and the noise.
    """
    side = hu.shape[1] // SCALE
    settings = ProjectionSettings(set="judging", slices=(len(hu) - 2 * BEYOND * SCALE - SCALE) // SCALE)
    pixel, kept = settings.clinical_spacing, kept_slices(settings)
    voxel = pixel / SCALE
    y, x = np.rint(settings.field / 2 + np.array([0, ASIDE]) / pixel - side / 2).astype(int)
    block = place(hu, np.zeros(hu.shape, dtype=bool), (int(y), int(x)), settings)
    folder.mkdir(parents=True)
    write(folder / "micro.nii.gz", np.rint(hu[kept]).astype(np.int16), voxel, np.array([0, y, x]) * pixel + voxel / 2)
    for name, image in scans(SETS["judging"], settings, Body.random(1, rng), block, rng):
        write(folder / f"{name}.nii.gz", image, pixel, first_voxel(settings))


def main(out: Path, volumes: list[Path]) -> None:
    """Scan all volumes."""
    for number, path in enumerate(volumes):
        greys = read_volume(path, VOXEL).array
        side = min(greys.shape) // SCALE * SCALE
        greys = greys[tuple(slice((length - side) // 2, (length + side) // 2) for length in greys.shape)]
        unit = (robust_window(greys, np.ones(greys.shape, dtype=bool), PERCENTILES).normalise(greys) + 1) / 2
        hu = (AIR + (SOFT - AIR) * unit).astype(np.float32)
        for axis in range(3):
            folder = out / "projections" / f"{path.stem}_{'zyx'[axis]}"
            if not folder.exists():
                turned = np.ascontiguousarray(np.moveaxis(hu, axis, 0))
                scan_volume(folder, turned, np.random.default_rng([number, axis]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(volume) for volume in sys.argv[2:]])
