"""`python -m ctsr.phantom FOLDER`: write the phantom's data set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ctsr.errors import UserError
from ctsr.phantom.cases import PhantomSettings, generate


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m ctsr.phantom", description="Write the phantom's data set.")
    parser.add_argument("folder", type=Path, help="folder to write")
    parser.add_argument("--tiny", action="store_true", help="the small set that the tests use")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other lungs")
    arguments = parser.parse_args()
    settings = PhantomSettings.tiny(arguments.seed) if arguments.tiny else PhantomSettings(seed=arguments.seed)
    try:
        generate(arguments.folder, settings)
    except UserError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
