"""Super-resolve a clinical CT: python infer.py ckpt=<checkpoint> input=<scan> output=<result>.nii.gz."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from ctsr.cli import quoted, run_cli
from ctsr.errors import UserError
from ctsr.inference.checkpoint import load_sr
from ctsr.inference.scan import Results, super_resolve_scan
from ctsr.inference.settings import ScanSettings

PATHS = ("ckpt", "input", "output")
TERMINATED = 128 + signal.SIGTERM


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
    if options["series"] is not None:
        options["series"] = str(options["series"])  # a number
    settings = ScanSettings(**options)
    model = load_sr(paths["ckpt"])
    results = super_resolve_scan(model, Path(paths["input"]), Path(paths["output"]), settings)
    print(f"written: {results.volume}\nrecord:  {results.record}\npicture: {results.picture}")
    return results


@hydra.main(config_path="conf", config_name="infer", version_base=None)
def main(cfg: DictConfig) -> None:
    """Hydra's entry."""
    # Caught in here: Hydra would add lines of its own.
    sys.exit(run_cli(lambda: infer(cfg)))


if __name__ == "__main__":
    sys.argv[1:] = quoted(sys.argv[1:], PATHS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # partial files are removed on the way out
    sys.exit(run_cli(main))
