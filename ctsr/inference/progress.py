"""How far a scan is: a bar in a terminal, a line every half minute in a log."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress, TextColumn

EVERY = 30.0  # seconds between two lines


class SlicesBar:
    """Shows slices while they are enlarged.

    Args:
        slices: How many there are to do.
        work: What they cost together, in any unit; the time that is left is told by it.
        console: Where.
    """

    def __init__(self, slices: int, work: float, console: Console) -> None:
        self._slices, self._work, self._console = slices, work, console
        self._done, self._voxels, self._did = 0, 0, 0.0
        self._started = self._told = monotonic()
        columns = (*Progress.get_default_columns(), TextColumn("{task.fields[told]}"))
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("super-resolving", total=work, told="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def done(self, work: float, voxels: int) -> None:
        """Note that a slice is done.

        Args:
            work: Its part of the whole.
            voxels: That it has in the result.
        """
        self._done, self._voxels, self._did = self._done + 1, self._voxels + voxels, self._did + work
        now = monotonic()
        spent = max(now - self._started, 1e-6)
        told = f"{self._done} of {self._slices} slices, {self._voxels / 1e6 / spent:.2f} Mvoxel/s"
        self._bar.update(self._task, completed=self._did, told=told)
        if not self._console.is_terminal and now - self._told >= EVERY:
            self._told = now
            left = timedelta(seconds=round(spent * (self._work - self._did) / max(self._did, 1e-6)))
            say(self._console, f"super-resolving: {told}, {left} left")


def say(console: Console, line: str) -> None:
    """Print a line as it is: unbroken, and nothing in it taken for markup."""
    console.print(line, soft_wrap=True, markup=False, emoji=False, highlight=False)
