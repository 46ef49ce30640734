"""Adds what the training's clinical scans show of their kernel to a checkpoint that was trained before cards told it.

`python -m ctsr.training.add_kernel FILE SCANS` writes the card anew; the weights stay as they are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from ctsr.checkpoint import CARD, read_checkpoint
from ctsr.cli import run_cli
from ctsr.data.finding.cases import find_cases
from ctsr.data.preparing.settings import ClinicalSettings
from ctsr.data.preparing.store import PreparedCase, prepare_all
from ctsr.errors import UserError
from ctsr.files import replacing
from ctsr.imaging.kernel.measured import Measured
from ctsr.records.card import ModelCard


def add_kernel(checkpoint: Path, scans: Path, cache: Path) -> Measured:
    """Measure the scans that a checkpoint was trained on, and write that into its card.

    Args:
        checkpoint: It.
        scans: Folder with the training's clinical scans; others in it are passed over.
        cache: Of prepared cases.

    Raises:
        UserError: The checkpoint or a scan cannot be read, or a scan of the training is missing.
    """
    read = read_checkpoint(checkpoint)
    card = read.card
    trained = card.cases.get("clinical", {}).get("train", [])
    cases = [case for case in find_cases(scans, "clinical") if case.name in trained]
    if missing := set(trained) - {case.name for case in cases}:
        raise UserError(f"{scans} lacks {', '.join(sorted(missing))}, which {checkpoint} was trained on: add it")
    settings = ClinicalSettings(spacing=card.pixel[0], window=card.preparation.window)
    shown = Measured()
    for case in prepare_all(cases, settings, cache, key="cache"):
        shown = shown + _shown(case, card)
    content = read.release()
    content[CARD]["kernel"] = shown.to_plain()
    with replacing(checkpoint) as partial:
        torch.save(content, partial)
    return shown


def _shown(case: PreparedCase, card: ModelCard) -> Measured:
    facts = case.facts
    if not {facts.content, facts.voxels} & card.trained_on.keys():
        raise UserError(f"{facts.source} is not the {case.name} that the checkpoint was trained on: give its own scans")
    return facts.kernel or Measured()


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m ctsr.training.add_kernel", description=__doc__)
    parser.add_argument("file", type=Path, help="a .ckpt file that train.py wrote")
    parser.add_argument("scans", type=Path, help="folder with the clinical scans that it was trained on")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="folder of prepared cases")
    asked = parser.parse_args(arguments)
    shown = add_kernel(asked.file, asked.scans, asked.cache)
    print(f"{asked.file}: its card tells what {shown.slices} slices show of the kernel")


if __name__ == "__main__":
    sys.exit(run_cli(main))
