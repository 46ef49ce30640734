"""The pictures in docs/phantom.md, from a phantom of default settings.

Run it as `python docs/draw_phantom.py PHANTOM_FOLDER`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import numpy.typing as npt

HERE = Path(__file__).parent / "images"


def slice_of(file: Path, index: int) -> npt.NDArray[np.float64]:
    """One slice (y, x) of a NIfTI file."""
    return np.asarray(nib.load(file).dataobj[:, :, index], dtype=np.float64).T


def draw(name: str, panels: list[tuple[str, npt.NDArray[np.float64], tuple[float, float]]]) -> None:
    """Write panels of (title, image, grey window) side by side."""
    figure, axes = plt.subplots(1, len(panels), figsize=(3.4 * len(panels), 3.7), dpi=110, layout="constrained")
    for axis, (title, image, window) in zip(axes, panels, strict=True):
        axis.imshow(
            image,
            cmap="nipy_spectral" if title == "labels" else "gray",
            vmin=window[0],
            vmax=window[1],
            interpolation="nearest",
        )
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
    figure.savefig(HERE / f"phantom_{name}.png", pil_kwargs={"optimize": True})


def main() -> None:
    """Draw both pictures."""
    phantom = Path(sys.argv[1])
    HERE.mkdir(exist_ok=True)
    pair = phantom / "paired/lung_102"
    micro, clinical = slice_of(pair / "micro.nii.gz", 20), slice_of(pair / "clinical.nii.gz", 2)
    labels = slice_of(pair / "labels.nii.gz", 20)
    greys = tuple(np.percentile(micro, [0.5, 99.5]))
    hu = (-1000.0, 100.0)
    draw(
        "pair",
        [("clinical, 0.625 mm", clinical, hu), ("µCT, 78 µm, same place", micro, greys), ("labels", labels, (0, 7))],
    )
    specimen = slice_of(phantom / "micro/specimen_000.nii.gz", 20)
    draw(
        "training",
        [
            ("clinical training scan, 80 mm", slice_of(phantom / "clinical/lung_000.nii.gz", 6), hu),
            ("µCT training scan, 40 mm", specimen, tuple(np.percentile(specimen, [0.5, 99.5]))),
            ("12.5 mm of it", specimen[180:340, 180:340], tuple(np.percentile(specimen, [0.5, 98]))),
        ],
    )


if __name__ == "__main__":
    main()
