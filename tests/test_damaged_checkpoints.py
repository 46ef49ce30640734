"""Damaged and senseless checkpoints, given to each command that takes one; and how often a sound one is opened."""

from __future__ import annotations

import io
import os
import runpy
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import train
from ctsr.checkpoint import weights_digest
from ctsr.training.check import refuse
from tests.conftest import REPOSITORY
from tests.test_conf import composed

Content = dict[str, Any]
SMOKE = ("experiment=smoke", "method=scanner", "trainer.enable_progress_bar=false", "evaluate=false")


def run(monkeypatch: pytest.MonkeyPatch, program: str, *arguments: str) -> int:
    """Run a program in this process, as it is typed; gives its exit code."""
    monkeypatch.setattr(sys, "argv", [str(REPOSITORY / program), *arguments])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(REPOSITORY / program), run_name="__main__")
    finally:
        signal.signal(signal.SIGTERM, before)
    return int(ended.value.code or 0)


def card(**changes: Any) -> Callable[[Content], None]:
    """Changes fields of the card; None takes one away."""

    def spoil(content: Content) -> None:
        for key, value in changes.items():
            if value is None:
                del content["ctsr"][key]
            else:
                content["ctsr"][key] = value

    return spoil


def below(field: str, **changes: Any) -> Callable[[Content], None]:
    def spoil(content: Content) -> None:
        for key, value in changes.items():
            content["ctsr"][field][key.replace("__", ".")] = value

    return spoil


def weights(change: Callable[[dict[str, torch.Tensor]], None], anew: bool = True) -> Callable[[Content], None]:
    """Changes weights; `anew`: the digest is that of what they are then."""

    def spoil(content: Content) -> None:
        change(content["state_dict"])
        if anew:
            content["ctsr"]["weights_sha256"] = weights_digest(content["state_dict"])

    return spoil


def trained(state: dict[str, torch.Tensor]) -> str:
    """The first weights of a network that its stage trains."""
    return next(name for name in state if name.startswith(("DS.", "D1.")) and state[name].ndim == 4)


def filled(value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(state: dict[str, torch.Tensor]) -> None:
        state[trained(state)].view(-1)[3] = value

    return change


def wider(state: dict[str, torch.Tensor]) -> None:
    state[trained(state)] = torch.cat([state[trained(state)]] * 2)


def one_less(state: dict[str, torch.Tensor]) -> None:
    del state[trained(state)]


def exchanged(state: dict[str, torch.Tensor]) -> None:
    state[trained(state)] += 1e-3


def unnamed(content: Content) -> None:
    content["ctsr"]["networks"]["D1" if content["ctsr"]["stage"] == "synth" else "DS"]["featurs"] = 4


SENSELESS: dict[str, tuple[Callable[[Content], None], str]] = {
    "NaN weights": (weights(filled(float("nan"))), "are not all finite"),
    "infinite weights": (weights(filled(float("inf"))), "are not all finite"),
    "weights of another shape": (weights(wider), "do not fit"),
    "a weight missing": (weights(one_less), "do not fit"),
    "no weights": (weights(lambda state: state.clear()), "do not fit its description of G"),
    "other weights": (weights(exchanged, anew=False), "are others than its card was written for"),
    "an argument that no network has": (unnamed, "do not fit"),
    "no windows": (card(windows=None), "windows is missing, needed: a group of keys: clinical, micro"),
    "no spacing": (card(spacing=None), "spacing is missing"),
    "no name": (card(name=None), "name is missing"),
    "no grey maps": (card(grey_maps=None), "grey_maps is missing"),
    "grey maps without the clinical one": (card(grey_maps={}), "grey_maps.clinical is missing"),
    "a grey map that falls": (
        below("grey_maps", clinical={"knots": [-1.0, 1.0], "values": [1.0, -1.0]}),
        "needed: maps of greys by name",
    ),
    "a window of no width": (below("windows", clinical=[40.0, 40.0]), "windows.clinical=[40.0, 40.0], needed: two HU"),
    "µCT's window of no width": (below("windows", micro=[9, 9]), "windows.micro=[9, 9], needed: two greys"),
    "spacing 0": (below("spacing", clinical=[0.0, 0.6]), "spacing.clinical=[0.0, 0.6], needed: two pixel sizes"),
    "spacing NaN": (below("spacing", micro=[float("nan"), 0.05]), "spacing.micro=[nan, 0.05], needed"),
    "no preparation": (card(preparation={}), "preparation.data.clinical.window is missing"),
    "another scale": (card(scale=4), "scale=4, needed: 8"),
    "a stage that there is not": (card(stage="srr"), "stage=srr, needed: synth, sr or sr_cyclegan"),
    "a seed that is a text": (card(seed="zero"), "seed=zero, needed: a whole number"),
    "no configuration": (card(config="[1, 2"), "needed: the configuration in YAML"),
    "materials upside down": (
        card(config="data: {micro: {materials: [45, -1000]}}"),
        "needed: the configuration in YAML",
    ),
    "networks in a list": (card(networks=["G1"]), "networks=[G1], needed: the arguments of each network"),
    "another program's": (lambda content: content.pop("ctsr"), "is not a ctsr checkpoint"),
    "a later format": (card(format=4), "has checkpoint format 4, this ctsr reads format 3: update ctsr"),
}


def cut(content: bytes) -> bytes:
    return content[: len(content) // 10]


def flipped(content: bytes) -> bytes:
    """In the largest of the packed files: of a header between two, not every bit means something."""
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        largest = max(packed.infolist(), key=lambda file: file.compress_size)
    middle = largest.header_offset + 200 + largest.compress_size // 2
    return content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]


DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut to a tenth": (cut, "is cut short"),
    "one bit flipped": (flipped, "is damaged"),
    "empty": (lambda content: b"", "is not a ctsr checkpoint"),
    "a text": (lambda content: b"weights\n", "is not a ctsr checkpoint"),
}


@pytest.fixture(scope="module")
def sound(smoke_run: Path) -> dict[str, Path]:
    """A checkpoint of each stage, as training left it."""
    return {"synth": smoke_run / "synth/checkpoints/last.ckpt", "sr": smoke_run / "checkpoints/last.ckpt"}


COMMANDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "infer.py": ("sr", "infer.py", ("ckpt={}", "input={data}/clinical/lung_000.nii.gz", "output=out/sr.nii.gz")),
    "task=evaluate": ("sr", "infer.py", ("task=evaluate", "ckpt=[{}]", "data={data}", "output=report")),
    "synth_ckpt=": ("synth", "train.py", ("stage=sr", *SMOKE, "synth_ckpt={}")),
    "resume=": ("synth", "train.py", ("stage=synth", *SMOKE, "resume={}")),
}


@pytest.mark.parametrize("asked", COMMANDS)
@pytest.mark.parametrize("what", [*SENSELESS, *DAMAGED])
def test_a_line_and_nothing_written(
    what: str,
    asked: str,
    sound: dict[str, Path],
    smoke_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    stage, program, arguments = COMMANDS[asked]
    spoiled, place = tmp_path / "spoiled.ckpt", tmp_path / "place"
    if what in DAMAGED:
        change, message = DAMAGED[what]
        spoiled.write_bytes(change(sound[stage].read_bytes()))
    else:
        spoil, message = SENSELESS[what]
        content = torch.load(sound[stage], weights_only=True)
        spoil(content)
        torch.save(content, spoiled)
    place.mkdir()
    monkeypatch.chdir(place)
    data = smoke_run.parents[1] / "phantom-data/tiny"
    code = run(monkeypatch, program, *(part.format(spoiled, data=data) for part in arguments))
    lines = capfd.readouterr().err.splitlines()
    assert code == 2, lines
    assert all(line.startswith(f"error: {spoiled} ") for line in lines)
    assert message in lines[0]
    assert len(lines) == (4 if what == "no preparation" else 1), lines  # one for each thing that is missing
    assert list(place.iterdir()) == []


def test_g1_is_there(
    sound: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(sound["synth"], weights_only=True)
    del content["ctsr"]["networks"]["G1"]
    torch.save(content, tmp_path / "without.ckpt")
    (tmp_path / "place").mkdir()
    monkeypatch.chdir(tmp_path / "place")
    assert run(monkeypatch, "train.py", "stage=sr", *SMOKE, f"synth_ckpt={tmp_path / 'without.ckpt'}") == 2
    assert f"error: {tmp_path / 'without.ckpt'} holds no network G1" in capfd.readouterr().err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("stage", ["synth", "sr"])
def test_a_run_that_would_go_on_by_itself_is_refused_too(
    stage: str,
    smoke_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """resume=auto: stage all looks into both stages' folders before anything else."""
    begun = tmp_path / "begun"
    shutil.copytree(smoke_run, begun, ignore=shutil.ignore_patterns("panels", "wandb", "best-*"))
    last = begun / ("synth" if stage == "synth" else ".") / "checkpoints/last.ckpt"
    (begun / "synth/summary.json").unlink()
    last.write_bytes(flipped(last.read_bytes()))
    before = {path: path.stat().st_mtime_ns for path in begun.rglob("*")}
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "train.py", "stage=all", *SMOKE, "resume=auto", f"hydra.run.dir={begun}") == 2
    assert f"error: {last} is damaged" in capfd.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in begun.rglob("*")} == before


# --- sound ones


_opened: list[str] | None = None


def _count(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _opened is not None and isinstance(arguments[0], str | bytes):
        _opened.append(os.fsdecode(arguments[0]))


sys.addaudithook(_count)  # for good: Python has no way to take it back


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The paths of the files that are opened during a test, in order."""
    global _opened
    _opened = []
    yield _opened
    _opened = None


COUNTED: dict[str, tuple[str, tuple[str, ...]]] = {
    "infer.py": (
        "infer.py",
        ("ckpt={sr}", "input={data}/clinical/lung_000.nii.gz", "output={place}/sr.nii.gz", "roi=[0,1,0,16,0,16]"),
    ),
    "task=evaluate": (
        "infer.py",
        (
            *(
                "task=evaluate",
                "ckpt=[{sr}]",
                "data={other}",
                "output={place}/report",
                "workers=1",
                "slices_per_case=1",
                "cover=0.3",
            ),
            "tile_micro=128",
        ),
    ),
    "synth_ckpt=": ("train.py", ("stage=sr", *SMOKE, "synth_ckpt={synth}", "trainer.max_epochs=1")),
    "resume=": ("train.py", ("stage=synth", *SMOKE, "resume={synth}", "trainer.max_epochs=3")),
    "resume=auto": (
        "train.py",
        ("stage=all", *SMOKE, "resume=auto", "sr.epochs=3", "hydra.run.dir={begun}"),
    ),
}


def test_the_jobs_of_a_sweep_are_checked_with_one_look(sound: dict[str, Path], opened: list[str]) -> None:
    asked = ("stage=sr", *SMOKE, f"synth_ckpt={sound['synth']}")
    refuse([train.plain(composed(*asked, f"loss.lambda_adv={weight}")) for weight in (0.1, 0.2, 0.3)], None)
    assert opened.count(str(sound["synth"])) == 1


@pytest.mark.parametrize("asked", COUNTED)
def test_a_checkpoint_is_opened_once(
    asked: str,
    sound: dict[str, Path],
    smoke_run: Path,
    workplace: Path,
    opened: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    program, arguments = COUNTED[asked]
    place = workplace / "given" / asked.replace("=", "_")
    given = {stage: place / f"{stage}.ckpt" for stage in sound}
    for stage, path in given.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sound[stage], path)
    begun = place / "begun"
    if "resume=auto" in arguments:
        shutil.copytree(smoke_run, begun)
        given = {"synth": smoke_run / "synth/checkpoints/last.ckpt", "sr": begun / "checkpoints/last.ckpt"}
    monkeypatch.chdir(workplace)
    other = workplace / "given/test"
    if not other.exists():
        shutil.copytree("phantom-data/tiny/paired", other / "paired")  # no others are unknown to the network
    places = {"data": "phantom-data/tiny", "other": other, "begun": begun, "place": place}
    opened.clear()
    code = run(monkeypatch, program, *(part.format(**given, **places) for part in arguments))
    assert code == 0, capfd.readouterr().err
    counts = {stage: sum(Path(name).absolute() == path for name in opened) for stage, path in given.items()}
    used = {stage for stage in given if f"{{{stage}}}" in "".join(arguments)} or {"synth", "sr"}
    assert counts == {stage: int(stage in used) for stage in given}
