"""Pictures after the paper's Fig. 3, 4 and 5, with the truth that the paper did not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from scipy.ndimage import uniform_filter

from ctsr.data.pairs import Pair
from ctsr.data.preparing.store import PreparedCase
from ctsr.evaluation.measures.hallucinations import KINDS, Tally, total
from ctsr.evaluation.measures.metrics import ssim
from ctsr.evaluation.questions.competitors import Interpolation, TrainedNetwork, methods_of, reference
from ctsr.evaluation.questions.enlargers import MAPPED, Enlarge, evaluating, interpolations, network
from ctsr.evaluation.questions.kernels import MATCHED
from ctsr.evaluation.questions.tiles import Cut, case_tiles, chosen_slices
from ctsr.evaluation.scoring.compare import TallyKey, to_unit
from ctsr.files import replacing
from ctsr.imaging.pyramid import GaussianPyramid
from ctsr.imaging.volume import Image
from ctsr.phantom.labels import Label

STRUCTURES = {"vessel": Label.VESSEL, "airway": Label.AIRWAY_WALL, "nodule": Label.NODULE}
OUTLINED = [withStroke(linewidth=5, foreground="black")]  # seen on bright ground too

Place = tuple[Pair, tuple[int, int], tuple[int, int]]
"""A crop: pair, clinical and micro-CT slice, first row and column."""


def one_of_each(networks: Sequence[TrainedNetwork]) -> list[TrainedNetwork]:
    """The first seed of every method."""
    return list({one.name: one for one in reversed(networks)}.values())[::-1]


def paired_figure(
    networks: Sequence[TrainedNetwork], pairs: Sequence[Pair], path: Path, size: int = 160, slices: int = 4
) -> None:
    """Write a PNG: clinical | bicubic | each method | truth where there is most of a vessel, an airway and a nodule.

    Args:
        networks: Trained networks; of several seeds the first is shown.
        pairs: Lungs seen by both scanners, with labels.
        path: The picture; it appears whole or not at all.
        size: Side of a crop in micro-CT pixels; made smaller where the scan is.
        slices: Slices searched of each case, evenly spread.
    """
    first = reference(networks)
    size = min([size, *(side for pair in pairs for side in pair.micro.array.shape[1:])])
    places = {name: place for name, label in STRUCTURES.items() if (place := _fullest(pairs, label, size, slices))}
    if not places:
        return  # scans too small to hold a whole crop
    ways: dict[str, Enlarge] = dict(interpolations(first.grey_maps["clinical"], few=True))
    ways = {"clinical": ways["nearest"], "bicubic, greys mapped": ways[MAPPED]}
    ways |= {one.name: network(one.enlarge) for one in one_of_each(networks)}
    rows = {}
    for name, (pair, (clinical_z, micro_z), (y, x)) in places.items():
        lr = first.window.normalise(pair.clinical.array[clinical_z])
        crop = np.s_[y : y + size, x : x + size]
        images = {method: to_unit(enlarge(lr)[crop]) for method, enlarge in ways.items()}
        rows[f"{name}: {pair.name}, slice {clinical_z}"] = images | {
            "micro-CT truth": to_unit(pair.truth(micro_z)[crop])
        }
    _write(_beside_truth(rows, pairs[0].pixel_mm), path)


def projections_figure(
    networks: Sequence[TrainedNetwork], projections: Mapping[str, Sequence[Pair]], path: Path, size: int = 160
) -> None:
    """Write a PNG: the scan | bicubic | each method | truth in HU, a row for each kind of acquisition of one lung.

    Networks are shown once more on the scan after the filter of its estimated kernel, where there is one.

    Args:
        networks: Trained networks; of several seeds the first is shown.
        projections: Lungs of each kind, with labels; the first lung is shown, where its middle slice has most vessel.
        path: The picture; it appears whole or not at all.
        size: Side of the crop in micro-CT pixels; made smaller where the scan is.
    """
    first = reference(networks)
    grey_map = first.grey_maps["clinical"]
    methods = methods_of([Interpolation(few=True), *one_of_each(networks)], grey_map, hu_by=first)
    ways = {"the scan" if name == "nearest" else name: way for (name, _), way in methods.items() if name != MAPPED}
    shown = {kind: pairs[0] for kind, pairs in projections.items() if pairs}
    size = min([size, *(side for pair in shown.values() for side in pair.micro.array.shape[1:])])
    rows = {}
    for kind, pair in shown.items():
        place = _fullest([pair], Label.VESSEL, size, slices=1)
        if place is None:
            continue
        _, (clinical_z, micro_z), (y, x) = place
        lr = first.window.normalise(pair.clinical.array[clinical_z])
        crop = np.s_[y : y + size, x : x + size]
        images = {method: to_unit(enlarge(lr)[crop]) for method, enlarge in ways.items()}
        if MATCHED in pair.filtered:
            lr = first.window.normalise(pair.filtered[MATCHED].array[clinical_z])
            learned = (one.name for one in networks)
            images |= {f"{name}{MATCHED}": to_unit(ways[name](lr)[crop]) for name in dict.fromkeys(learned)}
        truth = to_unit(first.window.normalise(pair.micro.array[micro_z][crop]))
        rows[f"{kind}: {pair.name}, slice {clinical_z}"] = images | {"the phantom's HU": truth}
    if rows:
        _write(_beside_truth(rows, next(iter(shown.values())).pixel_mm), path)


def synthesis_figure(
    networks: Sequence[TrainedNetwork],
    micro: Sequence[PreparedCase],
    clinical: Sequence[PreparedCase],
    path: Path,
    cut: Cut,
) -> None:
    """Write a PNG after the paper's Fig. 3: x, f(x), what each method's generator makes of it, and some real y.

    Args:
        networks: Trained networks; those without a generator are left out.
        micro: Held-out micro-CT, a row each, four at most.
        clinical: Clinical scans; the last column, if there are any.
        path: The picture.
        cut: Size and cover of a tile.
    """
    makers = [one for one in one_of_each(networks) if one.synthesise is not None]
    f = GaussianPyramid()
    rows = {}
    for number, case in enumerate(micro[:4]):
        found = next(case_tiles(case, cut), None)
        if found is None:
            continue
        z, place = found
        x, slab = (
            torch.from_numpy(image[z][place].astype(np.float32))[None, None] for image in (case.image, case.slab)
        )
        images = {"x": to_unit(x[0, 0].numpy()), "f(x)": to_unit(f(slab)[0, 0].numpy())}
        for one in makers:
            assert one.synthesise is not None
            with evaluating(one.synthesise) as device:
                made = one.synthesise(x.to(device), slab.to(device))
            images[f"by {one.name}"] = to_unit(made.float().cpu()[0, 0].numpy())
        if clinical:
            side = images["f(x)"].shape[0]
            images["some real y"] = to_unit(_inside(clinical[number % len(clinical)], side))
        rows[f"{case.name}, slice {z}"] = images
    if rows:
        _write(_grid(rows), path)


def scans_figure(views: Mapping[str, Mapping[str, Image]], path: Path) -> None:
    """Write a PNG after the paper's Fig. 5: places of real scans, down, and methods, across.

    Args:
        views: Place -> method -> image (H, W) in [0, 1].
        path: The picture.
    """
    if views:
        _write(_grid(views), path)


def curves_figure(tallies: Mapping[TallyKey, Tally], path: Path) -> None:
    """Write a PNG: made-up structures over found ones, a curve for each method, a panel for each kind.

    A curve ends where most is found: at lower levels everything is one fog. Of interpolations two are shown, dashed.
    """
    kinds = [kind.name for kind in KINDS if any(key.kind == kind.name for key in tallies)]
    if not kinds:
        return
    figure = Figure(figsize=(6.5 * len(kinds), 5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axis, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        methods = dict.fromkeys((key.name, key.seed is None) for key in tallies if key.kind == kind)
        shown = [(name, plain) for name, plain in methods if not plain or name in ("bicubic", MAPPED)]
        for number, (method, plain) in enumerate(shown):
            both = total(tally for key, tally in tallies.items() if (key.name, key.kind) == (method, kind))
            detection, hallucinations = both.detection(), both.hallucinations()
            upward = slice(int(detection.argmax()) + 1)
            style = "--" if plain else "-"
            axis.plot(detection[upward], hallucinations[upward] + 1e-2, style, color=f"C{number % 10}", label=method)
        axis.set_yscale("log")
        axis.set_xlabel(f"share of the truth's {kind} found")
        axis.set_ylabel(f"made-up {kind} per cm² of lung (+0.01)")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    _write(figure, path)


def _beside_truth(rows: Mapping[str, Mapping[str, Image]], pixel_mm: float) -> Figure:
    """`_grid` of images whose last is the truth, with the SSIM of the others and a scale bar."""
    figure = _grid(rows)
    columns = len(figure.axes) // len(rows)
    for number, images in enumerate(rows.values()):
        axes = figure.axes[number * columns : (number + 1) * columns]
        *made, truth = images.values()
        for axis, image in zip(axes, made, strict=False):
            axis.set_xlabel(f"SSIM {ssim(image, truth):.2f}", fontsize=8)
        _scale_bar(axes[-1], len(truth), pixel_mm)
    return figure


def _grid(rows: Mapping[str, Mapping[str, Image]]) -> Figure:
    """Images in [0, 1]: a row for each name, a column for each method."""
    columns = list(dict.fromkeys(title for images in rows.values() for title in images))
    figure = Figure(figsize=(2.4 * len(columns), 2.6 * len(rows)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for row, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, title in zip(row, columns, strict=True):
            axis.imshow(images[title], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(title, fontsize=9)
        row[0].set_ylabel(name, fontsize=8)
    return figure


def _write(figure: Figure, path: Path) -> None:
    with replacing(path) as partial:
        figure.savefig(partial, format="png")


def _inside(case: PreparedCase, side: int) -> Image:
    """The square of a clinical case's middle slice that holds most lung; smaller where the slice is."""
    z = len(case.slices) // 2
    side = min(side, *case.mask[z].shape)
    share = _share(case.mask[z], side)
    y, x = np.unravel_index(np.argmax(share), share.shape)
    image: Image = case.image[z][y : y + side, x : x + side].astype(np.float32)
    return image


def _fullest(pairs: Sequence[Pair], label: Label, size: int, slices: int) -> Place | None:
    """The crop with most of a structure that lies wholly inside the specimen."""
    best, most = None, 0.0
    for pair in pairs:
        if pair.labels is None:
            continue
        for place in chosen_slices(pair, slices):
            inside = _share(pair.inside[place[1]], size) > 0.98
            share = np.where(inside, _share(pair.labels[place[1]] == label, size), 0.0)
            if share.max() > most:
                y, x = np.unravel_index(np.argmax(share), share.shape)
                best, most = (pair, place, (int(y), int(x))), float(share.max())
    return best


def _share(mask: npt.NDArray[np.bool_], size: int) -> npt.NDArray[np.float64]:
    """Share of the mask in the crop that starts at each pixel where a whole crop fits."""
    filtered: npt.NDArray[np.float64] = uniform_filter(mask.astype(np.float64), size, origin=-(size // 2))
    return filtered[: mask.shape[0] - size + 1, : mask.shape[1] - size + 1]


def _scale_bar(axis: Axes, size: int, pixel_mm: float) -> None:
    length = 2.0 / pixel_mm
    axis.plot([0.05 * size, 0.05 * size + length], [0.95 * size] * 2, color="white", linewidth=3, path_effects=OUTLINED)
    middle = 0.05 * size + length / 2
    axis.text(middle, 0.93 * size, "2 mm", color="white", ha="center", va="bottom", fontsize=8, path_effects=OUTLINED)
