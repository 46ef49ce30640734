"""A whole scan through the network, slice by slice, from file to file."""

from __future__ import annotations

import time
from collections.abc import Mapping
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
from ctsr.errors import UserError, warn
from ctsr.imaging.consistency import told
from ctsr.imaging.intensity import Window
from ctsr.imaging.kernel.matching import ESTIMATE, OFF, softening_from
from ctsr.imaging.kernel.transfer import Softening
from ctsr.imaging.padding import AIR_HU
from ctsr.imaging.storage import MappedFiles
from ctsr.imaging.volume import Volume
from ctsr.inference.engine import Engine, check_tile
from ctsr.inference.grid import Plan, plan
from ctsr.inference.nifti_stream import nifti_stream
from ctsr.inference.overlap import overlapped
from ctsr.inference.partial import PartialResult, partial_result
from ctsr.inference.picture import Views, write_picture
from ctsr.inference.progress import SlicesBar, say
from ctsr.inference.regions_of_interest import Region, lung_regions
from ctsr.inference.results import Results, check_results, check_space, write_json
from ctsr.inference.slice_work import BESIDE, SliceWork
from ctsr.inference.source import Source, read_source
from ctsr.methods import described
from ctsr.records.scan_settings import ScanSettings
from ctsr.versions import versions
from ctsr.writable import check_writable

BLOCK = 64  # pixels: side of the blocks that are enlarged or interpolated with region=lung and tile=auto
# Settings of which no voxel depends, or that are told as what they come to.
NO_VOXEL = {"overwrite", "level", "device", "roi", "slices", "box_mm"}
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
    given = None if settings.kernel in (ESTIMATE, OFF) else softening_from(Path(settings.kernel)).to_plain()
    if scan_path != input_path:
        say(console, f"input={input_path}: the scan in it is {scan_path}")
        input_path = scan_path
    with partial_result(output, anew=settings.overwrite) as partial:
        source = read_source(input_path, settings, model.card, MappedFiles(partial.folder))
        for text in source.doubts:
            warn(text)
        volume = source.volume
        steps = plan(volume.shape, volume.affine, model.card.pixel, settings.spacing_tolerance, settings.grid)
        for line in (described(model.card.name), str(source.beside), _summary(steps, model)):
            say(console, line)
        engine = Engine(model.GS, device, settings.precision, settings.tile, lambda line: say(console, line))
        batch = engine.batch(steps.network_shape) if settings.batch == "auto" else settings.batch
        chosen = {"tile": engine.tile, "batch": batch, "kernel": source.kernel.to_plain()}
        fixed = dict(partial.go_on(_same_run(model, source, settings, device) | {"kernel_file": given}, chosen))
        engine.tile, kernel = fixed["tile"], {"named": source.kernel_named, **fixed["kernel"]}
        softening = Softening.of(kernel["frequency_per_mm"], kernel["gain"]) if kernel["applied"] else None
        say(console, _in_a_line(kernel))
        check_space(output, steps, partial.size)
        grid, greys = (steps.output_shape, steps.output_affine), _greys(model, settings)
        with nifti_stream(output, partial.folder, *grid, source.orientation, settings.level) as stream:
            work = SliceWork(
                volume=volume,
                lung=source.lung,
                steps=steps,
                engine=engine,
                stream=stream,
                clinical=model.card.window("clinical"),
                greys=greys,
                to_clinical=model.card.to_clinical,
                padding=_padding(volume, greys, settings),
                lung_only=settings.region == "lung",
                block=BLOCK if settings.tile == "auto" else settings.tile,
                softening=softening,
                note=partial.note,
            )
            regions = lung_regions(volume, source.lung, work.clinical)
            middle = regions[len(regions) // 2]
            error = None if settings.precision == "32" else _precision_error(model, work, middle)
            if error is not None:
                say(console, f"precision={settings.precision}: {_in_words(error)} slice {source.first[0] + middle.z}")
            network_seconds = _enlarge(work, partial, fixed, console)
            shown = Views(volume, source.first, steps, stream, work.clinical, greys)
            given_hu = work.filtered if softening is not None else None
            views = [shown.view(region, work.difference(region.z), given_hu) for region in regions]
            picture, record = partial.folder / "picture.png", partial.folder / "record.json"
            title = f"{output.name}: {NOTICE}\n{_in_a_line(kernel)}"
            write_picture(views, shown.reformats(middle), picture, title, softening)
            stream.finish()
            figures = work.consistency.figures()
            say(console, f"|f(SR) - scan|: {told(figures) or 'nothing was computed'}")
            before = None if softening is None else work.to_scan.figures()
            if before is not None:
                say(console, f"|f(SR) - scan before the filter|: {told(before) or 'nothing was computed'}")
            facts = {
                "notice": NOTICE,
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "input": source.to_plain(),
                "output": {"path": str(results.volume), "picture": str(results.picture)},
                "warnings": source.doubts,
                "consistency": {
                    "what": "|f(SR) - y| inside the field of view, y as the network saw it",
                    **figures,
                },
                "consistency_before_filter": before,
                "kernel": kernel,
                "sampling": source.beside.to_plain(),
                "settings": settings.model_dump(mode="json", include=set(ScanSettings.model_fields)),
                "engine": {"tile": fixed["tile"], "batch": fixed["batch"], "precision_error": error},
                "geometry": _geometry(steps, source),
                "checkpoint": {"path": str(model.path), "sha256": model.sha256, "ctsr": brief(model.card)},
                "versions": versions(),
                "seconds": round(time.monotonic() - started, 1),
                "network_seconds": round(network_seconds, 1),
            }
            write_json(facts, record)
        picture.replace(results.picture)
        record.replace(results.record)
    return results


def _enlarge(work: SliceWork, partial: PartialResult, fixed: dict[str, Any], console: Console) -> float:
    """All slices that are not done yet; and the seconds that the network took."""
    partial.retain(work.keep)
    order = work.stream.order
    todo = [z for z in order if z not in partial.done]
    if partial.done:
        there = f"{len(partial.done)} of {len(order)} slices"
        say(console, f"{there} are there from an earlier run: going on with the others")
    size = fixed["batch"]
    batches = [todo[start : start + size] for start in range(0, len(todo), size)]
    costs = {z: work.cost(z) for z in todo}
    network, estimated = 0.0, len(batches) < 2
    with (
        SlicesBar(len(todo), sum(costs.values()), console) as bar,
        closing(overlapped(batches, work.prepare, work.compute, work.finish)) as made,
    ):
        for numbers, seconds in made:
            network += seconds
            cost = sum(costs[z] for z in numbers)
            if not estimated and cost > 2 * BESIDE * len(numbers):  # else the network had nothing to do
                estimated = True
                say(console, _cost(work.steps, seconds / cost * sum(costs.values())))
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


def _in_a_line(kernel: Mapping[str, Any]) -> str:
    """What was done about the scan's kernel, and why."""
    named = "" if kernel["named"] is None else f" (the file names its kernel {kernel['named']})"
    return f"{kernel['said']}{named}"


def _same_run(model: SRModel, source: Source, settings: ScanSettings, device: torch.device) -> dict[str, Any]:
    """What makes two runs one: all that a voxel depends on."""
    typed = settings.model_dump(mode="json", include=set(ScanSettings.model_fields) - NO_VOXEL)
    here = {"part": None if source.part is None else list(source.part), "device": device.type}
    made_by = {name: versions()[name] for name in ("ctsr", "torch")}
    return {"scan": source.sha256, "checkpoint": model.sha256, **typed, **here, **made_by}


def _precision_error(model: SRModel, work: SliceWork, region: Region) -> dict[str, float]:
    """What a coarser precision changes beside float32 in a region of the scan, in greys of the result."""
    rows, columns = slice(region.y, region.y + region.size), slice(region.x, region.x + region.size)
    lr = torch.from_numpy(work.seen_by_network(region.z)[None, rows, columns].copy())
    exact = Engine(model.GS, work.engine.device).enlarge(lr)
    apart = (work.engine.enlarge(lr) - exact).abs() * (work.greys.high - work.greys.low) / 2
    return {"mean": float(apart.mean()), "largest": float(apart.max())}


def _in_words(error: dict[str, float]) -> str:
    return f"{error['mean']:.2g} on average, {error['largest']:.2g} at most from the greys of float32, in a region of"


def _cost(steps: Plan, seconds: float) -> str:
    """One line: what the whole amounts to, after the first slice."""
    voxels = int(np.prod(steps.output_shape))
    left = timedelta(seconds=round(seconds))
    return f"{voxels / 1e9:.3g} billion voxels, {2 * voxels / 1e9:.3g} GB before compression, about {left} by the first"


def _greys(model: SRModel, settings: ScanSettings) -> Window:
    """Those that -1 and 1 stand for in the result."""
    return model.card.hu if settings.units == "hu" else model.card.window("micro")


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


def _geometry(steps: Plan, source: Source) -> dict[str, Any]:
    return {
        "axes": "canonical: slices, rows, columns; millimetres",
        "orientation": asdict(source.orientation),
        "part": source.part,
        "input_shape": steps.shape,
        "input_spacing": steps.spacing,
        "network_spacing": steps.network_plane,
        "output_shape": steps.output_shape,
        "output_spacing": [steps.spacing[0], *steps.output_plane],
    }
