"""Cases of the first two scanners: pairs, specimens and chests."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from ctsr.phantom.drawing import (
    Drawn,
    draw_anatomy,
    draw_clinical_scanner,
    draw_micro_scanner,
    draw_small_lung,
    one_of,
    told_anatomy,
    write,
)
from ctsr.phantom.outline import Outline
from ctsr.phantom.tissue import make_tissue
from ctsr.records.phantom import PhantomSettings

COARSE_FACTOR = 4  # tissue voxels of clinical-only cases along a pixel: 8 times less work than with 8


def make_empty(path: Path, settings: PhantomSettings, rng: np.random.Generator) -> Drawn:
    """Nothing but parenchyma in its chest wall, through both scanners."""
    return make_pair(path, settings.changed(vessel_diameter=(0.0, 0.0), nodule_probability=0.0), rng)


def make_pair(path: Path, settings: PhantomSettings, rng: np.random.Generator) -> Drawn:
    """A small lung, enclosed by chest wall, through both scanners."""
    factor = settings.factor
    voxel = settings.clinical_spacing / factor
    anatomy = draw_small_lung(settings, settings.paired_pixels * settings.clinical_spacing, rng)
    # One clinical slice more than wanted, half above and half below: slice profiles reach beyond the slices.
    pixels, margin = settings.paired_pixels * factor, factor // 2
    tissue = make_tissue(anatomy, ((settings.paired_slices + 1) * factor, pixels, pixels), voxel, rng)
    inner = slice(margin, margin + settings.paired_slices * factor)

    micro, clinical = draw_micro_scanner(settings, rng), draw_clinical_scanner(settings, rng)
    middles = factor * np.arange(settings.paired_slices) + factor // 2  # the µCT slice at the z of each clinical one
    edge = rng.uniform(-100, 100, 3).round(1)  # world position of the block's first corner
    path.mkdir()
    write(path / "micro.nii.gz", micro.scan(tissue.density, rng)[inner], voxel, edge + voxel / 2)
    write(path / "labels.nii.gz", tissue.labels[inner], voxel, edge + voxel / 2)
    scan = clinical.scan(tissue.density, voxel, (margin + middles + 0.5) * voxel, rng)
    half = settings.clinical_spacing / 2
    first = edge + np.array([(middles[0] + 0.5) * voxel, half, half])
    write(path / "clinical.nii.gz", scan, settings.clinical_spacing, first)
    return told_anatomy(anatomy) | {"micro_scanner": asdict(micro), "clinical_scanner": asdict(clinical)}


def make_specimen(path: Path, settings: PhantomSettings, rng: np.random.Generator) -> Drawn:
    """A piece cut out of a larger lung, with pleura at one side, in air, through µCT."""
    voxel = one_of(settings.micro_spacing, rng)
    size = settings.micro_pixels * voxel
    way = rng.uniform(0, 2 * np.pi)  # where the pleura lies
    centre = size / 2 - 0.72 * size * np.array([np.sin(way), np.cos(way)])
    lung = Outline.random((float(centre[0]), float(centre[1])), 1.05 * size, 2.0, 0.02, rng)
    piece = Outline.random((size / 2, size / 2), 0.44 * size, 3.5, 0.06, rng)
    anatomy = draw_anatomy(settings, lung, piece, chest_wall=False, rng=rng)
    tissue = make_tissue(anatomy, (settings.micro_slices, settings.micro_pixels, settings.micro_pixels), voxel, rng)
    scanner = draw_micro_scanner(settings, rng)
    write(path, scanner.scan(tissue.density, rng), voxel, rng.uniform(-100, 100, 3).round(1))
    return told_anatomy(anatomy) | {"micro_scanner": asdict(scanner)}


def make_chest(path: Path, settings: PhantomSettings, rng: np.random.Generator) -> Drawn:
    """A lung within chest wall within air, through clinical CT."""
    voxel = settings.clinical_spacing / COARSE_FACTOR
    size = settings.clinical_pixels * settings.clinical_spacing
    middle = (size / 2 + rng.uniform(-0.02, 0.02) * size, size / 2 + rng.uniform(-0.02, 0.02) * size)
    lung = Outline.random(middle, 0.38 * size, 2.6, 0.05, rng)
    body = Outline.random(middle, 0.46 * size, 2.6, 0.01, rng)
    anatomy = draw_anatomy(settings, lung, body, chest_wall=True, rng=rng)
    pixels = settings.clinical_pixels * COARSE_FACTOR
    tissue = make_tissue(anatomy, ((settings.clinical_slices + 1) * COARSE_FACTOR, pixels, pixels), voxel, rng)
    scanner = draw_clinical_scanner(settings, rng)
    slices = (np.arange(settings.clinical_slices) + 1) * settings.clinical_spacing
    scan = scanner.scan(tissue.density, voxel, slices, rng)
    write(path, scan, settings.clinical_spacing, rng.uniform(-100, 100, 3).round(1))
    return told_anatomy(anatomy) | {"clinical_scanner": asdict(scanner)}
