"""A whole scan through the network, slice by slice, from file to file."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from ctsr.checkpoint import SRModel, brief
from ctsr.data.finding.cases import the_scan
from ctsr.data.preparing.hashes import scan_hash
from ctsr.errors import UserError, warn
from ctsr.imaging.anatomy.lung import lung_mask
from ctsr.imaging.consistency import told
from ctsr.imaging.formats.readers import read_volume
from ctsr.imaging.hounsfield import doubts_of_ct
from ctsr.imaging.intensity import Window
from ctsr.imaging.orientation import Orientation, canonical
from ctsr.imaging.padding import AIR_HU, find_padding, mark_padding
from ctsr.imaging.storage import Allocate, MappedFiles
from ctsr.imaging.volume import Mask, Volume
from ctsr.inference.beside_training import BesideTraining, Sampling
from ctsr.inference.engine import Engine, check_tile
from ctsr.inference.grid import Plan, crop, crop_mask, plan
from ctsr.inference.nifti_stream import nifti_stream
from ctsr.inference.overlap import overlapped
from ctsr.inference.part import Bounds, part_of
from ctsr.inference.partial import PartialResult, partial_result
from ctsr.inference.picture import Views, write_picture
from ctsr.inference.progress import SlicesBar
from ctsr.inference.regions_of_interest import Region, lung_regions
from ctsr.inference.results import Results, check_results, check_space, write_json
from ctsr.inference.slice_work import SliceWork
from ctsr.methods import described
from ctsr.records.scan_settings import ScanSettings
from ctsr.versions import versions
from ctsr.writable import check_writable

NO_VOXEL = {"overwrite", "level", "device", "roi", "slices", "box_mm"}
"""Settings of which no voxel depends, or that are told otherwise."""

NOTICE = (
    "Not for diagnosis. Walls, vessels, airways and nodules are sharpened; "
    "the fine texture of the parenchyma is not in the clinical image and is imitated."
)


def super_resolve_scan(
    model: SRModel, input_path: Path, output: Path, settings: ScanSettings | None = None, console: Console | None = None
) -> Results:
    """Super-resolve a scan by 8 within its slices and write it in its own orientation.

    Args:
        model: A loaded checkpoint.
        input_path: A scan in HU, of any format and orientation that `read_volume` reads, or a folder with exactly one
            such scan anywhere below it.
        output: Where to, .nii.gz or .nii; its folder is made if missing. A record (JSON) and a picture (PNG) are put
            beside it.
        settings: How.
        console: Where progress is shown; None: the terminal.

    Returns:
        The files written.

    Raises:
        UserError: If something is wrong with input, output or settings; nothing is written then.
        Stopped: By a signal, after slices were done; the same call goes on.
    """
    settings, console = settings or ScanSettings(), console or Console()
    started = time.monotonic()
    check_writable("output", output.parent, named=output)
    results = Results.beside(output)
    scan_path = the_scan(input_path, "input")
    check_results(results, settings.overwrite, scan_path, model.path)
    device = find_device(settings.device)
    check_tile(model.GS, settings.tile)
    if scan_path != input_path:
        _say(console, f"input={input_path}: the scan in it is {scan_path}")
        input_path = scan_path
    with partial_result(output, anew=settings.overwrite) as partial:
        mapped = MappedFiles(partial.folder)
        as_read = read_volume(input_path, settings.file_spacing, series=settings.series, allocate=mapped)
        scan, orientation = canonical(as_read)
        part = part_of(scan.shape, scan.affine, settings)
        scan = mark_padding(scan, find_padding(scan.array, mapped))
        beside = BesideTraining(Sampling.of_scan(scan), Sampling.of_training(model.card))
        warnings = [f"{input_path}: {doubt}" for doubt in [*_not_ct(as_read, input_path, settings), *beside.doubts()]]
        for text in warnings:
            warn(text)
        volume, lung = crop(scan, part), crop_mask(_lung(scan, settings.region, mapped), part)
        steps = plan(volume.shape, volume.affine, model.card.pixel, settings.spacing_tolerance, settings.grid)
        for line in (described(model.card.name), str(beside), _summary(steps, model)):
            _say(console, line)
        engine = Engine(model.GS, device, settings.precision, settings.tile, lambda line: _say(console, line))
        sha256 = scan_hash(input_path)
        fixed = {"tile": engine.tile, "batch": _batch(settings, engine, steps)}
        fixed = dict(partial.go_on(_same_run(sha256, model, settings, part, device), fixed))
        engine.tile = fixed["tile"]
        check_space(output, steps, partial.size)
        greys = model.card.hu if settings.units == "hu" else model.card.window("micro")
        clinical = model.card.window("clinical")
        with nifti_stream(
            output, partial.folder, steps.output_shape, steps.output_affine, orientation, settings.level
        ) as stream:
            work = SliceWork(
                volume,
                lung,
                steps,
                engine,
                stream,
                clinical,
                greys,
                model.card.to_clinical,
                _padding(volume, greys, settings),
                settings.region == "lung",
                partial.note,
            )
            regions = lung_regions(volume, lung, clinical)
            error = _precision_error(model, work, regions[len(regions) // 2]) if settings.precision != "32" else None
            if error is not None:
                _say(console, f"precision={settings.precision}: {error['told']}")
            seconds = _enlarge(work, partial, fixed, console)
            first = (0, 0, 0) if part is None else part[::2]
            shown = Views(volume, first, steps, stream, clinical, greys)
            views = [shown.view(region, work.difference(region.z)) for region in regions]
            reformats = shown.reformats(regions[len(regions) // 2])
    write_picture(views, reformats, results.picture, f"{output.name}: {NOTICE}")
    figures = work.consistency.figures()
    _say(console, f"|f(SR) - scan|: {told(figures) or 'nothing was computed'}")
    scanned = {
        "path": str(input_path),
        "sha256": sha256,
        "greys": [float(as_read.array.min()), float(as_read.array.max())],
        "padding": scan.padding,
    }
    record = {
        "notice": NOTICE,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "input": scanned,
        "output": {"path": str(results.volume), "picture": str(results.picture)},
        "warnings": warnings,
        "consistency": {"what": "|f(SR) - y| inside the field of view", **figures},
        "sampling": beside.to_plain(),
        "settings": settings.model_dump(mode="json", include=set(ScanSettings.model_fields)),
        "engine": {**fixed, "precision_error_hu": error and error["hu"]},
        "geometry": _geometry(steps, orientation, part),
        "checkpoint": {"path": str(model.path), "sha256": model.sha256, "ctsr": brief(model.card)},
        "versions": versions(),
        "seconds": round(time.monotonic() - started, 1),
        "network_seconds": round(seconds, 1),
    }
    write_json(record, results.record)
    return results


def _enlarge(work: SliceWork, partial: PartialResult, fixed: dict[str, Any], console: Console) -> float:
    """All slices that are not done yet; and the seconds that the network took."""
    partial.retain(work.keep)
    order = work.stream.order
    todo = [z for z in order if z not in partial.done]
    if partial.done:
        there = f"{len(partial.done)} of {len(order)} slices"
        _say(console, f"{there} are there from an earlier run: going on with the others")
    size = fixed["batch"]
    batches = [todo[start : start + size] for start in range(0, len(todo), size)]
    costs = {z: work.cost(z) for z in todo}
    network = 0.0
    with (
        SlicesBar(len(todo), sum(costs.values()), console) as bar,
        closing(overlapped(batches, work.prepare, work.compute, work.finish)) as made,
    ):
        for numbers, seconds in made:
            if not network and len(batches) > 1:
                each = seconds / sum(costs[z] for z in numbers)
                _say(console, _cost(work.steps, each * sum(costs.values())))
            network += seconds
            if work.engine.tile != fixed["tile"]:  # memory did not suffice
                fixed["tile"] = work.engine.tile
                partial.fix(fixed)
            for z in numbers:
                bar.done(costs[z], int(np.prod(work.steps.output_shape[1:])))
    return network


def find_device(name: str) -> torch.device:
    """The device of a name; "auto" is a GPU if there is one.

    Raises:
        UserError: If there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={name} is not available here: give auto or cpu") from error
    return device


def _same_run(
    sha256: str, model: SRModel, settings: ScanSettings, part: Bounds | None, device: torch.device
) -> dict[str, Any]:
    """What makes two runs one: all that a voxel depends on."""
    typed = settings.model_dump(mode="json", include=set(ScanSettings.model_fields) - NO_VOXEL)
    known = versions()
    return {
        "scan": sha256,
        "checkpoint": model.sha256,
        **typed,
        "part": None if part is None else list(part),
        "device": device.type,
        "ctsr": known["ctsr"],
        "torch": known["torch"],
    }


def _batch(settings: ScanSettings, engine: Engine, steps: Plan) -> int:
    return engine.batch(steps.network_shape) if settings.batch == "auto" else settings.batch


def _precision_error(model: SRModel, work: SliceWork, region: Region) -> dict[str, Any]:
    """What a coarser precision changes, in a region of the scan, beside float32."""
    rows, columns = slice(region.y, region.y + region.size), slice(region.x, region.x + region.size)
    lr = torch.from_numpy(work.seen_by_network(region.z)[None, rows, columns].copy())
    exact = Engine(model.GS, work.engine.device).enlarge(lr)
    apart = (work.engine.enlarge(lr) - exact).abs() * (work.greys.high - work.greys.low) / 2
    mean, most = float(apart.mean()), float(apart.max())
    line = f"{mean:.2g} HU on average, {most:.2g} at most from float32, in a region of slice {region.z}"
    return {"told": line, "hu": {"mean": mean, "max": most}}


def _cost(steps: Plan, seconds: float) -> str:
    """One line: what the whole amounts to, after the first slice."""
    voxels = int(np.prod(steps.output_shape))
    left = timedelta(seconds=round(seconds))
    return f"{voxels / 1e9:.3g} billion voxels, {2 * voxels / 1e9:.3g} GB before compression, about {left} by the first"


def _say(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, markup=False, emoji=False, highlight=False)


def _not_ct(scan: Volume, path: Path, settings: ScanSettings) -> list[str]:
    try:
        return doubts_of_ct(scan, settings.must_be_hu)
    except UserError as error:
        raise UserError(f"{path} is not enlarged: {error} (must_be_hu=false does it with a warning)") from error


def _padding(volume: Volume, greys: Window, settings: ScanSettings) -> float:
    """What is written outside the field of view."""
    if settings.padding == "scan" and volume.padding is not None:
        return volume.padding
    return AIR_HU if settings.units == "hu" else greys.low


def _summary(steps: Plan, model: SRModel) -> str:
    """One line: what goes in, what comes out, and why it is resampled."""
    have, trained = (" x ".join(f"{size:.4f}" for size in plane) for plane in (steps.spacing[1:], model.card.pixel))
    line = f"{_times(steps.shape)} voxels (slices, rows, columns) of {have} mm -> {_times(steps.output_shape)}"
    if not steps.resampled:
        return line
    kept = "and back" if steps.grid == "input" else "written on that grid / 8"
    return f"{line}; the network was trained at {trained} mm: resampled to it, {kept}"


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _lung(scan: Volume, region: str, allocate: Allocate) -> Mask:
    """The lung of the whole scan, of which a part may be too small to tell; nothing where there is none.

    Raises:
        UserError: There is none, and it is what was asked for.
    """
    try:
        return lung_mask(scan, allocate)
    except UserError as error:
        if region == "lung":
            raise UserError(f"region=lung: {error}") from error
        return np.broadcast_to(np.False_, scan.array.shape)


def _geometry(steps: Plan, orientation: Orientation, part: Bounds | None) -> dict[str, Any]:
    return {
        "axes": "canonical: slices, rows, columns; millimetres",
        "orientation": asdict(orientation),
        "part": part,
        "input_shape": steps.shape,
        "input_spacing": steps.spacing,
        "network_spacing": steps.network_plane,
        "output_shape": steps.output_shape,
        "output_spacing": [steps.spacing[0], *steps.output_plane],
    }
