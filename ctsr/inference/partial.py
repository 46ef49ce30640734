"""A result on its way: a hidden folder beside it, from which the same command goes on after a kill.

There is one for each result, so that those of dead runs do not pile up: the next run goes on with it, refuses it, or
begins anew. The voxels come first, then the line of the journal that says so.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ctsr.errors import Interrupted, Stopped, UserError, as_typed, signal_of, warn
from ctsr.files import replacing

Note = Mapping[str, Any]  # what is known of a slice that is done
_LOCK, _STATE, _JOURNAL = "lock", "state.json", "slices.jsonl"


class PartialResult:
    """The folder of a result.

    Attributes:
        folder: For voxels, and for what is large while it is worked on.
        done: What was noted of each slice that is done, by its number, in the order in which they were.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done = self._notes()

    @property
    def size(self) -> int:
        """Bytes that it has taken of the disk."""
        return sum(file.stat().st_size for file in self.folder.iterdir())

    def empty(self) -> None:
        """Remove all that an earlier run left."""
        for path in self.folder.iterdir():
            if path.name != _LOCK:
                path.unlink()
        self.done = {}

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
        if not self.done:
            self._write({"state": state, "fixed": fixed})
            return fixed
        left = self._left()
        before = left["state"]
        differing = [key for key in {**before, **state} if before.get(key) != state.get(key)]
        if differing:
            key = differing[0]
            raise UserError(
                f"{self.folder} holds {len(self.done)} slices of a run with another {key} "
                f"({_short(before.get(key))}, here {_short(state.get(key))}): "
                "finish that one, give another output=, or overwrite=true to begin anew"
            )
        chosen: Mapping[str, Any] = left["fixed"]
        return chosen

    def retain(self, whole: Callable[[int, Note], bool]) -> None:
        """Forget the slices that are not as they were noted, and the line of the journal that a kill cut off."""
        self.done = {number: note for number, note in self.done.items() if whole(number, note)}
        with replacing(self.folder / _JOURNAL) as partial:
            partial.write_text("".join(map(_line, self.done, self.done.values())), encoding="utf-8")

    def fix(self, fixed: Mapping[str, Any]) -> None:
        """Note a choice that had to be changed on the way."""
        self._write({**self._left(), "fixed": fixed})

    def note(self, number: int, note: Note) -> None:
        """Note that a slice's voxels are written."""
        with (self.folder / _JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write(_line(number, note))
        self.done[number] = note

    def _left(self) -> dict[str, Any]:
        try:
            left = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
            return {"state": dict(left["state"]), "fixed": dict(left["fixed"])}
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.folder} is damaged: give overwrite=true to begin anew") from error

    def _notes(self) -> dict[int, Note]:
        """Those of the journal, up to a line that a kill cut off."""
        notes: dict[int, Note] = {}
        try:
            for line in (self.folder / _JOURNAL).read_bytes().splitlines():
                number, note = json.loads(line)
                notes[number] = note
        except (FileNotFoundError, ValueError, TypeError):
            pass
        return notes

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
        Stopped: By a signal, after slices were done.
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
        result = PartialResult(folder)
        if anew or not result.done:  # nothing to lose, whatever run began it
            result.empty()
        try:
            yield result
            result.done.clear()  # all is in the output
        except (Interrupted, KeyboardInterrupt) as stop:
            if not result.done:
                raise
            number = signal_of(stop)
            raise Stopped(f"stopped by {number.name}: {_kept(result, anew)}", 128 + number) from stop
        except UserError:
            raise
        except Exception:  # such as a full disk
            if result.done:
                warn(_kept(result, anew))
            raise
        finally:
            if not result.done:  # errors: what is open, as the lock is, stays on some network disks until it is closed
                shutil.rmtree(folder, ignore_errors=True)


def _kept(result: PartialResult, anew: bool) -> str:
    again = "the same command without overwrite=true" if anew else "the same command"
    return f"{len(result.done)} slices are done, {again} goes on"


def _line(number: int, note: Note) -> str:
    return json.dumps([number, note]) + "\n"


def _short(value: object) -> str:
    text = as_typed(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
