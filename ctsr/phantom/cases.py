"""The phantom's data set on disk: unpaired training scans of two domains, and held-out lungs seen by both scanners."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track

from ctsr.errors import UserError
from ctsr.files import locked
from ctsr.imaging.formats.writer import write_volume
from ctsr.imaging.volume import Volume
from ctsr.phantom.outline import Outline
from ctsr.phantom.scanners import ClinicalScanner, MicroScanner
from ctsr.phantom.tissue import Anatomy, make_tissue
from ctsr.records.phantom import PhantomSettings

FORMAT = 1
MARKER = "phantom.json"
COARSE_FACTOR = 4  # tissue voxels of clinical-only cases along a pixel: 8 times less work than with 8
MAX_WORKERS = 4  # each case takes about 0.5 GB at demo size

Drawn = dict[str, Any]  # what was drawn for a case, for the record


def generate(root: Path, settings: PhantomSettings, show_progress: bool = True) -> None:
    """Write the phantom's data set, once.

    Nothing is done where `root` holds it already. It appears whole or not at all, and of two processes that start at
    once the second waits for the first. Layout, all NIfTI with RAS+ affines::

        root/clinical/lung_000.nii.gz                 HU, int16
        root/micro/specimen_000.nii.gz                uncalibrated greys, uint16
        root/paired/lung_100/clinical.nii.gz          HU, int16
        root/paired/lung_100/micro.nii.gz             uncalibrated greys, uint16
        root/paired/lung_100/labels.nii.gz            `Label` on the µCT's grid, uint8
        root/empty/lung_200/                          the same three files
        root/phantom.json                             format, settings and what was drawn for each case

    Args:
        root: Folder to write, beside which a lock and a half-made copy stand while it is made.
        settings: What to generate.
        show_progress: Whether to show a progress bar.

    Raises:
        UserError: `root` holds a phantom of other settings, or something else.
    """
    root = root.resolve()
    if _is_made(root, settings):  # it may be read-only
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    with locked(root.with_name(f".{root.name}.lock")):
        if _is_made(root, settings):
            return
        partial = root.with_name(f"{root.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            _make(partial, settings, show_progress)
            os.replace(partial, root)
        except BaseException:  # Ctrl-C, too
            shutil.rmtree(partial, ignore_errors=True)
            raise


def _is_made(root: Path, settings: PhantomSettings) -> bool:
    """Whether `root` holds this phantom; False where it is absent or empty, an error where it holds anything else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / MARKER).read_text(encoding="utf-8"))
        form, made, cases = found["format"], found["settings"], found["cases"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{root} holds something that is no phantom: name another folder for the phantom") from error
    if (form, made) != (FORMAT, json.loads(json.dumps(settings.model_dump()))):
        raise UserError(f"{root} holds a phantom of other settings: delete it or name another folder")
    for case in cases:
        if not (root / case).exists():
            raise UserError(f"{root / case} is missing from the phantom: delete {root} to have it made anew")
    return True


def _make(folder: Path, settings: PhantomSettings, show_progress: bool) -> None:
    """Make every case, several at a time, and the marker last."""
    kinds = [  # the largest first, so that no thread is left alone with one at the end
        ("paired/lung_{:03}", 100, settings.paired_cases, _make_pair),
        ("micro/specimen_{:03}.nii.gz", 0, settings.micro_cases, _make_specimen),
        ("clinical/lung_{:03}.nii.gz", 0, settings.clinical_cases, _make_chest),
        ("empty/lung_{:03}", 200, settings.empty_cases, _make_empty),
    ]
    with ThreadPoolExecutor(min(MAX_WORKERS, os.cpu_count() or 1)) as pool:
        futures = {}
        for kind, (name, first, count, make) in enumerate(kinds):
            for index in range(count):
                path = folder / name.format(first + index)
                path.parent.mkdir(parents=True, exist_ok=True)
                rng = np.random.default_rng([settings.seed, kind, index])
                futures[pool.submit(make, path, settings, rng)] = path.relative_to(folder).as_posix()
        done = track(as_completed(futures), "phantom", total=len(futures), disable=not show_progress)
        try:
            drawn = {futures[future]: future.result() for future in done}
        except BaseException:
            pool.shutdown(cancel_futures=True)  # those under way end, no others start
            raise
    record = {"format": FORMAT, "settings": settings.model_dump(), "cases": dict(sorted(drawn.items()))}
    (folder / MARKER).write_text(json.dumps(record, indent=1), encoding="utf-8")


def _make_empty(path: Path, settings: PhantomSettings, rng: np.random.Generator) -> Drawn:
    """Nothing but parenchyma in its chest wall, through both scanners."""
    return _make_pair(path, settings.changed(vessel_diameter=(0.0, 0.0), nodule_probability=0.0), rng)


def _make_pair(path: Path, settings: PhantomSettings, rng: np.random.Generator) -> Drawn:
    """A small lung, enclosed by chest wall, through both scanners."""
    factor = settings.factor
    voxel = settings.clinical_spacing / factor
    size = settings.paired_pixels * settings.clinical_spacing
    lung = Outline.random((size / 2, size / 2), 0.43 * size, 4.0, 0.03, rng)
    anatomy = _anatomy(settings, lung, None, chest_wall=True, rng=rng)
    # One clinical slice more than wanted, half above and half below: slice profiles reach beyond the slices.
    pixels, margin = settings.paired_pixels * factor, factor // 2
    tissue = make_tissue(anatomy, ((settings.paired_slices + 1) * factor, pixels, pixels), voxel, rng)
    inner = slice(margin, margin + settings.paired_slices * factor)

    micro, clinical = _micro_scanner(settings, rng), _clinical_scanner(settings, rng)
    middles = factor * np.arange(settings.paired_slices) + factor // 2  # the µCT slice at the z of each clinical one
    edge = rng.uniform(-100, 100, 3).round(1)  # world position of the block's first corner
    path.mkdir()
    _write(path / "micro.nii.gz", micro.scan(tissue.density, rng)[inner], voxel, edge + voxel / 2)
    _write(path / "labels.nii.gz", tissue.labels[inner], voxel, edge + voxel / 2)
    scan = clinical.scan(tissue.density, voxel, (margin + middles + 0.5) * voxel, rng)
    half = settings.clinical_spacing / 2
    first = edge + np.array([(middles[0] + 0.5) * voxel, half, half])
    _write(path / "clinical.nii.gz", scan, settings.clinical_spacing, first)
    return _drawn(anatomy) | {"micro_scanner": asdict(micro), "clinical_scanner": asdict(clinical)}


def _make_specimen(path: Path, settings: PhantomSettings, rng: np.random.Generator) -> Drawn:
    """A piece cut out of a larger lung, with pleura at one side, in air, through µCT."""
    voxel = _one_of(settings.micro_spacing, rng)
    size = settings.micro_pixels * voxel
    way = rng.uniform(0, 2 * np.pi)  # where the pleura lies
    centre = size / 2 - 0.72 * size * np.array([np.sin(way), np.cos(way)])
    lung = Outline.random((float(centre[0]), float(centre[1])), 1.05 * size, 2.0, 0.02, rng)
    piece = Outline.random((size / 2, size / 2), 0.44 * size, 3.5, 0.06, rng)
    anatomy = _anatomy(settings, lung, piece, chest_wall=False, rng=rng)
    tissue = make_tissue(anatomy, (settings.micro_slices, settings.micro_pixels, settings.micro_pixels), voxel, rng)
    scanner = _micro_scanner(settings, rng)
    _write(path, scanner.scan(tissue.density, rng), voxel, rng.uniform(-100, 100, 3).round(1))
    return _drawn(anatomy) | {"micro_scanner": asdict(scanner)}


def _make_chest(path: Path, settings: PhantomSettings, rng: np.random.Generator) -> Drawn:
    """A lung within chest wall within air, through clinical CT."""
    voxel = settings.clinical_spacing / COARSE_FACTOR
    size = settings.clinical_pixels * settings.clinical_spacing
    middle = (size / 2 + rng.uniform(-0.02, 0.02) * size, size / 2 + rng.uniform(-0.02, 0.02) * size)
    lung = Outline.random(middle, 0.38 * size, 2.6, 0.05, rng)
    body = Outline.random(middle, 0.46 * size, 2.6, 0.01, rng)
    anatomy = _anatomy(settings, lung, body, chest_wall=True, rng=rng)
    pixels = settings.clinical_pixels * COARSE_FACTOR
    tissue = make_tissue(anatomy, ((settings.clinical_slices + 1) * COARSE_FACTOR, pixels, pixels), voxel, rng)
    scanner = _clinical_scanner(settings, rng)
    slices = (np.arange(settings.clinical_slices) + 1) * settings.clinical_spacing
    scan = scanner.scan(tissue.density, voxel, slices, rng)
    _write(path, scan, settings.clinical_spacing, rng.uniform(-100, 100, 3).round(1))
    return _drawn(anatomy) | {"clinical_scanner": asdict(scanner)}


def _one_of(values: tuple[float, float], rng: np.random.Generator) -> float:
    return float(rng.uniform(*values))


def _anatomy(
    settings: PhantomSettings, lung: Outline, body: Outline | None, chest_wall: bool, rng: np.random.Generator
) -> Anatomy:
    """Both domains draw their lungs here, from the same ranges."""
    return Anatomy(
        lung=lung,
        body=body,
        chest_wall=chest_wall,
        tissue_share=_one_of(settings.tissue_share, rng),
        cell_edge=_one_of(settings.cell_edge, rng),
        vessel_diameter=_one_of(settings.vessel_diameter, rng),
        nodule_radius=_one_of(settings.nodule_radius, rng) if rng.random() < settings.nodule_probability else 0.0,
        part_solid=bool(rng.random() < 0.5),
    )


def _micro_scanner(settings: PhantomSettings, rng: np.random.Generator) -> MicroScanner:
    return MicroScanner(
        gain=_one_of(settings.micro_gain, rng),
        offset=_one_of(settings.micro_offset, rng),
        blur=_one_of(settings.micro_blur, rng),
        noise=_one_of(settings.micro_noise, rng),
        rings=_one_of(settings.micro_rings, rng),
    )


def _clinical_scanner(settings: PhantomSettings, rng: np.random.Generator) -> ClinicalScanner:
    return ClinicalScanner(
        pixel=settings.clinical_spacing,
        spread=_one_of(settings.clinical_spread, rng),
        slice_width=settings.slice_width,
        noise=_one_of(settings.clinical_noise, rng),
        cutoff=_one_of(settings.clinical_cutoff, rng),
    )


def _drawn(anatomy: Anatomy) -> Drawn:
    names = ("tissue_share", "cell_edge", "vessel_diameter", "nodule_radius", "part_solid")
    return {name: getattr(anatomy, name) for name in names}


def _write(path: Path, array: npt.NDArray[np.generic], spacing: float, first: npt.ArrayLike) -> None:
    """Write a volume whose first voxel is centred at `first` (z, y, x) mm; rows run to posterior, columns to left."""
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = spacing, -spacing, -spacing, 1  # world axis of each array axis
    affine[[2, 1, 0], 3] = np.asarray(first) * (1, -1, -1)
    write_volume(path, Volume(array, affine))
