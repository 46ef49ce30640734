"""Mistakes that a user can mend, warnings, and what ends a training early, told in one line."""

import sys
from collections.abc import Sequence
from functools import cache
from signal import Signals

NOT_UTF_8 = (
    "the name is not written in UTF-8: rename it"
    if sys.getfilesystemencoding() == "utf-8"
    else "the locale is not UTF-8: set PYTHONUTF8=1"
)


class UserError(Exception):
    """A mistake in the input or the configuration.

    The message is one line: it names the file, key or case and says what to do. The command-line programs print it
    without a traceback and exit with a non-zero code.
    """


class CollectedError(UserError):
    """Several mistakes, found in one look.

    Attributes:
        problems: A line for each; the programs print each on a line of its own.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


class Stopped(Exception):  # noqa: N818 - not an error
    """A signal ended the run; everything is saved.

    Attributes:
        code: The exit code of this process.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Interrupted(BaseException):  # no library takes it for an error, and goes on
    """A signal that ends the program.

    Attributes:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def signal_of(stop: Interrupted | KeyboardInterrupt) -> Signals:
    """The signal that ends the program; Ctrl-C is raised by Python itself where nobody else does."""
    return Signals(stop.number) if isinstance(stop, Interrupted) else Signals.SIGINT


class Collapsed(Exception):  # noqa: N818 - a state, as it is told
    """The training has gone wrong; the message says how, and in which batch."""


def one_line(text: object) -> str:
    """A text with a blank in place of each line break and the blanks around it; others stay, as those of a path."""
    return " ".join(line.strip() for line in str(text).splitlines() if line.strip())


def warn(message: str) -> None:
    """Tell, on standard error, what goes on but should be known."""
    print(f"warning: {message}", file=sys.stderr)


def as_typed(value: object) -> str:
    """A value as it is typed on a command line: null, true, [1, 2]."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_typed, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def some_of(names: Sequence[object], most: int) -> str:
    """The first names of a list, with dots where there are more."""
    return ", ".join(map(str, names[:most])) + (", ..." if len(names) > most else "")


@cache
def warn_once(message: str) -> None:
    """`warn`, once in a process, of what is come upon again in each stage."""
    warn(message)
