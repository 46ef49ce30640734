"""What is drawn for a case, from the same ranges whatever scans it; and how its volumes are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ctsr.imaging.formats.writer import write_volume
from ctsr.imaging.volume import Volume
from ctsr.phantom.outline import Outline
from ctsr.phantom.scanners import ClinicalScanner, MicroScanner
from ctsr.phantom.tissue import Anatomy
from ctsr.records.phantom import PhantomSettings

Drawn = dict[str, Any]  # what was drawn for a case, for the record


def one_of(values: tuple[float, float], rng: np.random.Generator) -> float:
    """Draw a value from a range."""
    return float(rng.uniform(*values))


def draw_anatomy(
    settings: PhantomSettings, lung: Outline, body: Outline | None, chest_wall: bool, rng: np.random.Generator
) -> Anatomy:
    """Draw a lung; both domains do so here, from the same ranges."""
    return Anatomy(
        lung=lung,
        body=body,
        chest_wall=chest_wall,
        tissue_share=one_of(settings.tissue_share, rng),
        cell_edge=one_of(settings.cell_edge, rng),
        vessel_diameter=one_of(settings.vessel_diameter, rng),
        nodule_radius=one_of(settings.nodule_radius, rng) if rng.random() < settings.nodule_probability else 0.0,
        part_solid=bool(rng.random() < 0.5),
    )


def draw_small_lung(settings: PhantomSettings, size: float, rng: np.random.Generator) -> Anatomy:
    """Draw a lung that is enclosed by chest wall in a square of `size` mm."""
    lung = Outline.random((size / 2, size / 2), 0.43 * size, 4.0, 0.03, rng)
    return draw_anatomy(settings, lung, None, chest_wall=True, rng=rng)


def draw_micro_scanner(settings: PhantomSettings, rng: np.random.Generator) -> MicroScanner:
    """Draw a µCT scanner."""
    return MicroScanner(
        gain=one_of(settings.micro_gain, rng),
        offset=one_of(settings.micro_offset, rng),
        blur=one_of(settings.micro_blur, rng),
        noise=one_of(settings.micro_noise, rng),
        rings=one_of(settings.micro_rings, rng),
    )


def draw_clinical_scanner(settings: PhantomSettings, rng: np.random.Generator) -> ClinicalScanner:
    """Draw a clinical scanner."""
    return ClinicalScanner(
        pixel=settings.clinical_spacing,
        spread=one_of(settings.clinical_spread, rng),
        slice_width=settings.slice_width,
        noise=one_of(settings.clinical_noise, rng),
        cutoff=one_of(settings.clinical_cutoff, rng),
    )


def told_anatomy(anatomy: Anatomy) -> Drawn:
    """Tell what was drawn for an anatomy, its outlines aside."""
    names = ("tissue_share", "cell_edge", "vessel_diameter", "nodule_radius", "part_solid")
    return {name: getattr(anatomy, name) for name in names}


def write(path: Path, array: npt.NDArray[np.generic], spacing: float, first: npt.ArrayLike) -> None:
    """Write a volume whose first voxel is centred at `first` (z, y, x) mm; rows run to posterior, columns to left."""
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = spacing, -spacing, -spacing, 1  # world axis of each array axis
    affine[[2, 1, 0], 3] = np.asarray(first) * (1, -1, -1)
    write_volume(path, Volume(array, affine))
