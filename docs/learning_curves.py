"""What each epoch of the study's trainings does on pairs: the table and the picture of docs/results.md.

Run it as `python docs/learning_curves.py OUT PAIRS RUN ...` with run folders of `make study`, whose trainings keep all
epochs; it writes OUT.csv and OUT.png, and does not ask again what OUT.csv holds. The pairs are to be those of the
training seed, not those for testing. Time is that of a training alone on a core: each epoch's steps, as fast as its
fastest tenth went in any run of the method (`<method>_<seed>`), for other work goes on beside a study.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from matplotlib.figure import Figure

from ctsr.checkpoint import read_checkpoint
from ctsr.data.pairs import Pair, find_pairs, load_pair
from ctsr.evaluation.questions.competitors import Interpolation, TrainedNetwork
from ctsr.evaluation.questions.protocols import questions_on
from ctsr.evaluation.questions.test_set import TestSet
from ctsr.evaluation.questions.tiles import Cut
from ctsr.evaluation.reporting.statistics import per_case
from ctsr.evaluation.scoring.compare import compare
from ctsr.files import replacing

MEASURES = {"ssim": "SSIM", "grad_corr": "gradient correlation"}
BASE = "bicubic_mapped"
HEAD = ("run", "method", "seed", "epoch", "minutes", *MEASURES)
FAST = 0.9  # quantile of the patches a second, with nothing else beside

Line = dict[str, str]


def speeds(folder: Path) -> dict[int, float]:
    """Steps a minute in each epoch of a stage where nothing slowed them; a warm-up, without DS, is faster."""
    rates: dict[int, list[float]] = {}
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["patches_per_s"]:
                rates.setdefault(int(row["epoch"]), []).append(float(row["patches_per_s"]))
    batch = int(re.search(r"global_batch_size: (\d+)", (folder / "config.yaml").read_text(encoding="utf-8"))[1])  # type: ignore[index]
    return {epoch: 60 * float(np.quantile(of, FAST)) / batch for epoch, of in rates.items()}


def stage_minutes(folders: list[Path], epoch: int, steps: int) -> float:
    """Time of a stage up to the end of an epoch, which is so many steps."""
    of_runs = [speeds(folder) for folder in folders]
    return sum(steps / epoch / max(run[past] for run in of_runs) for past in range(1, epoch + 1))


def minutes(run: Path, runs: list[Path], epoch: int, steps: int) -> float:
    """Time of a run's last stage up to an epoch, and of all of stage synth where it began with that."""
    method = run.name.rpartition("_")[0]
    same = [one for one in runs if one.name.rpartition("_")[0] == method]
    spent = stage_minutes(same, epoch, steps)
    if (before := run / "synth").is_dir():
        all_steps = read_checkpoint(before / "checkpoints" / "last.ckpt").card.batches
        spent += stage_minutes([one / "synth" for one in same], max(speeds(before)), all_steps or 0)
    return spent


def epochs(run: Path) -> Iterator[tuple[int, Path]]:
    """The epochs that a run has kept."""
    for file in (run / "checkpoints").glob("best-*-epoch=*.ckpt"):
        yield int(file.stem.rpartition("=")[2]), file


def asked(run: Path, runs: list[Path], pairs: list[Pair], done: list[Line]) -> Iterator[Line]:
    """A line for each epoch that is not among those that are done; and for interpolation, once."""
    known = {(line["run"], line["epoch"]) for line in done}
    for epoch, file in sorted(epochs(run)):
        if (run.name, str(epoch)) in known:
            continue
        network = TrainedNetwork.of_checkpoint(checkpoint := read_checkpoint(file))
        spent = minutes(run, runs, epoch, checkpoint.card.batches or 0)
        questions = questions_on(TestSet(pairs=pairs), [network], Cut(slices=1), Interpolation(few=True))
        rows = compare(next(one for one in questions if one.name == "paired"), network.window, full=False).rows
        values = per_case(rows)
        lines = [{"run": run.name, "method": network.name, "seed": str(network.seed), "epoch": str(epoch)}]
        lines[0]["minutes"] = f"{spent:.2f}"
        if not any(line["run"] == BASE for line in done):
            lines.append({"run": BASE, "method": BASE})
        for line in lines:
            scores = {
                measure: f"{fmean(values['paired', line['method'], measure].values()):.5f}" for measure in MEASURES
            }
            done.append(dict.fromkeys(HEAD, "") | line | scores)
            yield done[-1]


def write(lines: list[Line], path: Path) -> None:
    """Write the table."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEAD, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def draw(lines: list[Line], path: Path) -> None:
    """Draw each measure over time: a colour a method, a line a seed."""
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    methods = list(dict.fromkeys(line["method"] for line in lines if line["method"] != BASE))
    for axis, (measure, title) in zip(figure.subplots(1, len(MEASURES)), MEASURES.items(), strict=True):
        for line in lines:
            if line["method"] == BASE:
                axis.axhline(float(line[measure]), color="0.4", linestyle=":", label=BASE)
        for run in dict.fromkeys(line["run"] for line in lines if line["method"] != BASE):
            of = sorted((one for one in lines if one["run"] == run), key=lambda one: int(one["epoch"]))
            method = of[0]["method"]
            first = run == next(one["run"] for one in lines if one["method"] == method)
            places = [float(one["minutes"]) for one in of], [float(one[measure]) for one in of]
            axis.plot(*places, f"C{methods.index(method) % 10}", marker=".", label=method if first else None)
        axis.set_xlabel("minutes of one core")
        axis.set_title(title)
        axis.grid(alpha=0.3)
    axis.legend(fontsize=8, bbox_to_anchor=(1.02, 1), loc="upper left")
    with replacing(path) as partial:
        figure.savefig(partial, dpi=100)


def main(out: Path, pairs: Path, runs: list[Path]) -> None:
    """Ask all epochs that are new, and draw them all."""
    torch.set_num_threads(1)
    table = out.with_suffix(".csv")
    lines: list[Line] = []
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
    loaded = [load_pair(folder) for folder in find_pairs(pairs)]
    for run in runs:
        for line in asked(run, runs, loaded, lines):
            print(", ".join(line[key] for key in HEAD), flush=True)
            write(lines, table)
    draw(lines, out.with_suffix(".png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(run) for run in sys.argv[3:]])
