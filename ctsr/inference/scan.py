"""A whole scan through the network, slice by slice, from file to file."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, ProgressColumn, Task
from rich.text import Text
from scipy import ndimage

from ctsr.checkpoint import SRModel, brief
from ctsr.data.finding.beside_scans import is_record
from ctsr.data.finding.cases import the_scan
from ctsr.data.preparing.hashes import scan_hash
from ctsr.errors import UserError, warn
from ctsr.files import replacing, within
from ctsr.imaging.anatomy.lung import lung_mask
from ctsr.imaging.consistency import Consistency, told
from ctsr.imaging.formats.readers import files_of, read_volume
from ctsr.imaging.formats.recognise import files_in, is_nifti, stem, suffix
from ctsr.imaging.hounsfield import doubts_of_ct
from ctsr.imaging.intensity import Window
from ctsr.imaging.interpolation import bicubic
from ctsr.imaging.orientation import Orientation, canonical
from ctsr.imaging.padding import AIR_HU, find_padding, mark_padding, nearest_inside
from ctsr.imaging.volume import Image, Mask, Volume
from ctsr.inference.beside_training import BesideTraining, Sampling
from ctsr.inference.engine import check_tile, super_resolve_slice
from ctsr.inference.grid import Plan, crop, crop_mask, plan
from ctsr.inference.nifti_stream import nifti_stream
from ctsr.inference.part import Bounds, part_of
from ctsr.inference.picture import Views, write_picture
from ctsr.inference.regions_of_interest import lung_regions
from ctsr.methods import described
from ctsr.records.scan_settings import ScanSettings
from ctsr.versions import versions
from ctsr.writable import check_writable

NOTICE = (
    "Not for diagnosis. Walls, vessels, airways and nodules are sharpened; "
    "the fine texture of the parenchyma is not in the clinical image and is imitated."
)


@dataclass(frozen=True)
class Results:
    """The files a run writes.

    Attributes:
        volume: The super-resolved scan.
        record: Where it comes from.
        picture: Clinical, bicubic and the network's in a few regions.
    """

    volume: Path
    record: Path
    picture: Path

    @classmethod
    def beside(cls, output: Path) -> Results:
        """Names after the volume's: `scan.nii.gz` has `scan.json` and `scan.png`.

        Raises:
            UserError: If the volume's name is no NIfTI file's.
        """
        if not is_nifti(output):
            raise UserError(f"output={output} cannot be written: name it .nii.gz or .nii")
        return cls(output, output.with_name(f"{stem(output)}.json"), output.with_name(f"{stem(output)}.png"))


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
    """
    settings, console = settings or ScanSettings(), console or Console()
    started = time.monotonic()
    check_writable("output", output.parent, named=output)
    results = Results.beside(output)
    scan_path = the_scan(input_path, "input")
    _check_results(results, settings.overwrite, scan_path, model.path)
    device = find_device(settings.device)
    check_tile(model.GS, settings.tile)
    if scan_path != input_path:
        _say(console, f"input={input_path}: the scan in it is {scan_path}")
        input_path = scan_path
    as_read = read_volume(input_path, settings.file_spacing, series=settings.series)
    scan, orientation = canonical(as_read)
    part = part_of(scan.shape, scan.affine, settings)
    scan = mark_padding(scan, find_padding(scan.array))
    beside = BesideTraining(Sampling.of_scan(scan), Sampling.of_training(model.card))
    warnings = [f"{input_path}: {doubt}" for doubt in [*_not_ct(as_read, input_path, settings), *beside.doubts()]]
    for text in warnings:
        warn(text)
    volume, lung = crop(scan, part), crop_mask(_lung(scan, settings.region), part)
    steps = plan(volume.shape, volume.affine, model.card.pixel, settings.spacing_tolerance, settings.grid)
    for line in (described(model.card.name), str(beside), _summary(steps, model)):
        _say(console, line)
    _check_space(output, steps)
    clinical = model.card.window("clinical")
    greys = model.card.hu if settings.units == "hu" else model.card.window("micro")
    padding = _padding(volume, greys, settings)
    to_result = model.card.to_clinical.inverse()
    model.GS.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    consistency = Consistency(model.card.to_clinical, clinical)
    differences: dict[int, Image] = {}
    regions = lung_regions(volume, lung, clinical)
    with (
        nifti_stream(output, steps.output_shape, steps.output_affine, orientation, settings.level) as stream,
        closing(_progress(len(volume.array), console)) as slices,  # an error ends it, before it is told
    ):
        for z in slices:
            outside = np.zeros(volume.shape[1:], bool) if volume.outside is None else volume.outside[z]
            lr = clinical.normalise(steps.to_network(nearest_inside(volume.array[z].astype(np.float32), outside)))
            inside, seen = steps.coarse(lung[z]), ~steps.coarse(outside)
            where = _grown(inside) if settings.region == "lung" else None
            elsewhere = None if where is None else to_result.apply(_bicubic(lr))
            sr = super_resolve_slice(model.GS, lr, settings.tile, device, settings.precision, where, elsewhere)
            sr = np.clip(sr, -1.0, 1.0)
            stream[z] = _finished(sr, outside, steps, greys, padding)
            difference = consistency.difference(lr, sr)
            consistency.add(difference, inside, seen if where is None else inside & seen)
            if any(region.z == z for region in regions):
                differences[z] = difference
        first = (0, 0, 0) if part is None else part[::2]
        shown = Views(volume, first, steps, stream, clinical, greys)
        views = [shown.view(region, differences[region.z]) for region in regions]
        reformats = shown.reformats(regions[len(regions) // 2])
    write_picture(views, reformats, results.picture, f"{output.name}: {NOTICE}")
    figures = consistency.figures()
    _say(console, f"|f(SR) - scan|: {told(figures) or 'nothing was computed'}")
    scanned = {
        "path": str(input_path),
        "sha256": scan_hash(input_path),
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
        "geometry": _geometry(steps, orientation, part),
        "checkpoint": {"path": str(model.path), "sha256": model.sha256, "ctsr": brief(model.card)},
        "versions": versions(),
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json(record, results.record)
    return results


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


def _check_results(results: Results, overwrite: bool, scan: Path, checkpoint: Path) -> None:
    """Makes sure that results come neither over what they are made of nor among its files, and makes their folder."""
    files = [scan, *files_in(scan)] if scan.is_dir() else files_of(scan) if scan.exists() else []
    read = {**dict.fromkeys(files, "the scan that is read"), checkpoint: "the checkpoint that is read"}
    paths = (results.volume, results.record, results.picture)
    for path in paths:
        if (place := within(path, read)) is not None:
            beside = "" if path == results.volume else f": {path.name} beside it"
            is_it = "lies in" if place.is_dir() else "is"
            raise UserError(f"output={results.volume}{beside} {is_it} {read[place]}: give another output=")
    for path in paths:
        if path.is_dir():
            raise UserError(f"{path} is a folder: choose another output=")
        if os.path.lexists(path) and not overwrite:  # a link to nothing, too
            raise UserError(f"{path} exists: choose another output=, or give overwrite=true")
    if results.record.exists() and not is_record(results.record):  # such as a sidecar that came with the scan
        raise UserError(f"{results.record} is no record of a result: choose another output=")
    results.volume.parent.mkdir(parents=True, exist_ok=True)


def _check_space(output: Path, steps: Plan) -> None:
    # Uncompressed first, then compressed beside it.
    need = int(np.prod(steps.output_shape)) * 2 * (2 if suffix(output) == ".nii.gz" else 1)
    free = shutil.disk_usage(output.parent).free
    if need > free:
        raise UserError(
            f"{output.parent} has {free / 1e9:.1f} GB free, up to {need / 1e9:.1f} GB are needed: give a roi"
        )


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


def _finished(sr: Image, outside: Mask, steps: Plan, greys: Window, padding: float) -> Image:
    """One slice as it is written.

    Interpolation may overshoot [-1, 1]; greys are written as whole numbers, of which the window's ends need be none.
    """
    fine: Image = np.clip(greys.restore(steps.to_output(sr)), np.ceil(greys.low), np.floor(greys.high))
    if outside.any():
        fine[steps.fine(outside)] = padding
    return fine


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


def _progress(count: int, console: Console) -> Generator[int, None, None]:
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), _Speed(), console=console) as progress:
        yield from progress.track(range(count), description="super-resolving")


class _Speed(ProgressColumn):
    """Seconds per slice."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{1 / speed:.2f} s/slice" if speed else "")


def _lung(scan: Volume, region: str) -> Mask:
    """The lung of the whole scan, of which a part may be too small to tell; nothing where there is none.

    Raises:
        UserError: There is none, and it is what was asked for.
    """
    try:
        return lung_mask(scan)
    except UserError as error:
        if region == "lung":
            raise UserError(f"region=lung: {error}") from error
        return np.zeros(scan.array.shape, dtype=bool)


def _grown(inside: Mask) -> Mask:
    """The lung with the pixels that resampling and interpolation draw on."""
    grown: Mask = ndimage.binary_dilation(inside, iterations=4)
    return grown


def _bicubic(lr: Image) -> Image:
    fine: Image = bicubic(torch.from_numpy(lr)[None, None])[0, 0].numpy()
    return fine


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


def write_json(record: Mapping[str, Any], path: Path) -> None:
    """Write a record; it appears whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
