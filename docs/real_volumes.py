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
from ctsr.phantom.projections.lungs import ASIDE, BEYOND, scans
from ctsr.phantom.projections.scanner import Lung
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
    factor = SCALE
    margin = BEYOND * factor + factor // 2
    count, side = (len(hu) - 2 * margin) // factor, hu.shape[1] // factor
    settings = ProjectionSettings(set="judging", slices=count)
    voxel, pixel = VOXEL, VOXEL * factor
    rows = (margin + factor * np.arange(-BEYOND, count + BEYOND) + factor // 2 + 0.5) * voxel
    first = np.rint(settings.field / 2 + np.array([0, ASIDE]) / pixel - side / 2).astype(int)
    middle = (first + side / 2 - settings.field / 2) * pixel
    block = Lung(hu, np.zeros(hu.shape, dtype=bool), voxel, (float(middle[0]), float(middle[1])), rows, pixel)
    folder.mkdir(parents=True)
    kept = np.rint(hu[margin : margin + count * factor]).astype(np.int16)
    write(folder / "micro.nii.gz", kept, voxel, np.array([0.0, *first]) * pixel + voxel / 2)
    start = np.array([(factor // 2 + 0.5) * voxel, pixel / 2, pixel / 2])
    for name, image in scans(SETS["judging"], settings, Body.random(1, rng), block, rng):
        write(folder / f"{name}.nii.gz", image, pixel, start)


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
