"""One lung of the data set: grown, put into a body, scanned in every kind, and by µCT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ctsr.phantom.drawing import Drawn, draw_micro_scanner, draw_small_lung, told_anatomy, write
from ctsr.phantom.labels import Label
from ctsr.phantom.outline import Outline
from ctsr.phantom.projections.body import MUSCLE, Body
from ctsr.phantom.projections.kinds import SETS, Kind
from ctsr.phantom.projections.scanner import Acquisition, Lung, ProjectionScanner, slices_of
from ctsr.phantom.tissue import AIR, SOFT, Tissue, make_tissue
from ctsr.records.phantom import PhantomSettings, ProjectionSettings

Array = npt.NDArray[np.float32]

BEYOND = 2  # detector rows above and below the slices, for slices up to five rows wide
ASIDE = 35.0  # mm from the axis to the lung's middle
FADES = (0.6, 1.9)  # mm beyond the lung between which the chest wall's streaks of fat go over into plain muscle


def make_lung(path: Path, settings: ProjectionSettings, rng: np.random.Generator) -> Drawn:
    """Write `micro.nii.gz`, `labels.nii.gz` and `<kind>.nii.gz` of one lung; all are in HU.

    Args:
        path: Folder to make.
        settings: What to make.
        rng: Source of everything random.

    Returns:
        What was drawn, for the record.
    """
    ranges, factor = PhantomSettings(), settings.factor
    pixel = settings.clinical_spacing
    voxel = pixel / factor
    anatomy = draw_small_lung(ranges, settings.pixels * pixel, rng)
    kept, fine = kept_slices(settings), settings.pixels * factor
    tissue = make_tissue(anatomy, (kept.start + kept.stop, fine, fine), voxel, rng)
    _fade_chest_wall(tissue, anatomy.lung)

    side = int(rng.choice((-1, 1)))
    first = _first_pixel(settings, side, rng)
    lung = place(tissue.density, tissue.labels == Label.VESSEL, first, settings)
    body, micro = Body.random(side, rng), draw_micro_scanner(ranges, rng)
    corner = rng.uniform(-100, 100, 3).round(1)  # world position of the first corner of the clinical field of view
    edge = corner + np.array([0.0, *first]) * pixel

    path.mkdir()
    greys = micro.scan(tissue.density, rng)[kept].astype(np.float32)
    hu = np.rint(AIR + (SOFT - AIR) * (greys - micro.offset) / micro.gain).astype(np.int16)
    write(path / "micro.nii.gz", hu, voxel, edge + voxel / 2)
    write(path / "labels.nii.gz", tissue.labels[kept], voxel, edge + voxel / 2)
    for name, image in scans(SETS[settings.set], settings, body, lung, rng):
        write(path / f"{name}.nii.gz", image, pixel, corner + first_voxel(settings))
    return told_anatomy(anatomy) | {"micro_scanner": asdict(micro), "body": asdict(body), "lung_centre": lung.centre}


def kept_slices(settings: ProjectionSettings) -> slice:
    """Slices of a block that its µCT shows; as many again lie above the last as below the first, for outer rows."""
    margin = BEYOND * settings.factor + settings.factor // 2
    return slice(margin, margin + settings.slices * settings.factor)


def first_voxel(settings: ProjectionSettings) -> npt.NDArray[np.floating]:
    """Middle (z, y, x) of the clinical scans' first voxel in mm from the first corner of the kept slices' field.

    Clinical slice k lies at µCT slice factor * k + factor / 2 of those that are kept.
    """
    pixel = settings.clinical_spacing
    return np.array([(settings.factor // 2 + 0.5) * pixel / settings.factor, pixel / 2, pixel / 2])


def place(density: Array, vessels: npt.NDArray[np.bool_], first: tuple[int, int], settings: ProjectionSettings) -> Lung:
    """A block in the body.

    Args:
        density: (z, y, x) in HU; square slices, more of them than are kept.
        vessels: Where blood vessels are, its shape.
        first: Row and column of the clinical field of view with which it begins.
        settings: Spacings, field and how many slices.
    """
    pixel, factor = settings.clinical_spacing, settings.factor
    voxel = pixel / factor
    slices = np.arange(-BEYOND, settings.slices + BEYOND)
    rows = (kept_slices(settings).start + factor * slices + factor // 2 + 0.5) * voxel
    y, x = ((corner + density.shape[1] / factor / 2 - settings.field / 2) * pixel for corner in first)
    return Lung(density, vessels, voxel, (y, x), rows, pixel)


def scans(
    kinds: Mapping[str, Kind], settings: ProjectionSettings, body: Body, lung: Lung, rng: np.random.Generator
) -> Iterator[tuple[str, npt.NDArray[np.int16]]]:
    """Name and image (slice, y, x) of each kind; kinds of one acquisition share its projections."""
    scanner = ProjectionScanner(settings.views)
    shares: dict[Acquisition, Array] = {}
    for name, kind in kinds.items():
        if kind.acquisition not in shares:
            shares[kind.acquisition] = scanner.shares(body, lung, kind.acquisition)
        paths = scanner.measure(shares[kind.acquisition], kind.photons, rng)
        paths = slices_of(paths, kind.slice_rows, settings.slices)
        image = scanner.reconstruct(paths, kind.kernel, settings.field, settings.clinical_spacing)
        yield name, np.clip(np.rint(image), -1024, 3071).astype(np.int16)


def _first_pixel(settings: ProjectionSettings, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Row and column of the clinical field of view with which the µCT begins."""
    middle = np.array([rng.uniform(-4, 4), side * (ASIDE + rng.uniform(-2, 2))]) / settings.clinical_spacing
    y, x = np.rint(settings.field / 2 + middle - settings.pixels / 2).astype(int)
    return int(y), int(x)


def _fade_chest_wall(tissue: Tissue, outline: Outline) -> None:
    """Let the chest wall become muscle, in place: the body around the block is muscle."""
    deep, height, width = tissue.density.shape
    depth = outline.depth((deep, height, width), tissue.voxel)
    near, far = FADES
    share = np.clip((depth + far) / (far - near), 0, 1)
    wall = AIR + 1000 * np.float32(MUSCLE)
    np.copyto(tissue.density, wall + share * (tissue.density - wall), where=tissue.labels == Label.CHEST_WALL)
