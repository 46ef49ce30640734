"""Super-resolve a clinical CT: python infer.py ckpt=<checkpoint> input=<scan> output=<result>.nii.gz.

Or compare trained networks: python infer.py task=evaluate ckpt=[<checkpoint>,...] data=<test cases> output=<folder>.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from ctsr.cli import quoted, run_cli
from ctsr.errors import UserError
from ctsr.inference.settings import ScanSettings
from ctsr.methods import described

# torch and what works with it take seconds to import: each function that needs them does it, so that help and mistakes
# do not wait for them.
if TYPE_CHECKING:
    import torch

    from ctsr.checkpoint import Checkpoint
    from ctsr.evaluation.contestants import Contestant

PATHS = ("ckpt", "input", "output", "data", "clinical", "cache")
TEXTS = ("series",)
SCAN_PATHS = ("ckpt", "input", "output")
EVALUATION = ("data", "clinical", "cache", "tile_micro", "cover", "slices", "workers", "reference", "wandb")
USED = ("GS", "G1", "GA", "GB")  # networks that are compared: all else of a checkpoint is let go
TERMINATED = 128 + signal.SIGTERM


def infer(cfg: DictConfig) -> None:
    """Do what `task` says.

    Raises:
        UserError: If a path or a setting is missing or wrong.
    """
    tasks = {"scan": enlarge, "evaluate": evaluate_all}
    options: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    task = options.pop("task")
    if task not in tasks:
        raise UserError(f"task={task}: give {' or '.join(tasks)}")
    tasks[task](options)


def enlarge(options: dict[str, Any]) -> None:
    """Super-resolve one scan."""
    paths = {key: options.pop(key) for key in SCAN_PATHS}
    missing = [f"{key}=" for key, value in paths.items() if not value]
    if missing:
        raise UserError(
            f"{' '.join(missing)} missing: python infer.py ckpt=<checkpoint> input=<scan> output=<x>.nii.gz"
        )
    options = {key: value for key, value in options.items() if key not in EVALUATION}
    options["precision"] = str(options["precision"])
    if options["series"] is not None:
        options["series"] = str(options["series"])  # a number
    settings = ScanSettings(**options)
    from ctsr.checkpoint import load_sr
    from ctsr.inference.scan import super_resolve_scan

    model = load_sr(paths["ckpt"])
    results = super_resolve_scan(model, Path(paths["input"]), Path(paths["output"]), settings)
    print(f"written: {results.volume}\nrecord:  {results.record}\npicture: {results.picture}")


def evaluate_all(options: dict[str, Any]) -> None:
    """Compare the networks of several checkpoints."""
    given = options["ckpt"]
    paths = [Path(path) for path in (given if isinstance(given, list) else [given]) if path]
    missing = [f"{key}=" for key in ("data", "output") if not options[key]] + ["ckpt="] * (not paths)
    if missing:
        raise UserError(
            f"{' '.join(missing)} missing: "
            "python infer.py task=evaluate ckpt=[<checkpoint>,...] data=<folder> output=<folder>"
        )
    folder = Path(options["output"])
    if (folder / "report.html").exists() and not options["overwrite"]:
        raise UserError(f"{folder} holds a report: choose another output=, or give overwrite=true")
    if not Path(options["data"]).is_dir():
        raise UserError(f"data={options['data']} is no folder: give one with micro/, paired/, empty/ or clinical/")
    from ctsr.checkpoint import check_comparable, read_checkpoint
    from ctsr.evaluation.evaluate import evaluate
    from ctsr.evaluation.samples import Cut
    from ctsr.evaluation.test_set import load_test_set
    from ctsr.inference.scan import find_device

    cut = Cut(options["tile_micro"], options["cover"], options["slices"])
    checkpoints = [read_checkpoint(path).only(*USED) for path in paths]
    check_comparable(checkpoints)
    clinical = None if options["clinical"] is None else Path(options["clinical"])
    device = find_device(options["device"])
    contestants = in_order([contestant(checkpoint, device) for checkpoint in checkpoints], options["reference"])
    for name in dict.fromkeys(one.name for one in contestants):
        print(described(name))
    test = load_test_set(Path(options["data"]), clinical, checkpoints[0].card, Path(options["cache"]))
    workers = options["workers"] if device.type == "cpu" else 1
    evaluation = evaluate(contestants, test, folder, cut, os.cpu_count() or 1 if workers == "auto" else workers)
    if options["wandb"]:
        from ctsr.training.loggers import log_evaluation  # Lightning: three seconds, for those who ask for it

        log_evaluation(evaluation.tables, evaluation.figures, options["wandb"], folder)
    print(f"written: {evaluation.report}, report.md, evaluation.csv and {len(evaluation.figures)} pictures")


def in_order(contestants: list[Contestant], reference: str | None) -> list[Contestant]:
    """The contestants, those of the method first that others are compared with.

    Raises:
        UserError: None is of that method.
    """
    names = list(dict.fromkeys(one.name for one in contestants))
    if reference is not None and reference not in names:
        raise UserError(f"reference={reference} is none of the methods of ckpt=: {', '.join(names)}")
    return sorted(contestants, key=lambda one: reference is not None and one.name != reference)


def contestant(checkpoint: Checkpoint, device: torch.device) -> Contestant:
    """A checkpoint's networks, ready to be compared."""
    from ctsr.evaluation.contestants import Contestant
    from ctsr.evaluation.synthesis import Synthesis

    model, card = checkpoint.model(), checkpoint.card
    synthesise = None
    if card.stage == "sr_cyclegan":
        synthesise = Synthesis(checkpoint.network("GB"), of_x=True)
    elif card.inputs != "pairs":
        synthesise = Synthesis(checkpoint.network("G1"))
    return Contestant(
        card.name,
        card.seed,
        model.GS.to(device),
        None if synthesise is None else synthesise.to(device),
        card.window("clinical"),
        card.grey_maps,
        card.trained_on,
        checkpoint.path,
        card.materials,
    )


@hydra.main(config_path="conf/infer", config_name="infer", version_base=None)
def main(cfg: DictConfig) -> None:
    """Hydra's entry."""
    # Caught in here: Hydra would add lines of its own.
    sys.exit(run_cli(lambda: infer(cfg)))


if __name__ == "__main__":
    sys.argv[1:] = quoted(sys.argv[1:], PATHS, texts=TEXTS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # partial files are removed on the way out
    sys.exit(run_cli(main))
