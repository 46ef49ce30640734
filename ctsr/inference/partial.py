"""A result on its way: a hidden folder beside it, from which the same command goes on after a kill.

There is one for each result, so that those of dead runs do not pile up: the next run goes on with it, refuses it, or
begins anew. The voxels come first, then the line of the journal that says so.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ctsr.errors import UserError
from ctsr.files import replacing

Note = Mapping[str, Any]  # what is known of a slice that is done
_LOCK, _STATE, _JOURNAL = "lock", "state.json", "slices.jsonl"


class PartialResult:
    """The folder of a result.

    Attributes:
        folder: For voxels, and for what is large while it is worked on.
        done: What was noted of each slice that is done, by its number.
        keep: Whether it holds what a later run can go on from.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: dict[int, Note] = {}
        self.keep = bool(self._notes())  # also where this run turns out to be another one

    @property
    def size(self) -> int:
        """Bytes that it has taken of the disk."""
        return sum(file.stat().st_size for file in self.folder.iterdir())

    def go_on(self, state: Mapping[str, Any], fixed: Mapping[str, Any]) -> Mapping[str, Any]:
        """Take up what a run of the same kind has left, or begin.

        Args:
            state: What makes a run the same: scan, checkpoint, settings, versions.
            fixed: What this run would choose by itself; of what was left, its own choices hold.

        Returns:
            The choices that hold.

        Raises:
            UserError: What was left is of another kind; its folder and the first difference are named.
        """
        left = self._left()
        if left is None:
            self._write({"state": state, "fixed": fixed})
            return fixed
        before = left["state"]
        differing = [key for key in {**before, **state} if before.get(key) != state.get(key)]
        if differing:
            key = differing[0]
            raise UserError(
                f"{self.folder} holds {len(self._notes())} slices of a run with another {key} "
                f"({_short(before.get(key))}, here {_short(state.get(key))}): "
                "finish that one, give another output=, or overwrite=true to begin anew"
            )
        self.done = self._notes()
        with replacing(self.folder / _JOURNAL) as partial:  # without a line that was cut off
            partial.write_text("".join(f"{json.dumps(note)}\n" for note in self.done.values()), encoding="utf-8")
        chosen: Mapping[str, Any] = left["fixed"]
        return chosen

    def fix(self, fixed: Mapping[str, Any]) -> None:
        """Note a choice that had to be changed on the way."""
        left = self._left()
        assert left is not None
        self._write({**left, "fixed": fixed})

    def note(self, number: int, note: Note) -> None:
        """Note that a slice's voxels are written."""
        self.done[number], self.keep = note, True
        with (self.folder / _JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write(json.dumps({"slice": number, **note}) + "\n")

    def _left(self) -> dict[str, Any] | None:
        try:
            left: dict[str, Any] = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UserError(f"{self.folder} is damaged: give overwrite=true to begin anew") from error
        return left

    def _notes(self) -> dict[int, Note]:
        """Those of the journal; a line that a kill cut off is as if it were not there."""
        try:
            lines = (self.folder / _JOURNAL).read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            return {}
        notes = [json.loads(line) for line in lines if line.endswith("}")]
        return {int(note["slice"]): note for note in notes}

    def _write(self, state: Mapping[str, Any]) -> None:
        with replacing(self.folder / _STATE) as partial:
            partial.write_text(json.dumps(state), encoding="utf-8")


@contextmanager
def partial_result(output: Path, anew: bool) -> Iterator[PartialResult]:
    """The folder of an output while it is worked on; what is left of it after an error are slices that are done.

    Args:
        output: The volume that will be written.
        anew: Whether what an earlier run left is removed.

    Raises:
        UserError: Another run is writing the same output.
    """
    folder = output.with_name(f".{output.name}.partial")
    folder.mkdir(exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"output={output} is being written by another run: give another output=") from error
        except OSError:
            pass  # a file system without locks: two runs at once are then the user's to avoid
        if anew:
            _empty(folder)
        result = PartialResult(folder)
        try:
            yield result
            result.keep = False
        finally:
            if not result.keep:
                shutil.rmtree(folder)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != _LOCK:
            path.unlink()


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
