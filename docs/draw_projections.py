"""The pictures and the table of the projection scanner in docs/phantom.md.

Run it as `python docs/draw_projections.py PHANTOM_FOLDER [DICOM_FOLDER]`; a part of the series then stands beside.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import numpy.typing as npt
import SimpleITK
from matplotlib.axes import Axes

from ctsr.phantom.projections.kernels import Kernel
from ctsr.phantom.projections.kinds import SETS, Kind

Image = npt.NDArray[np.float64]

HERE = Path(__file__).parent / "images"
WINDOW = (-1000.0, 100.0)  # HU
CROP = 64  # clinical pixels that the µCT covers
REAL = (30, 262, 290)  # slice and first row and column of a part of the RIDER series with vessels and a nodule


def edge_response(kernel: Kernel, way: Image) -> Image:
    """1/2 + 1/π ∫ K(f) sin(2π f x) / f df at distances in mm behind a straight edge."""
    frequency = np.linspace(1e-4, 2.0, 4001)
    waves = np.sin(2 * np.pi * frequency * way[:, None]) / frequency * kernel.transfer(frequency)
    return np.asarray(0.5 + np.trapezoid(waves, frequency, axis=1) / np.pi)


def draw_kernels(file: Path) -> None:
    """Transfer functions and edge responses, a column for each set."""
    figure, axes = plt.subplots(2, 3, figsize=(11, 6), dpi=110, layout="constrained", sharey="row")
    frequency, way = np.linspace(0, 1.4, 281), np.linspace(-2.5, 2.5, 201)
    for (name, kinds), (above, below) in zip(SETS.items(), axes.T, strict=True):
        for kernel in dict.fromkeys(kind.kernel for kind in kinds.values()):
            label = f"MTF10 {kernel.mtf10:g} /mm, peak {kernel.peak:g}"
            above.plot(frequency, kernel.transfer(frequency), label=label)
            below.plot(way, edge_response(kernel, way))
        above.set(title=name, xlabel="frequency, /mm")
        above.axvline(0.8, color="grey", linestyle=":", linewidth=1)  # half of the pixels' sampling frequency
        above.legend(fontsize=7)
        below.set(xlabel="distance from an edge, mm")
    axes[0, 0].set_ylabel("transfer function")
    axes[1, 0].set_ylabel("edge response")
    figure.savefig(file, pil_kwargs={"optimize": True})


def scan_of(file: Path) -> Image:
    """(z, y, x) in HU."""
    return np.asarray(nib.load(file).dataobj, dtype=np.float64).T


def corner_of(lung: Path, kind: str) -> tuple[int, int]:
    """Row and column of the clinical scan with which the µCT begins."""
    micro, scan = nib.load(lung / "micro.nii.gz"), nib.load(lung / f"{kind}.nii.gz")
    column, row, *_ = np.linalg.inv(scan.affine) @ micro.affine @ (-0.5, -0.5, 0, 1) + 0.5
    return round(float(row)), round(float(column))


def noise_of(scan: Image) -> float:
    """Standard deviation in muscle in HU, of differences of slices far enough apart to share no detector row."""
    apart = scan.shape[0] - 1
    return float((scan[apart, 150:180, 140:180] - scan[0, 150:180, 140:180]).std() / np.sqrt(2))


def draw_kinds(phantom: Path, kinds: dict[str, Kind], dicom: str | None, file: Path) -> None:
    """One lung in every kind, its µCT, the whole body once, and a real scan; prints the table of the kinds."""
    lung = sorted((phantom / "projections").glob("lung_*"))[0]
    figure, axes = plt.subplots(3, -(-(len(kinds) + 3) // 3), figsize=(15, 9.6), dpi=80, layout="constrained")
    spare = iter(axes.ravel())
    head = ("kind", "MTF50, MTF10 /mm", "peak", "overshoot", "slice", "noise in muscle")
    print(f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", sep="\n")
    for name, kind in kinds.items():
        scan = scan_of(lung / f"{name}.nii.gz")
        row, column = corner_of(lung, name)
        show(next(spare), name, scan[3, row : row + CROP, column : column + CROP])
        over = edge_response(kind.kernel, np.linspace(0, 3, 301)).max() - 1
        kernel = f"{kind.kernel.mtf50:.2f}, {kind.kernel.mtf10:g} | {kind.kernel.peak:g} | {over:.0%}"
        print(f"| `{name}` | {kernel} | {kind.slice_rows * 0.625:g} mm | {noise_of(scan):.0f} HU |")
    show(next(spare), "µCT of it", scan_of(lung / "micro.nii.gz")[28])
    show(next(spare), "standard, all that is seen", scan_of(lung / "standard.nii.gz")[3])
    if dicom is not None:
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(dicom))
        real = SimpleITK.GetArrayFromImage(reader.Execute()).astype(np.float64)
        z, row, column = REAL
        show(next(spare), "a real scan (RIDER, GE STANDARD)", real[z, row : row + CROP, column : column + CROP])
    for axis in spare:
        axis.set_axis_off()
    figure.savefig(file, pil_kwargs={"optimize": True})


def show(axis: Axes, title: str, image: Image) -> None:
    """Draw an image in the window."""
    axis.imshow(image, cmap="gray", vmin=WINDOW[0], vmax=WINDOW[1], interpolation="nearest")
    axis.set_title(title, fontsize=10)
    axis.set_axis_off()


def main() -> None:
    """Draw both pictures."""
    phantom, dicom = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    draw_kernels(HERE / "projections_kernels.png")
    draw_kinds(phantom, SETS["judging"], dicom, HERE / "projections_kinds.png")


if __name__ == "__main__":
    main()
