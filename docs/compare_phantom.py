"""How near the phantom's clinical scans come to a real one, in lung: the table in docs/phantom.md.

Run it as `python docs/compare_phantom.py PHANTOM_FOLDER DICOM_FOLDER`.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import SimpleITK
from scipy import ndimage

Mask = npt.NDArray[np.bool_]
Image = npt.NDArray[np.float64]

PATCH = 16  # pixels, for noise
WINDOW = 32  # pixels, for spectra
BANDS = (0.08, 0.2, 0.4, 0.6, 0.77)  # cycles/mm
RIM = 4  # pixels of the lung's border left out


def lung_of(scan: Image) -> Mask:
    """Lung with the vessels in it, without its border: air that does not reach the sides of the image."""
    parts, _ = ndimage.label((scan > -1100) & (scan < -400))
    sides = (parts[:, 0], parts[:, -1], parts[:, :, 0], parts[:, :, -1])
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    sizes[np.unique(np.concatenate([side.ravel() for side in sides]))] = 0
    lung = np.isin(parts, np.flatnonzero(sizes > 0.1 * sizes.max()))
    disk = np.hypot(*np.mgrid[-RIM : RIM + 1, -RIM : RIM + 1]) <= RIM
    filled = [ndimage.binary_fill_holes(ndimage.binary_closing(plane, disk)) for plane in lung]
    return np.stack([ndimage.binary_erosion(plane, disk) for plane in filled])


def tiles(scan: Image, lung: Mask, size: int) -> Image:
    """Square tiles that lie wholly in lung, (n, size, size)."""
    rows, columns = (n // size * size for n in scan.shape[1:])

    def cut(volume: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        blocks = volume[:, :rows, :columns].reshape(len(volume), rows // size, size, columns // size, size)
        return blocks.transpose(0, 1, 3, 2, 4).reshape(-1, size, size)

    return np.asarray(cut(scan)[cut(lung).all(axis=(1, 2))], dtype=np.float64)


def spectrum(scan: Image, lung: Mask, pixel: float) -> list[float]:
    """Mean power density in each of the BANDS, in HU² mm²."""
    patches = tiles(scan, lung, WINDOW)
    taper = np.outer(np.hanning(WINDOW), np.hanning(WINDOW))
    patches = (patches - patches.mean(axis=(1, 2), keepdims=True)) * taper
    power = (np.abs(np.fft.fft2(patches)) ** 2).mean(axis=0) * pixel**2 / (taper**2).sum()
    frequency = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(WINDOW, pixel)]))
    return [float(power[(frequency >= low) & (frequency < high)].mean()) for low, high in pairwise(BANDS)]


def measure(scan: Image, pixel: float) -> dict[str, float]:
    """All measures of one scan (z, y, x) in HU with the in-plane pixel size in mm."""
    lung = lung_of(scan)
    inside = scan[lung]
    quiet = np.array([tile.std() for tile in tiles(scan, lung, PATCH) if tile.max() < -700])
    fine = np.stack([plane - ndimage.gaussian_filter(plane, 1.0) for plane in scan])[lung]
    row = {
        "median HU": float(np.median(inside)),
        "5th percentile": float(np.percentile(inside, 5)),
        "95th percentile": float(np.percentile(inside, 95)),
        "share above −700 HU": float((inside > -700).mean()),
        "standard deviation, vessel-free 16²": float(np.median(quiet)) if quiet.size else float("nan"),
        "fine noise (1.48 MAD above σ 1 pixel)": float(1.4826 * np.median(np.abs(fine - np.median(fine)))),
    }
    powers = spectrum(scan, lung, pixel)
    for low, high, power in zip(BANDS[:-1], BANDS[1:], powers, strict=True):
        row[f"power {low}–{high} /mm, HU² mm²"] = power
    return row


def main() -> None:
    """Print the table."""
    phantom, real = Path(sys.argv[1]), sys.argv[2]
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(real))
    image = reader.Execute()
    scan = SimpleITK.GetArrayFromImage(image).astype(np.float64)
    rows = [measure(scan, image.GetSpacing()[0])]
    for file in sorted((phantom / "clinical").glob("*.nii.gz")):
        volume = nib.load(file)
        rows.append(measure(np.asarray(volume.dataobj, dtype=np.float64).T, float(volume.header.get_zooms()[0])))
    print("| measure, in lung | real | phantom: mean | lowest | highest |\n| --- | --- | --- | --- | --- |")
    for name, value in rows[0].items():
        ours = [row[name] for row in rows[1:]]
        cells = (value, np.nanmean(ours), np.nanmin(ours), np.nanmax(ours))
        print(f"| {name} | " + " | ".join(f"{cell:.2f}" if abs(cell) < 1 else f"{cell:.0f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
