"""CPU seconds until a program has said what it has to say, beside Hydra alone: `python -m benchmarks.start`.

Help, a printed configuration and mistakes need no network and no scan. The peer composes the same configuration with
Hydra and does nothing else.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.rounds import table

ROOT = Path(__file__).resolve().parents[1]
PEER = "Hydra alone"
COMPOSE = f"""
from hydra import compose, initialize_config_dir
with initialize_config_dir({str(ROOT / "conf")!r}, version_base="1.3"):
    compose("train", ["stage=all"])
"""
COMMANDS: dict[str, Sequence[str]] = {
    PEER: ("-c", COMPOSE),
    "train.py --help": (str(ROOT / "train.py"), "--help"),
    "train.py --cfg job": (str(ROOT / "train.py"), "stage=all", "--cfg", "job"),
    "train.py, a misspelled key": (str(ROOT / "train.py"), "stage=synth", "loss.lamda1=1"),
    "train.py, a wrong value": (str(ROOT / "train.py"), "stage=synth", "loss.lambda1=-1"),
    "infer.py --help": (str(ROOT / "infer.py"), "--help"),
    "infer.py, a wrong value": (str(ROOT / "infer.py"), "ckpt=a", "input=a", "output=a.nii", "region=lungs"),
    "ctsr.data.inspect --help": ("-m", "ctsr.data.inspect", "--help"),
}


def cpu_seconds(arguments: Sequence[str], folder: Path) -> float:
    """User and system time of a command of its own, with everything that it starts."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table: the median over rounds in which all commands take a turn."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args(argv).rounds
    spent: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, arguments in COMMANDS.items():
                spent[name].append(cpu_seconds(arguments, Path(folder)))
    peer = median(spent[PEER])
    rows = [[name, f"{median(found):.2f}", f"{median(found) / peer:.2f}"] for name, found in spent.items()]
    print(table(["command", "CPU s", f"x {PEER}"], rows))


if __name__ == "__main__":
    main()
