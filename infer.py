"""Super-resolve a clinical CT: python infer.py ckpt=<checkpoint> input=<scan> output=<result>.nii.gz."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from ctsr.cli import run_cli
from ctsr.errors import UserError
from ctsr.inference.checkpoint import load_sr
from ctsr.inference.scan import Results, super_resolve_scan
from ctsr.inference.settings import ScanSettings

PATHS = ("ckpt", "input", "output")


def infer(cfg: DictConfig) -> Results:
    """Run one inference as the configuration says.

    Raises:
        UserError: If a path or a setting is missing or wrong.
    """
    options: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    paths = {key: options.pop(key) for key in PATHS}
    missing = [f"{key}=" for key, value in paths.items() if not value]
    if missing:
        raise UserError(
            f"{' '.join(missing)} missing: python infer.py ckpt=<checkpoint> input=<scan> output=<x>.nii.gz"
        )
    options["precision"] = str(options["precision"])
    settings = ScanSettings(**options)
    model = load_sr(paths["ckpt"])
    results = super_resolve_scan(model, Path(paths["input"]), Path(paths["output"]), settings)
    print(f"written: {results.volume}\nrecord:  {results.record}\npicture: {results.picture}")
    return results


def quoted(arguments: Sequence[str]) -> list[str]:
    """The command line with the values of path keys quoted, so that Hydra takes any real path as it is."""
    return [_quoted(argument) for argument in arguments]


def _quoted(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if key not in PATHS or not equals:
        return argument
    # Inside quotes Hydra gives a meaning to a quote, to ${, and to backslashes before these or at the end.
    escaped = re.sub(r"\\+(?='|\$\{|\Z)", lambda run: 2 * run[0], value).replace("'", "\\'").replace("${", "\\${")
    return f"{key}='{escaped}'"


@hydra.main(config_path="conf", config_name="infer", version_base=None)
def main(cfg: DictConfig) -> None:
    """Hydra's entry."""
    # Caught in here: Hydra would add lines of its own.
    sys.exit(run_cli(lambda: infer(cfg)))


if __name__ == "__main__":
    sys.argv[1:] = quoted(sys.argv[1:])
    sys.exit(run_cli(main))
