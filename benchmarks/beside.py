"""A training beside another busy process: `python -m benchmarks.beside`.

Stage sr of experiment=demo trains some steps as `train.py` does it, alone and beside one busy core in turn. The peer is
the same training alone; a first training, which is not counted, prepares the data.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.rounds import table
from ctsr.cli import BRIEF_WAIT

ROOT = Path(__file__).resolve().parents[1]
BUSY = (sys.executable, "-c", "while True: pass")


def seconds(arguments: Sequence[str], folder: Path, busy: int, number: str) -> float:
    """Wall time of a training, from the program's start to its end."""
    others = [subprocess.Popen(BUSY) for _ in range(busy)]
    try:
        started = time.perf_counter()
        run = (*arguments, f"hydra.run.dir=outputs/beside/{number}")
        subprocess.run(
            [sys.executable, str(ROOT / "train.py"), *run], cwd=folder, stdout=subprocess.DEVNULL, check=True
        )
        return time.perf_counter() - started
    finally:
        for other in others:
            other.kill()
            other.wait()


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table: medians over pairs, and the ratio of each pair."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beside", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--busy", type=int, default=1, help="busy processes")
    parser.add_argument("--folder", type=Path, help="to work in, with prepared data; left out: one that is removed")
    asked = parser.parse_args(argv)
    training = (
        *("stage=sr", "experiment=demo", "method=fx", "sr.epochs=1", "evaluate=false"),
        *("panels.every=100", "trainer.accelerator=cpu", "trainer.limit_val_batches=0"),
        "trainer.enable_progress_bar=false",
    )
    steps = f"trainer.limit_train_batches={asked.steps}"
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        seconds((*training, "trainer.limit_train_batches=1"), folder, 0, "warm-up")
        found = [
            [seconds((*training, steps), folder, busy, f"{pair}-{busy}") for busy in (0, asked.busy)]
            for pair in range(asked.pairs)
        ]
    ratios = sorted(beside / alone for alone, beside in found)
    alone, beside = (median(column) for column in zip(*found, strict=True))
    rows = [["alone", f"{alone:.1f}", "1"], [f"beside {asked.busy} busy", f"{beside:.1f}", f"{median(ratios):.2f}"]]
    waits = {key: os.environ[key] for key in BRIEF_WAIT if key in os.environ} or BRIEF_WAIT
    print(table(["", "seconds", "ratio"], rows))
    print(f"ratios {ratios[0]:.2f} to {ratios[-1]:.2f}, {asked.steps} steps, {' '.join(map('='.join, waits.items()))}")


if __name__ == "__main__":
    main()
