"""What a run leaves for the next one to go on with: kept, taken up, refused or removed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ctsr.errors import Interrupted, Stopped, UserError
from ctsr.inference.partial import PartialResult, partial_result

STATE = {"scan": "5ca9", "checkpoint": "c4ec", "tile": "auto", "part": None, "box": [1.5, None]}
FIXED = {"tile": 48, "batch": 1}
NOTE = {"crc32": 7, "difference_hu": {"lung": [1, 2], "elsewhere": []}}


class KilledError(Exception):
    """In place of a kill."""


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "sr.nii.gz"


@pytest.fixture
def folder(output: Path) -> Path:
    """Where it is worked on."""
    return output.with_name(".sr.nii.gz.partial")


@contextmanager
def killed(output: Path, **changes: Any) -> Iterator[PartialResult]:
    """A run that ends on the way."""
    with suppress(KilledError), partial_result(output, anew=False) as partial:
        partial.go_on(STATE | changes, FIXED)
        yield partial
        raise KilledError


@pytest.fixture
def two_slices(output: Path) -> None:
    """A run has left two slices."""
    with killed(output) as partial:
        partial.note(3, NOTE)
        partial.note(1, NOTE)


def test_a_run_that_ends_well_leaves_nothing(output: Path) -> None:
    with partial_result(output, anew=False) as partial:
        assert partial.go_on(STATE, FIXED) == FIXED
        partial.note(0, NOTE)
    assert not list(output.parent.iterdir())


def test_an_error_before_the_first_slice_leaves_nothing(output: Path) -> None:
    with killed(output):
        pass
    assert not list(output.parent.iterdir())


@pytest.mark.usefixtures("two_slices")
def test_the_same_run_goes_on_with_the_choices_of_the_first(output: Path, folder: Path) -> None:
    with partial_result(output, anew=False) as partial:
        assert partial.go_on(STATE, {"tile": 8, "batch": 2}) == FIXED
        assert list(partial.done.items()) == [(3, NOTE), (1, NOTE)]
        assert partial.folder == folder
    assert not list(output.parent.iterdir())


@pytest.mark.usefixtures("two_slices")
def test_a_choice_that_was_changed_on_the_way_holds(output: Path) -> None:
    with killed(output) as partial:
        partial.fix({"tile": 24, "batch": 1})
    with killed(output) as partial:
        assert partial.go_on(STATE, FIXED) == {"tile": 24, "batch": 1}


@pytest.mark.usefixtures("two_slices")
@pytest.mark.parametrize("key", [*STATE, "new"])
def test_another_run_is_refused_by_name_and_takes_nothing_away(output: Path, folder: Path, key: str) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with (
        pytest.raises(UserError, match=rf"^{folder} holds 2 slices of a run with another {key} \(.*overwrite=true"),
        partial_result(output, anew=False) as partial,
    ):
        partial.go_on(STATE | {key: "other"}, FIXED)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.usefixtures("two_slices")
def test_a_key_that_is_no_more_is_told_as_it_is_typed(output: Path) -> None:
    state = {key: value for key, value in STATE.items() if key != "tile"}
    with pytest.raises(UserError, match=r"another tile \(auto, here null\)"), partial_result(output, False) as partial:
        partial.go_on(state, FIXED)


def test_what_holds_no_slice_is_no_hindrance(output: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "state.json").write_text("{")
    (folder / "slices.jsonl").write_text("[3, {")
    (folder / "voxels.nii").write_bytes(bytes(1000))  # of a volume that may be larger
    with partial_result(output, anew=False) as partial:
        assert partial.go_on(STATE, FIXED) == FIXED
        assert sorted(path.name for path in folder.iterdir()) == ["lock", "state.json"]


@pytest.mark.usefixtures("two_slices")
def test_anew(output: Path, folder: Path) -> None:
    with partial_result(output, anew=True) as partial:
        assert not partial.done
        assert [path.name for path in folder.iterdir()] == ["lock"]
        partial.go_on(STATE | {"tile": 8}, FIXED)
    assert not list(output.parent.iterdir())


@pytest.mark.usefixtures("two_slices")
def test_every_line_that_was_cut_off_is_a_slice_that_is_not_done(output: Path, folder: Path) -> None:
    journal = folder / "slices.jsonl"
    whole = journal.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole) - 1):
        journal.write_bytes(whole[:end])
        assert list(PartialResult(folder).done) == [3]
    journal.write_bytes(whole[:-9] + b"\xff\0\0")  # as after a power cut
    assert list(PartialResult(folder).done) == [3]


@pytest.mark.usefixtures("two_slices")
def test_a_slice_is_added_behind_a_line_that_was_cut_off(output: Path, folder: Path) -> None:
    with (folder / "slices.jsonl").open("a") as journal:
        journal.write('[5, {"crc32": 7, "difference_hu": {}')
    with killed(output) as partial:
        partial.retain(lambda number, note: number != 3 and note == NOTE)
        partial.note(4, NOTE)
    assert list(PartialResult(folder).done) == [1, 4]


@pytest.mark.usefixtures("two_slices")
def test_what_turns_out_to_be_of_no_use_is_removed_with_the_run(output: Path) -> None:
    with killed(output) as partial:
        partial.retain(lambda *_: False)
    assert not list(output.parent.iterdir())


@pytest.mark.usefixtures("two_slices")
@pytest.mark.parametrize("text", [None, "", "{", "[]", "3", "{}", '{"state": 1, "fixed": 2}', "\udcff"])
def test_damage_is_told_in_one_line(output: Path, folder: Path, text: str | None) -> None:
    (folder / "state.json").unlink()
    if text is not None:
        (folder / "state.json").write_bytes(text.encode(errors="surrogateescape"))
    told = f"{folder} is damaged: give overwrite=true to begin anew"
    with pytest.raises(UserError, match=f"^{told}$"), partial_result(output, anew=False) as partial:
        partial.go_on(STATE, FIXED)
    assert list(PartialResult(folder).done) == [3, 1]


@pytest.mark.parametrize("anew", [False, True])
def test_two_runs_cannot_write_the_same_output(output: Path, anew: bool) -> None:
    with killed(output) as partial:
        partial.note(0, NOTE)
        with (
            pytest.raises(UserError, match=r"sr\.nii\.gz is being written by another run"),
            partial_result(output, anew),
        ):
            pass
        assert list(PartialResult(partial.folder).done) == [0]
        with partial_result(output.with_name("other.nii.gz"), anew):
            pass


def test_the_lock_of_a_dead_run_does_not_matter(output: Path, folder: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from ctsr.inference.partial import partial_result\n"
        "with partial_result(Path(sys.argv[1]), False) as partial:\n"
        "    partial.go_on({}, {}); partial.note(2, {}); print('here', flush=True); sys.stdin.read()"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", program, str(output)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"here\n"
        with pytest.raises(UserError, match="another run"), partial_result(output, anew=True):
            pass
        running.kill()
    with partial_result(output, anew=False) as partial:
        assert list(partial.done) == [2]


def run_until(end: BaseException, output: Path, *numbers: int, anew: bool = False) -> None:
    """A run that does slices, and ends."""
    with partial_result(output, anew) as partial:
        for number in numbers:
            partial.note(number, NOTE)
        raise end


@pytest.mark.parametrize(
    ("stop", "name"), [(Interrupted(signal.SIGTERM), "SIGTERM"), (KeyboardInterrupt(), "SIGINT")], ids=str
)
def test_a_signal_after_the_first_slice_tells_that_the_run_can_go_on(
    output: Path, stop: BaseException, name: str
) -> None:
    told = f"^stopped by {name}: 2 slices are done, the same command goes on$"
    for numbers in ((0, 1), ()):  # also before the second run knows that it is the same one
        with pytest.raises(Stopped, match=told) as stopped:
            run_until(stop, output, *numbers)
        assert stopped.value.code == 128 + signal.Signals[name]
    with pytest.raises(Stopped, match=r": 1 slices are done, the same command without overwrite=true goes on$"):
        run_until(stop, output, 5, anew=True)


def test_a_signal_before_the_first_slice_leaves_nothing(output: Path) -> None:
    with pytest.raises(Interrupted):
        run_until(Interrupted(signal.SIGTERM), output)
    assert not list(output.parent.iterdir())
