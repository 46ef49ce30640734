"""What can be said of real scans without a truth, and what is made up where there is nothing (protocols `clinical`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion, gaussian_filter, maximum_filter, sobel

from ctsr.data.pairs import Pair
from ctsr.data.preparing.store import PreparedCase
from ctsr.errors import warn
from ctsr.evaluation.measures.grid_peak import grid_peak
from ctsr.evaluation.questions.competitors import Interpolation, Method, TrainedNetwork, methods_of, reference
from ctsr.evaluation.questions.enlargers import FEW, MAPPED, Enlarge
from ctsr.evaluation.questions.tiles import chosen_slices, evenly_spaced
from ctsr.evaluation.scoring.compare import Answers, Step, to_unit
from ctsr.imaging.consistency import Consistency
from ctsr.imaging.grey_map import to_clinical
from ctsr.imaging.intensity import Window
from ctsr.imaging.volume import SCALE, Image, Mask
from ctsr.records.row import Row

SIDE = 128  # clinical pixels of a place
DENSE = -0.3  # grey in [-1, 1] above which a clinical pixel holds more than parenchyma
CLEAR = 3  # clinical pixels that empty lung is away from such
SOFTER = 0.6  # standard deviation in clinical pixels
SHARPER = (0.7, 1.0)  # standard deviation in clinical pixels, and how much of what it takes away is added

KERNELS: dict[str, Callable[[Image], Image]] = {
    "clinical": lambda image: image,
    "clinical_soft": lambda image: gaussian_filter(image, SOFTER),
    "clinical_sharp": lambda image: np.clip(image + SHARPER[1] * (image - gaussian_filter(image, SHARPER[0])), -1, 1),
}
"""A scan as it is, and as a softer and a sharper reconstruction kernel would have made it (simulated by filtering)."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Two adjacent slices of a place in a real scan.

    Attributes:
        case: Name of the scan.
        z: The first slice.
        slices: (2, H, W) in [-1, 1].
        lung: (2, H, W).
    """

    case: str
    z: int
    slices: Image
    lung: Mask


def scenes(cases: Sequence[PreparedCase], count: int) -> Iterator[Scene]:
    """Places with most lung, in slices spread over as much of each scan as has lung."""
    for case in cases:
        with_lung = tuple(z for z in range(len(case.slices) - 1) if case.mask[z].any())
        for z in evenly_spaced(with_lung, count):
            rows, columns = (_fullest(case.mask[z].sum(axis=axis), SIDE) for axis in (1, 0))
            place = np.s_[z : z + 2, rows, columns]
            if case.mask[place][0].any():
                yield Scene(case.name, z, case.image[place].astype(np.float32), np.asarray(case.mask[place]))


def scan_scores(
    cases: Sequence[PreparedCase],
    networks: Sequence[TrainedNetwork],
    interpolation: Interpolation,
    step: Step = lambda: None,
    count: int = 2,
    protocols: Sequence[str] = tuple(KERNELS),
) -> Answers:
    """Figures of real scans, for each kernel, and the first scene of each scan enlarged.

    Args:
        cases: Prepared clinical scans.
        networks: Trained networks; windows and grey maps are those of `reference`.
        interpolation: Which ones are asked beside them.
        step: Called after each protocol.
        count: Places of each scan.
        protocols: Of `KERNELS`.

    Returns:
        Rows of the measures `consistency_hu`, `edge_gain` (mean gradient at the scan's strongest edges, as a multiple
        of mapped bicubic's), `slice_step` (mean difference of adjacent slices in the lung, likewise), `empty_texture`
        (standard deviation at scales below 0.3 mm where the scan shows neither vessel nor wall, in greys of [0, 1]) and
        `grid_peak`; and views for a picture.
    """
    first = reference(networks)
    methods = methods_of([interpolation, *networks], first.grey_maps["clinical"])
    rows: list[Row] = []
    views: dict[str, dict[str, Image]] = {}
    consistency = Consistency(to_clinical(first.grey_maps), first.window)
    for protocol in protocols:
        values: dict[tuple[str, Method, str], list[float]] = {}
        for scene in scenes(cases, count):
            lrs = [np.asarray(KERNELS[protocol](image), dtype=np.float32) for image in scene.slices]
            made = {key: [enlarge(lr) for lr in lrs] for key, enlarge in methods.items()}
            plain = made[Method(MAPPED, None)]
            plain_edges = _gradient(to_unit(plain[0]))
            lung, empty = _fine(scene.lung[0]), _fine(_empty(lrs[0], scene.lung[0]))
            edges, plain_step = _edges(plain[0]) & lung, _step([to_unit(image) for image in plain], lung)
            for key, images in made.items():
                unit = [to_unit(image) for image in images]
                figures = {
                    "consistency_hu": float(consistency.difference(lrs[0], images[0])[scene.lung[0]].mean()),
                    "grid_peak": grid_peak([unit[0]], min(256, *(side // 64 * 64 for side in unit[0].shape))),
                }
                if edges.any():
                    figures["edge_gain"] = _gradient(unit[0])[edges].mean() / plain_edges[edges].mean()
                if plain_step:
                    figures["slice_step"] = _step(unit, lung) / plain_step
                if empty.sum() > SCALE**2:
                    figures["empty_texture"] = float((unit[0] - gaussian_filter(unit[0], 1.6))[empty].std())
                for metric, value in figures.items():
                    values.setdefault((scene.case, key, metric), []).append(float(value))
            name = f"{scene.case}, {protocol}"
            if name not in views:
                views[name] = _views(made)
        rows += [
            Row(protocol, name, metric, float(np.mean(of)), case, seed)
            for (case, (name, seed), metric), of in values.items()
        ]
        step()
    return Answers(rows, views=views)


def slice_steps(
    pairs: Sequence[Pair], methods: Mapping[Method, Enlarge], window: Window, protocol: str = "paired"
) -> list[Row]:
    """Mean difference of two adjacent clinical slices' enlargements in the lung, as a multiple of mapped bicubic's.

    Slices are enlarged one by one: what is made up differs from slice to slice, and shows in a coronal view. The truth
    has a row of its own, `truth`. A pair with one slice only, or with a lung that does not change, is left out.
    """
    rows = []
    for pair in pairs:
        every = chosen_slices(pair, len(pair.slices))
        if len(every) < 2:
            warn(f"slice_step is left out of {protocol} {pair.name}: it has no two slices side by side")
            continue
        (z, here), (next_z, there) = every[len(every) // 2 - 1], every[len(every) // 2]
        inside = pair.inside[here] & pair.inside[there]
        made = {
            key: _step([to_unit(enlarge(window.normalise(pair.clinical.array[k]))) for k in (z, next_z)], inside)
            for key, enlarge in methods.items()
        }
        made[Method("truth", None)] = _step([to_unit(pair.truth(k)) for k in (here, there)], inside)
        base = made[Method(MAPPED, None)]
        if base:
            rows += [
                Row(protocol, name, "slice_step", step / base, pair.name, seed) for (name, seed), step in made.items()
            ]
    return rows


def _step(images: Sequence[Image], inside: Mask) -> float:
    return float(np.abs(images[0] - images[1])[inside].mean())


def _gradient(image: Image) -> Image:
    gradient: Image = np.hypot(sobel(image, 0), sobel(image, 1))
    return gradient


def _edges(image: Image) -> Mask:
    """The strongest twentieth of the edges."""
    gradient = maximum_filter(_gradient(to_unit(image)), SCALE)
    strong: Mask = gradient > np.quantile(gradient, 0.95)
    return strong


def _empty(lr: Image, lung: Mask) -> Mask:
    """Lung in which the scan shows no vessel, wall or nodule."""
    clear = maximum_filter(gaussian_filter(lr, 0.7), 2 * CLEAR + 1) < DENSE
    empty: Mask = clear & binary_erosion(lung, iterations=CLEAR)
    return empty


def _fine(mask: Mask) -> Mask:
    return np.repeat(np.repeat(mask, SCALE, axis=0), SCALE, axis=1)


def _fullest(counts: npt.NDArray[np.integer], side: int) -> slice:
    """The stretch of an axis that holds most."""
    side = min(side, len(counts))
    sums = np.convolve(counts, np.ones(side), mode="valid")
    first = int(np.argmax(sums))
    return slice(first, first + side)


def _views(made: Mapping[Method, Sequence[Image]]) -> dict[str, Image]:
    """The middle of a scene by each network's first seed, and by the interpolations that are worth a column."""
    chosen: dict[str, Image] = {}
    for (name, seed), images in made.items():
        if seed is None and name not in FEW:
            continue
        height, width = images[0].shape
        top, left = max(0, height // 2 - 160), max(0, width // 2 - 160)
        middle = np.s_[top : height // 2 + 160, left : width // 2 + 160]
        chosen.setdefault(name, to_unit(images[0][middle]))
    return chosen
