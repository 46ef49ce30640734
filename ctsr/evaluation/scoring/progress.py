"""How far a comparison is: a bar in a terminal, a line for each finished question in a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from ctsr.errors import some_of

SHOWN = 2  # names beside the bar


class AskingBar:
    """Shows questions while they are asked.

    Args:
        steps: Of each question, as many as are told of by `show`.
        at_once: Questions that are asked at a time.
        console: Where; None: the terminal.
    """

    def __init__(self, steps: Mapping[str, int], at_once: int = 1, console: Console | None = None) -> None:
        self._left, self._count, self._at_once = list(steps), len(steps), at_once
        self._console = console or Console()
        self._started = monotonic()
        moves = self._console.is_terminal
        columns = (*Progress.get_default_columns(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=self._console, disable=not moves)
        self._task = self._bar.add_task(self._asked(), total=sum(steps.values()))

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def show(self, steps: int) -> None:
        """Moves the bar to where that many steps are done."""
        self._bar.update(self._task, completed=steps)

    def finish(self, question: str) -> None:
        """Notes that a question is answered."""
        self._left.remove(question)
        self._bar.update(self._task, description=self._asked())
        if not self._console.is_terminal:
            seconds = timedelta(seconds=round(monotonic() - self._started))
            print(f"compared: {question}, {self._count - len(self._left)} of {self._count} after {seconds}", flush=True)

    def _asked(self) -> str:
        """They are asked in their order, so the first of those left are the ones under way."""
        asked: Sequence[str] = self._left[: self._at_once]
        return f"comparing: {some_of(asked, SHOWN)}" if asked else "compared"
