"""`python -m ctsr.phantom FOLDER`: write the phantom's data set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ctsr.cli import run_cli
from ctsr.records.phantom import PhantomSettings
from ctsr.writable import check_writable

KINDS = {
    "clinical": "clinical scans",
    "micro": "µCT scans, of other lungs",
    "paired": "lungs seen by both scanners",
    "empty": "such lungs without vessels and airways",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m ctsr.phantom", description="Write the phantom's data set.")
    parser.add_argument("folder", type=Path, help="folder to write")
    parser.add_argument("--tiny", action="store_true", help="the small set that the tests use")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other lungs")
    for kind, what in KINDS.items():
        parser.add_argument(f"--{kind}", type=int, metavar="N", help=what)
    arguments = parser.parse_args(argv)
    from ctsr.phantom.cases import generate  # here: help does not wait for what makes tissue

    settings = PhantomSettings.tiny() if arguments.tiny else PhantomSettings()
    typed = {f"{kind}_cases": count for kind in KINDS if (count := getattr(arguments, kind)) is not None}
    check_writable("folder", arguments.folder.absolute().parent, named=arguments.folder)
    generate(arguments.folder, settings.changed(seed=arguments.seed, **typed))


if __name__ == "__main__":
    sys.exit(run_cli(main))
