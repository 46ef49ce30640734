"""docs/architecture.md: whatever it names is there, and its picture shows the import rules as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import pytest

from ctsr.imaging.formats.table import TABLE, Reader
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([^`]+)`", PAGE)))
OURS = ("ctsr", "datamodules", "lightning_modules", "train", "infer", "tests")
COMMANDS = {"make lint": "Makefile", "python docs/draw_rooms.py": "docs/draw_rooms.py"}
WORDS = {"losses", "parts", "full", "AXIAL_ONLY"}  # of a training step, a row, `score` and a test
MOST_FILES = 16


@pytest.mark.parametrize("name", NAMED)
def test_what_the_page_names_is_there(name: str) -> None:
    if name in WORDS:
        return
    if (REPOSITORY / COMMANDS.get(name, name)).exists():
        return
    assert name.split(".")[0] in OURS, "neither a path, nor a name in the code"
    found = import_module(name.split(".")[0])
    for part in name.split(".")[1:]:
        deeper = f"{found.__name__}.{part}" if hasattr(found, "__path__") else None
        found = getattr(found, part) if deeper is None or find_spec(deeper) is None else import_module(deeper)


@pytest.mark.parametrize(
    ("what", "where"),
    [
        ("eq. (1)", "ctsr.losses.ssim.SSIMLoss"),
        ("eq. (2)", "lightning_modules.cyclegan_ssim.CycleGANSSIM.training_step"),
        ("eq. (3)", "lightning_modules.srgan.SRGAN.training_step"),
        ("eq. (4)", "ctsr.losses.adversarial.cross_entropy"),
        ("eq. (5)", "lightning_modules.srgan.SRGAN.training_step"),
        ("f()", "ctsr.imaging.pyramid.GaussianPyramid"),
        ("formats", "ctsr.imaging.formats.table.TABLE"),
        ("the lung mask", "ctsr.imaging.anatomy.lung.lung_mask"),
        ("the checkpoint reader", "ctsr.checkpoint.read_checkpoint"),
    ],
)
def test_a_newcomer_finds(what: str, where: str) -> None:
    (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| {what}"))
    assert f"`{where}`" in row


def test_the_picture_is_that_of_the_rules(tmp_path: Path) -> None:
    drawn = tmp_path / "rooms.svg"
    subprocess.run([sys.executable, "docs/draw_rooms.py", str(drawn)], cwd=REPOSITORY, check=True, timeout=120)

    def texts(file: Path) -> list[str]:
        return re.findall(r"<text[^>]*>([^<]+)</text>", file.read_text(encoding="utf-8"))

    shown = texts(REPOSITORY / "docs/images/rooms.svg")
    assert shown == texts(drawn), "run python docs/draw_rooms.py"
    assert {"lightning_modules", "ctsr.evaluation", "questions", "formats", "anatomy", "ctsr.errors"} <= set(shown)


def test_no_room_has_too_many_files() -> None:
    rooms = (path for top in ("ctsr", "datamodules", "lightning_modules") for path in (REPOSITORY / top).rglob("*"))
    folders = chain([REPOSITORY / "ctsr"], (path for path in rooms if path.is_dir()))
    crowded = {str(room): len(files) for room in folders if len(files := list(room.glob("*.py"))) > MOST_FILES}
    assert not crowded


@pytest.mark.parametrize("name", TABLE)
def test_every_row_of_the_table_has_a_reader(name: str) -> None:
    module, _, reader = TABLE[name].reader.partition(":")
    found = getattr(import_module(module), reader)
    assert Reader in found.__mro__
    assert {"header", "read"} <= vars(found).keys()
    assert TABLE[name].parts == ("files" in vars(found)), "who has parts tells them"


def test_endings_are_told_once() -> None:
    endings = [ending for row in TABLE.values() for ending in row.endings]
    assert len(endings) == len(set(endings))
    assert all(ending.startswith(".") and ending == ending.lower() for ending in endings)
