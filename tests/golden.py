"""Do two trees of this project train, write and measure the same? `python -m tests.golden OLD NEW`.

OLD and NEW are folders with a checkout, or commits of this repository. Each tree does the same seeded smoke runs, in
processes and a folder of its own, side by side; then everything they left is compared: tensors of checkpoints and of
prepared cases bit for bit, voxels and geometry of volumes, rows of tables, values of summaries and records. Only what
tells the time or the commit may differ. What a commit left is kept in `outputs/golden/` and not made again.

The exit code is 0 where all is equal, 1 where something differs, 2 where a run failed.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
KEPT = REPOSITORY / "outputs/golden"
STOPPED = 75  # train.py's exit code after a signal
MOST_TOLD = 5  # differences of one file
SOURCE, PLACE = "source.txt", "place.txt"  # where ctsr came from; the folder that results were made in
TIMES_AND_COMMITS = {"versions", "seconds", "network_seconds", "patches_per_s", "sha256", "date"}
DIGEST = "weights_sha256"  # of weights that are compared themselves; former commits wrote none

SMOKE = ("experiment=smoke", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false")
LAST = "runs/{}/checkpoints/last.ckpt"
SHIPPED = "docs/results/phantom.ckpt"


class Failed(Exception):  # noqa: N818 - of a run, not of this program
    """A run ended as it should not; the message says which, and where its output is."""


@dataclass(frozen=True)
class Step:
    """A command, as it is typed in the folder of a tree's results.

    Attributes:
        name: Of its run folder and its log.
        program: A file of the tree, or "-m" and a module.
        arguments: With {tree} for the tree's folder.
        stopped: Send SIGTERM as soon as there is a checkpoint.
    """

    name: str
    program: tuple[str, ...]
    arguments: tuple[str, ...]
    stopped: bool = False


def training(name: str, *arguments: str, stopped: bool = False, folder: str | None = None) -> Step:
    """A smoke run of `train.py` into `runs/<folder>`."""
    typed = (*arguments, *SMOKE, f"hydra.run.dir=runs/{folder or name}")
    return Step(name, ("{tree}/train.py",), typed, stopped)


TO_STOP = ("stage=synth", "method=scanner", "data.patches_per_case=200", "checkpoint.every_n_batches=1", "resume=auto")
STEPS = (
    training("synth", "stage=synth"),
    training("sr", "stage=sr", f"synth_ckpt={LAST.format('synth')}"),
    training("all", "stage=all"),
    training("scanner", "stage=all", "method=scanner"),
    training("sr_cyclegan", "method=sr_cyclegan"),
    training("fx", "method=fx"),
    training("quantiles", "method=quantiles"),
    training("l2", "method=l2", f"synth_ckpt={LAST.format('scanner/synth')}"),
    Step(
        "other",
        ("-m", "ctsr.phantom"),
        (
            "phantom-data/other",
            *["--tiny", "--seed", "9", "--paired", "2", "--empty", "1", "--clinical", "1", "--micro", "1"],
        ),
    ),
    training("ceiling", "method=ceiling", "sr.pairs=phantom-data/other/paired", "data.split.val=0.5"),
    training("stopped", *TO_STOP, stopped=True),
    training("resumed", *TO_STOP, folder="stopped"),
    Step(
        "scan",
        ("{tree}/infer.py",),
        ("ckpt=phantom.ckpt", "input=phantom-data/tiny/paired/lung_100/clinical.nii.gz", "output=scans/whole.nii.gz"),
    ),
    Step(
        "lung",
        ("{tree}/infer.py",),
        (
            *("ckpt=phantom.ckpt", "input=phantom-data/tiny/clinical/lung_000.nii.gz", "output=scans/lung.nii.gz"),
            *("region=lung", "roi=[2,4,0,128,0,128]"),
        ),
    ),
    Step(
        "model",
        ("{tree}/infer.py",),
        ("ckpt=phantom.ckpt", "input=coarse.nii.gz", "output=scans/model.nii.gz", "grid=model", "units=micro"),
    ),
    Step(
        "evaluate",
        ("{tree}/infer.py",),
        (
            *("task=evaluate", f"ckpt=[{LAST.format('scanner')},{LAST.format('fx')}]", "data=phantom-data/other"),
            *("output=report", "cover=0.3", "tile_micro=128", "workers=1"),
        ),
    ),
)


def run_steps(tree: Path, work: Path, steps: Sequence[Step] = STEPS) -> str:
    """Do the steps with a tree's programs.

    Args:
        tree: Its folder.
        work: An empty folder for what they leave.
        steps: In order.

    Returns:
        The file that `ctsr` came from.

    Raises:
        Failed: A step ended with another code than it should, or `ctsr` came from elsewhere.
    """
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    (work / "logs").mkdir(parents=True)
    asked = [sys.executable, "-c", "import ctsr; print(ctsr.__file__)"]
    source = subprocess.run(asked, cwd=work, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(source).is_relative_to(tree):
        raise Failed(f"ctsr of {tree} comes from {source}")
    for step in steps:
        _prepare_inputs(tree, work)
        typed = [part.format(tree=tree) for part in (*step.program, *step.arguments)]
        with (work / f"logs/{step.name}.txt").open("w") as log:
            running = subprocess.Popen(
                [sys.executable, *typed], cwd=work, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
            if step.stopped:
                _stop(running, work / LAST.format(step.name))
            code = running.wait()
        if code != (STOPPED if step.stopped else 0):
            raise Failed(f"{step.name} of {tree} ended with {code}, see {log.name}")
    return source


def _stop(running: subprocess.Popen[bytes], checkpoint: Path) -> None:
    while running.poll() is None:
        if checkpoint.is_file():
            running.send_signal(signal.SIGTERM)
            return
        time.sleep(0.02)


def _prepare_inputs(tree: Path, work: Path) -> None:
    """Fetch the checkpoint that comes with the sources; write a scan of larger pixels than it was trained on."""
    if not (work / "phantom.ckpt").is_file() and (tree / SHIPPED).is_file():
        shutil.copyfile(tree / SHIPPED, work / "phantom.ckpt")
    scan, coarse = work / "phantom-data/tiny/paired/lung_100/clinical.nii.gz", work / "coarse.nii.gz"
    if scan.is_file() and not coarse.is_file():
        image = nibabel.load(scan)
        nibabel.save(nibabel.Nifti1Image(image.dataobj[:], image.affine @ np.diag([1.3, 1.3, 1, 1])), coarse)


# --- what two runs left, compared


def compare(old: Path, new: Path) -> tuple[Counter[str], list[str]]:
    """Compare what two trees left in their folders.

    Returns:
        How many tensors, voxels, rows and values are equal; and a line for each difference.
    """
    equal: Counter[str] = Counter()
    different: list[str] = []
    files = [
        {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and _reader(path)}
        for folder in (old, new)
    ]
    for name in sorted(files[0] ^ files[1]):
        different.append(f"{name}: only in {'OLD' if name in files[0] else 'NEW'}")
    for name in sorted(files[0] & files[1]):
        one, other = (dict(_leaves(_reader(folder / name)(folder / name), _place(folder))) for folder in (old, new))
        alone = sorted(one.keys() ^ other.keys())
        found = [f"{name}: {leaf}: only in {'OLD' if leaf in one else 'NEW'}" for leaf in alone]
        for leaf in one.keys() & other.keys():
            if _same(one[leaf], other[leaf]):
                equal[_kind(name, one[leaf])] += _count(name, one[leaf])
            else:
                found.append(f"{name}: {leaf}: {_told(one[leaf])} in OLD, {_told(other[leaf])} in NEW")
        different += sorted(found)[:MOST_TOLD]
        if len(found) > MOST_TOLD:
            different.append(f"{name}: ... and {len(found) - MOST_TOLD} more")
    return equal, different


def _reader(path: Path) -> Any:
    if any(part.startswith(".") for part in path.parts[-3:]) or path.name == "hashes.json":
        return None  # Hydra's, locks, and what is remembered of files by their times
    return {".ckpt": _checkpoint, ".gz": _volume, ".npy": _array, ".csv": _rows, ".json": _json, ".yaml": _yaml}.get(
        path.suffix
    )


def _place(folder: Path) -> str:
    """The folder that results were made in, which some of them name."""
    return (folder / PLACE).read_text() if (folder / PLACE).is_file() else str(folder)


def _checkpoint(path: Path) -> Any:
    content = torch.load(path, map_location="cpu", weights_only=True)
    content["ctsr"]["config"] = yaml.safe_load(content["ctsr"]["config"])
    return content


def _volume(path: Path) -> Any:
    image = nibabel.load(path)
    return {"voxels": np.asarray(image.dataobj), "affine": image.affine, "type": str(image.get_data_dtype())}


def _array(path: Path) -> Any:
    return {"array": np.load(path)}


def _rows(path: Path) -> Any:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if path.name == "metrics.csv" and rows and rows[0]["epoch"] == "0":  # as former commits counted
        rows = [row | {"epoch": str(int(row["epoch"]) + 1)} for row in rows]
    return [{name: value for name, value in row.items() if name not in TIMES_AND_COMMITS} for row in rows]


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def _leaves(value: Any, folder: str, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of everything below, but for times and commits; the folder's own name is left out."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else None
    if below is None:
        yield path, value.replace(folder, "") if isinstance(value, str) else value
        return
    if isinstance(value, list) and value and isinstance(value[0], dict) and not path:  # rows of a table
        yield from ((f"row {number + 1}", json.dumps(row).replace(folder, "")) for number, row in enumerate(value))
        return
    for key, inner in below:
        if key not in TIMES_AND_COMMITS and key != DIGEST:
            name = str(key).replace(folder, "")
            yield from _leaves(inner, folder, f"{path}.{name}" if path else name)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and _bytes(one.numpy()) == _bytes(other.numpy())
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and _bytes(one) == _bytes(other)
    return type(one) is type(other) and (one == other or (one != one and other != other))


def _bytes(array: Any) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def _kind(name: str, value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return "tensors"
    if isinstance(value, np.ndarray):
        return "voxels"
    return "rows" if name.endswith(".csv") else "values"


def _count(name: str, value: Any) -> int:
    return int(value.size) if isinstance(value, np.ndarray) else 1


def _told(value: Any) -> str:
    if isinstance(value, torch.Tensor | np.ndarray):
        digest = hashlib.sha256(_bytes(np.asarray(value))).hexdigest()[:8]
        return f"{tuple(value.shape)} {value.dtype} {digest}"
    return str(value)[:200]


# --- trees


@dataclass(frozen=True)
class Tree:
    """A side of the comparison.

    Attributes:
        name: As given.
        commit: Whose files it has, unchanged; None: they are changed.
    """

    name: str
    commit: str | None

    @staticmethod
    def of(name: str) -> Tree:
        """A folder, or a commit.

        Raises:
            Failed: It is neither.
        """
        folder = Path(name)
        if folder.is_dir():
            whole = _git("rev-parse", "--show-toplevel", folder=folder) == str(
                folder.resolve()
            )  # git says "" of no checkout
            clean = whole and _git("status", "--porcelain", folder=folder) == ""
            return Tree(name, _git("rev-parse", "HEAD", folder=folder) if clean else None)
        commit = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        if not commit:
            raise Failed(f"{name} is neither a folder nor a commit")
        return Tree(name, commit)

    def results(self, scratch: Path, side: str) -> tuple[Path, str]:
        """The folder of what the tree left, and where its `ctsr` came from; made, or found kept."""
        steps = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
        kept = None if self.commit is None else KEPT / f"{self.commit[:12]}-{steps}"
        if kept is not None and kept.is_dir():
            return kept, f"{(kept / SOURCE).read_text()}, results kept in {kept}"
        work = scratch / side
        source = run_steps(self._folder(scratch / f"{side}-tree"), work)
        (work / SOURCE).write_text(source)
        (work / PLACE).write_text(str(work))
        if kept is not None and not kept.is_dir():
            partial = kept.with_name(f".{kept.name}.{os.getpid()}.{side}")
            shutil.copytree(work, partial)
            with suppress(OSError):  # both sides are the same commit
                partial.rename(kept)
        return work, source

    def _folder(self, scratch: Path) -> Path:
        if Path(self.name).is_dir():
            return Path(self.name).resolve()
        packed = subprocess.run(
            ["git", "-C", str(REPOSITORY), "archive", str(self.commit)], capture_output=True, check=True
        )
        with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
            archive.extractall(scratch, filter="data")
        return scratch


def _git(*arguments: str, folder: Path = REPOSITORY) -> str:
    return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True).stdout.strip()


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=(__doc__ or "").partition("\n")[0])
    for side in ("OLD", "NEW"):
        parser.add_argument(side, help="a folder with a checkout, or a commit")
    asked = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="golden-"))
    started = time.monotonic()
    try:
        trees = {side: Tree.of(getattr(asked, side)) for side in ("OLD", "NEW")}
        with ThreadPoolExecutor(2) as pool:
            made = {side: pool.submit(tree.results, scratch, side.lower()) for side, tree in trees.items()}
            results = {side: future.result() for side, future in made.items()}
    except Failed as failure:
        print(f"failed: {failure}", file=sys.stderr)
        return 2
    for side, (_, source) in results.items():
        print(f"{side} {trees[side].name} ({trees[side].commit or 'changed'}): ctsr from {source}")
    equal, different = compare(results["OLD"][0], results["NEW"][0])
    for line in different:
        print(f"different: {line}")
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(equal.items()))
    print(f"equal: {told}; different: {len(different)}; {time.monotonic() - started:.0f} s")
    if different:
        return 1
    shutil.rmtree(scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
