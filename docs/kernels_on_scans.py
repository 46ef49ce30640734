"""What the kernel's estimate and its filter do on real scans: the table and the picture of docs/results.md.

Run it as `python docs/kernels_on_scans.py CHECKPOINT OUT SCAN ...`; it writes OUT.md and OUT.png. Each scan is asked as
it is, and as two enhancing kernels would have made it if its own were that of the phantom's first scanner: its slices
are multiplied, in Fourier space, by the ratio of the transfer functions. There is no truth; what the network makes of
the scan as it is can be compared with.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from scipy import fft, ndimage

from ctsr.checkpoint import SRModel, load_sr
from ctsr.data.finding.cases import the_scan
from ctsr.evaluation.measures.metrics import score
from ctsr.imaging.anatomy.lung import lung_mask
from ctsr.imaging.consistency import Consistency
from ctsr.imaging.formats.readers import read_volume
from ctsr.imaging.interpolation import bicubic
from ctsr.imaging.kernel.matching import Matching, match
from ctsr.imaging.kernel.transfer import Softening
from ctsr.imaging.orientation import canonical
from ctsr.imaging.padding import find_padding, mark_padding, nearest_inside
from ctsr.imaging.volume import Image, Mask, Volume
from ctsr.inference.engine import Engine
from ctsr.inference.grid import plan
from ctsr.phantom.projections.kernels import Kernel
from ctsr.phantom.scanners import FWHM

Array = npt.NDArray[np.float64]

IMPOSED = {"as it is": None, "as by `lung`": Kernel(1.05, 1.22), "as by `edge`": Kernel(1.1, 1.6)}
SPREAD = 1.15 / FWHM  # mm, of the first scanner: the middle of its range
NYQUIST = 0.8  # /mm: beyond it an imposed kernel stays as it is there
SIDE = 64  # clinical pixels of the place that is looked at
STRONG, FAINT = 1000.0, 150.0  # HU/mm: an edge of the result, and what a scan without one stays below within a pixel
HEAD = (
    "scan", "kernel", "beside training's at 0.2, 0.4, 0.6 /mm", "noise", "trust: wall, skin, apart", "filter from 1",
    "&#124;f(SR) − scan&#124;: off, filtered", "strong edges that the scan as it is does not hold: off, filtered",
    "SSIM at 312 µm to the result of the scan as it is: off, filtered",
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """One slice on the network's grid.

    Attributes:
        lr: The slice in [-1, 1].
        sr: What the network makes of it.
        apart: Mean |f(SR) - scan| in the lung in HU, the scan as it was before the filter.
        steep: Largest slope of the scan within a pixel, in HU/mm, as it was before the filter.
        strong: Where the result has strong edges in the lung.
    """

    lr: Image
    sr: Image
    apart: float
    steep: Image
    strong: Mask

    def new(self, first: Shown) -> Mask:
        """Where it has strong edges that the scan, as it is, does not hold."""
        return self.strong & (first.steep < FAINT)


def main(checkpoint: Path, out: Path, paths: list[Path]) -> None:
    """Ask every scan, and write the table and the picture."""
    model = load_sr(checkpoint)
    lines, rows = [], []
    for path in paths:
        found = canonical(read_volume(the_scan(path, "scan")))[0]
        scan = mark_padding(found, find_padding(found.array))
        lung, first = lung_mask(scan), None
        z = int(np.argmax(lung.sum(axis=(1, 2))))
        for name, kernel in IMPOSED.items():
            seen = scan if kernel is None else imposed(scan, kernel)
            matching = match(seen, lung, model.card.kernel)
            off, filtered = (shown(seen, lung, z, one, model) for one in (None, matching.softening))
            first = off if first is None else first
            low = fullest(ndimage.zoom(lung[z], np.divide(off.lr.shape, lung.shape[1:]), order=0))
            fine = tuple(slice(8 * one.start, 8 * one.stop) for one in low)
            like = [like_first(one, first, fine, model) for one in (off, filtered)]
            lines.append([path.stem, name, *told(matching, off, filtered, like, first)])
            print(" | ".join(lines[-1]), flush=True)
            if name != "as by `lung`":  # which looks like `edge`, only less so
                pictures = [off.lr[low], filtered.lr[low], *(one.sr[fine] for one in (first, off, filtered))]
                marks = [None, None, *(one.new(first)[fine] for one in (first, off, filtered))]
                rows.append((f"{path.stem}, {name}", list(zip(pictures, marks, strict=True))))
    table = [HEAD, ["---"] * len(HEAD), *lines]
    out.with_suffix(".md").write_text("".join(f"| {' | '.join(line)} |\n" for line in table), encoding="utf-8")
    draw(rows, out.with_suffix(".png"))


def imposed(scan: Volume, kernel: Kernel) -> Volume:
    """A scan as a sharper kernel would have made it, in whole HU from -1024 up."""
    array = np.empty(scan.array.shape, np.float32)
    for z, plane in enumerate(scan.array):
        outside = np.zeros(plane.shape, bool) if scan.outside is None else scan.outside[z]
        wide = np.pad(nearest_inside(plane.astype(np.float32), outside), 32, mode="reflect")
        y, x = fft.fftfreq(wide.shape[0], scan.spacing[1])[:, None], fft.rfftfreq(wide.shape[1], scan.spacing[2])
        at = np.minimum(np.hypot(y, x), NYQUIST)
        gain = kernel.transfer(at) / np.exp(-2 * np.pi**2 * SPREAD**2 * at**2)
        made = fft.irfft2(fft.rfft2(wide) * gain, s=wide.shape)[32:-32, 32:-32]
        array[z] = np.where(outside, plane, np.clip(np.rint(made), -1024, 3071))
    return replace(scan, array=array)


def shown(scan: Volume, lung: Mask, z: int, softening: Softening | None, model: SRModel) -> Shown:
    """What the network makes of one slice, after a filter."""
    clinical, steps = model.card.window("clinical"), plan(scan.shape, scan.affine, model.card.pixel, 0.1, "model")
    outside = np.zeros(scan.shape[1:], bool) if scan.outside is None else scan.outside[z]
    plain = nearest_inside(scan.array[z].astype(np.float32), outside)
    hu = plain if softening is None else softening.apply(plain, scan.spacing[1:])
    before, lr = (clinical.normalise(steps.to_network(image)) for image in (plain, hu))
    sr = np.clip(Engine(model.GS).enlarge(torch.from_numpy(lr[None]))[0].numpy(), -1, 1)
    inside = steps.coarse(lung[z])
    apart = Consistency(model.card.to_clinical, clinical).difference(before, sr)[inside].mean()
    pixel = steps.output_plane[0]
    of_scan = slope(clinical.restore(bicubic(torch.from_numpy(before[None, None]))[0, 0].numpy()), pixel)
    strong = (slope(model.card.hu.restore(sr), pixel) > STRONG) & np.kron(inside, np.ones((8, 8), bool))
    return Shown(lr, sr, float(apart), ndimage.maximum_filter(of_scan, 17), strong)


def slope(hu: Image, pixel: float) -> Image:
    """HU/mm."""
    steep: Image = ndimage.gaussian_gradient_magnitude(hu, 1.0) / pixel
    return steep


def fullest(lung: Mask) -> tuple[slice, slice]:
    """The square that holds most lung."""
    side = min(SIDE, *lung.shape)
    sums = ndimage.uniform_filter(lung.astype(np.float32), side, mode="constant")
    at = np.unravel_index(int(np.argmax(sums)), sums.shape)
    starts = [int(np.clip(place - side // 2, 0, size - side)) for place, size in zip(at, lung.shape, strict=True)]
    return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)


def like_first(one: Shown, first: Shown, place: tuple[slice, ...], model: SRModel) -> float:
    """SSIM at 312 µm of two results in a place, in [0, 1]."""
    images = ((of.sr[place] + 1) / 2 for of in (one, first))
    return score(*images, model.card.pixel[0] / 8, False)["ssim_312um"]


def told(matching: Matching, off: Shown, filtered: Shown, like: list[float], first: Shown) -> Iterator[str]:
    """Cells of the table."""
    found = matching.estimate
    assert found is not None
    yield ", ".join(f"{np.exp(found.relative.log(at)):.2f}" for at in (0.2, 0.4, 0.6))
    yield f"{found.noise:.2f}"
    trust = (found.trust.wall, found.trust.skin, found.trust.apart)
    yield ", ".join("–" if one is None else f"{one:.2f}" for one in trust)
    yield (
        "left: not trusted"
        if matching.doubt
        else "left"
        if matching.softening is None
        else f"{matching.softening.from_one:.2f}"
    )
    yield f"{off.apart:.1f}, {filtered.apart:.1f} HU"
    yield ", ".join(f"{one.new(first).sum() / max(one.strong.sum(), 1):.1%}" for one in (off, filtered))
    yield f"{like[0]:.3f}, {like[1]:.3f}"


def draw(rows: list[tuple[str, list[tuple[Image, Mask | None]]]], path: Path) -> None:
    """A row each: the scan before and after the filter, and the results; new edges in red."""
    titles = ("scan", "after its filter", "network: scan as it is", "network: off", "network: filtered")
    figure = Figure(figsize=(13, 2.8 * len(rows)), dpi=75, layout="constrained")
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for line, (name, images) in zip(axes, rows, strict=True):
        for axis, title, (image, new) in zip(line, titles, images, strict=True):
            axis.imshow(image, cmap="gray", vmin=-1, vmax=1)
            if new is not None and new.any():
                axis.imshow(np.ma.masked_equal(ndimage.binary_dilation(new, iterations=2), 0), cmap="autumn", alpha=0.9)
            axis.set_axis_off()
            axis.set_title(title, fontsize=9)
        line[0].set_title(f"{name}: scan", fontsize=8)
    figure.savefig(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(one) for one in sys.argv[3:]])
