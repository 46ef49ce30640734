"""`python -m ctsr.phantom FOLDER`: write a phantom's data set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from ctsr.cli import run_cli
from ctsr.errors import UserError
from ctsr.records.phantom import PhantomSettings, ProjectionSettings, SetName
from ctsr.writable import check_writable

GAUSSIAN, PROJECTIONS = "gaussian", "projections"
COUNTS = {
    GAUSSIAN: {
        "clinical": "clinical scans",
        "micro": "µCT scans, of other lungs",
        "paired": "lungs seen by both scanners",
        "empty": "such lungs without vessels and airways",
    },
    PROJECTIONS: {"lungs": "lungs in bodies, each scanned in every kind of the set, and by µCT"},
}


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m ctsr.phantom", description="Write a phantom's data set.")
    parser.add_argument("folder", type=Path, help="folder to write")
    parser.add_argument(
        "--scanner",
        choices=COUNTS,
        default=GAUSSIAN,
        help="clinical scanner: a Gaussian point spread with noise, or projections of a body and their reconstruction",
    )
    parser.add_argument("--tiny", action="store_true", help="the small set that the tests use")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other lungs")
    for scanner, kinds in COUNTS.items():
        of = parser.add_argument_group(f"with --scanner {scanner}")
        for kind, what in kinds.items():
            of.add_argument(f"--{kind}", type=int, metavar="N", help=what)
    of.add_argument(
        "--set",
        choices=get_args(SetName),
        help="kinds and lungs for training, for choosing settings (the default), or for judging: never choose by these",
    )
    arguments = parser.parse_args(argv)
    from ctsr.phantom.cases import generate  # here: help does not wait for what makes tissue

    settings = _settings(arguments)
    check_writable("folder", arguments.folder.absolute().parent, named=arguments.folder)
    generate(arguments.folder, settings)


def _settings(arguments: argparse.Namespace) -> PhantomSettings | ProjectionSettings:
    """What was asked for."""
    typed: dict[str, Any] = {"seed": arguments.seed}
    names = {scanner: {kind: f"{kind}_cases" for kind in kinds} for scanner, kinds in COUNTS.items()}
    names[PROJECTIONS] = {"lungs": "lungs", "set": "set"}
    for scanner, options in names.items():
        for option, key in options.items():
            if (value := getattr(arguments, option)) is None:
                continue
            if scanner != arguments.scanner:
                raise UserError(f"--{option} is of --scanner {scanner}, not of {arguments.scanner}: leave one out")
            typed[key] = value
    kind = PhantomSettings if arguments.scanner == GAUSSIAN else ProjectionSettings
    return (kind.tiny() if arguments.tiny else kind()).changed(**typed)


if __name__ == "__main__":
    sys.exit(run_cli(main))
