"""Super-resolve a clinical CT: python infer.py ckpt=<checkpoint> input=<scan> output=<result>.nii.gz.

Or compare trained networks: python infer.py task=evaluate ckpt=[<checkpoint>,...] data=<test cases> output=<folder>.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from ctsr.arguments import AsTyped
from ctsr.cli import run_cli
from ctsr.errors import Stopped
from ctsr.methods import described

# torch and what works with it take seconds to import: each function that needs them does it, so that help and mistakes
# do not wait for them.
if TYPE_CHECKING:
    from ctsr.records.tasks import Comparison, Enlargement

AS_TYPED = AsTyped(
    paths=("ckpt", "input", "output", "data", "clinical", "cache", "kernel"),
    texts=("series",),
    names=("reference", "wandb", "device"),
)
USED = ("GS", "G1", "GA", "GB")  # networks that are compared: all else of a checkpoint is let go


def infer(cfg: DictConfig) -> None:
    """Do what `task` says.

    Raises:
        UserError: A path or a setting is missing or wrong, or something is wrong with the files.
    """
    from ctsr.records.tasks import Enlargement, read_task

    composed: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    task = read_task(composed)
    if isinstance(task, Enlargement):
        enlarge(task)
    else:
        compare(task)


def enlarge(task: Enlargement) -> None:
    """Super-resolve one scan."""
    from ctsr.checkpoint import load_sr
    from ctsr.inference.scan import super_resolve_scan

    try:
        results = super_resolve_scan(load_sr(task.ckpt), Path(task.input), Path(task.output), task)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.code)
    print(f"written: {results.volume}\nrecord:  {results.record}\npicture: {results.picture}")


def compare(task: Comparison) -> None:
    """Compare the networks of several checkpoints."""
    from ctsr.evaluation.reporting.report_folder import check_folders

    check_folders(task)
    data, folder = Path(task.data), Path(task.output)
    from ctsr.checkpoint import check_comparable, read_checkpoint
    from ctsr.evaluation.evaluate import evaluate
    from ctsr.evaluation.questions.competitors import TrainedNetwork, in_order
    from ctsr.evaluation.questions.test_set import load_test_set
    from ctsr.evaluation.questions.tiles import Cut
    from ctsr.inference.scan import find_device

    checkpoints = [read_checkpoint(path).only(*USED) for path in task.checkpoints]
    check_comparable(checkpoints)
    device = find_device(task.device)
    networks = in_order([TrainedNetwork.of_checkpoint(one, device) for one in checkpoints], task.reference)
    for name in dict.fromkeys(one.name for one in networks):
        print(described(name))
    clinical = None if task.clinical is None else Path(task.clinical)
    test = load_test_set(data, clinical, checkpoints[0].card, Path(task.cache), task.kernel)
    workers = (os.cpu_count() or 1 if task.workers == "auto" else task.workers) if device.type == "cpu" else 1
    cut = Cut(task.tile_micro, task.cover, task.slices_per_case)
    evaluation = evaluate(networks, test, folder, cut, workers)
    if task.wandb is not None:
        from ctsr.wandb_runs import log_report

        tables = {table.title: table.numbers() for table in evaluation.tables}
        log_report(tables, evaluation.figures, folder, project=task.wandb, job_type="evaluate")
    print(f"written: {evaluation.report}, report.md, evaluation.csv and {len(evaluation.figures)} pictures")


@hydra.main(config_path="conf/infer", config_name="infer", version_base=None)
def main(cfg: DictConfig) -> None:
    """Hydra's entry."""
    # Caught in here: Hydra would add lines of its own.
    sys.exit(run_cli(lambda: infer(cfg)))


if __name__ == "__main__":
    sys.argv[1:] = AS_TYPED.quoted(sys.argv[1:])
    sys.exit(run_cli(main))
