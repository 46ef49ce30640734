"""`python infer.py task=evaluate` as a user types it, on networks that are hardly trained."""

from __future__ import annotations

import csv
import html.parser
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from ctsr.phantom.cases import generate
from ctsr.records.phantom import PhantomSettings
from tests import wandb_file

Command = Callable[..., subprocess.CompletedProcess[str]]

TEST = "phantom-data/other-lungs"


@pytest.fixture(scope="module")
def checkpoints(smoke_run: Path, workplace: Path, command: Command) -> list[Path]:
    """Of the two stages, of the baseline, and of the ceiling."""
    runs = {
        "sr_cyclegan": ("method=sr_cyclegan",),
        "ceiling": ("method=ceiling", "sr.pairs=phantom-data/pairs/paired", "data.split.val=0.5"),
    }
    generate(workplace / "phantom-data/pairs", PhantomSettings.tiny(5).changed(paired_cases=2), show_progress=False)
    for name, overrides in runs.items():
        done = command("train.py", "experiment=smoke", *overrides, f"hydra.run.dir=outputs/{name}", cwd=workplace)
        assert done.returncode == 0, done.stderr
    generate(
        workplace / TEST,
        PhantomSettings.tiny(9).changed(
            paired_cases=2,
            empty_cases=1,
            clinical_cases=1,
            micro_cases=1,
            clinical_pixels=128,
            paired_pixels=40,
        ),
        show_progress=False,
    )
    return [workplace / f"outputs/{name}/checkpoints/last.ckpt" for name in ("smoke", *runs)]


def test_one_command_gives_tables_pictures_and_report(
    checkpoints: list[Path], workplace: Path, command: Command
) -> None:
    given = f"ckpt=[{','.join(map(str, checkpoints))}]"
    keys = (f"data={TEST}", "output=report", "cover=0.3", "slices_per_case=1", "tile_micro=128", "wandb=trial")
    done = command("infer.py", "task=evaluate", given, *keys, cwd=workplace)
    assert done.returncode == 0, done.stderr
    folder = workplace / "report"
    with (folder / "evaluation.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    methods = {(row["protocol"], row["method"]) for row in rows}
    for protocol in ("paired", "paired_slab", "plain", "synthetic", "unseen_soft", "unseen_sharp"):
        for method in ("scanner", "sr_cyclegan", "ceiling", "nearest", "bicubic_mapped", "lanczos", "bicubic_blurred"):
            assert (protocol, method) in methods
    assert {method for protocol, method in methods if protocol == "synthetic_own"} == {"scanner", "sr_cyclegan"}
    assert {"unchanged", "blurred", "inverted"} <= {method for protocol, method in methods if protocol == "controls"}
    assert {protocol for protocol, _ in methods} >= {"synthesis", "clinical", "clinical_soft", "clinical_sharp"}
    text = (folder / "report.md").read_text()
    for heading in (
        "paired: gap closed",
        "paired: scanner less others",
        "The paper's Table 1: synthetic_own",
        "paired: by tissue",
    ):
        assert f"### {heading}" in text
    for name in ("paired", "synthesis", "scans", "found_and_made_up"):
        with Image.open(folder / f"{name}.png") as picture:
            assert min(picture.size) > 100
    page = Page()
    page.feed((folder / "report.html").read_text())
    assert page.tables == text.count("\n### ")
    assert page.pictures == 4
    (offline,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    assert wandb_file.run(offline) == ("report", "", "evaluate")
    logged = {(line["method"], line["measure"]): line for line in wandb_file.table(offline, "tables/paired")}
    values = [
        float(row["value"])
        for row in rows
        if row["case"] and (row["protocol"], row["method"], row["metric"]) == ("paired", "scanner", "ssim")
    ]
    assert logged["scanner", "ssim"]["mean"] == pytest.approx(sum(values) / len(values))
    assert logged["scanner", "ssim"]["cases"] == 2
    again = command("infer.py", "task=evaluate", given, *keys, cwd=workplace)
    assert again.returncode == 2
    assert "report holds a report: choose another output=, or give overwrite=true" in again.stderr


class Page(html.parser.HTMLParser):
    """Counts what a page shows."""

    tables = pictures = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tables += tag == "table"
        self.pictures += tag == "img" and str(dict(attributes)["src"]).startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("which", "data", "case"),
    [(0, "phantom-data/tiny", "micro case specimen_"), (2, "phantom-data/pairs", "pair lung_10")],
)
def test_a_network_that_has_seen_a_test_case_is_refused(
    which: int, data: str, case: str, checkpoints: list[Path], workplace: Path, command: Command
) -> None:
    given = (f"ckpt={checkpoints[which]}", f"data={data}", "output=refused")
    done = command("infer.py", "task=evaluate", *given, cwd=workplace)
    assert done.returncode == 2
    assert f"{checkpoints[which]} was trained on {case}" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (workplace / "refused").exists()


def test_mistakes_are_told_before_work(checkpoints: list[Path], workplace: Path, command: Command) -> None:
    twin = workplace / "outputs/twin.ckpt"
    contents = torch.load(checkpoints[0], weights_only=True)
    torch.save(contents, twin)
    other = workplace / "outputs/other.ckpt"
    contents["ctsr"]["preparation"]["data.micro.slab_mm"] = 2.5
    torch.save(contents, other)
    for arguments, message in (
        ((f"data={TEST}", "output=x"), "ckpt= missing"),
        ((f"ckpt={twin}", "output=x"), "data= missing"),
        ((f"ckpt={twin}", "data=nowhere", "output=x"), "data=nowhere is no folder"),
        ((f"ckpt=[{checkpoints[0]},{twin}]", f"data={TEST}", "output=x"), "are both scanner, seed 0"),
        ((f"ckpt={twin}", f"data={TEST}", "output=x", "reference=fx"), "reference=fx is none of the methods"),
        ((f"ckpt=[{checkpoints[0]},{other}]", f"data={TEST}", "output=x"), "data.micro.slab_mm=2.5"),
    ):
        done = command("infer.py", "task=evaluate", *arguments, cwd=workplace)
        assert done.returncode == 2, message
        assert message in done.stderr
    assert command("infer.py", "task=train", cwd=workplace).returncode == 2
