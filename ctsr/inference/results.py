"""The files of a result: their names, and whether they may be written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ctsr.data.finding.beside_scans import is_record
from ctsr.errors import UserError
from ctsr.files import replacing, within
from ctsr.imaging.formats.readers import files_of
from ctsr.imaging.formats.recognise import files_in, is_nifti, stem, suffix
from ctsr.inference.grid import Plan


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


def check_results(results: Results, overwrite: bool, scan: Path, checkpoint: Path) -> None:
    """Make sure that results come neither over what they are made of nor among its files, and make their folder.

    Raises:
        UserError: They would, or they are there and may not be replaced.
    """
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


def check_space(output: Path, steps: Plan, there: int) -> None:
    """Make sure that the disk holds the volume while it is written: uncompressed, then compressed beside it.

    Args:
        output: The volume.
        steps: Its grid.
        there: Bytes of it that an earlier run has left.

    Raises:
        UserError: It does not.
    """
    need = int(np.prod(steps.output_shape)) * 2 * (2 if suffix(output) == ".nii.gz" else 1) - there
    free = shutil.disk_usage(output.parent).free
    if need > free:
        raise UserError(
            f"{output.parent} has {free / 1e9:.1f} GB free, up to {need / 1e9:.1f} GB are needed: give a roi"
        )


def write_json(record: Mapping[str, Any], path: Path) -> None:
    """Write a record; it appears whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
