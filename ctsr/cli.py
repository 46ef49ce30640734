"""The edge between the programs and the terminal: a user's mistake is one line, a bug keeps its traceback."""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from traceback import walk_tb
from typing import Any

from ctsr.arguments import cure
from ctsr.errors import NOT_UTF_8, CollectedError, Interrupted, UserError, one_line, signal_of

MISTAKE = 2  # exit code of a user's mistake
# Threads of OpenMP that wait for each other soon leave the core to other processes: without it, a run beside a busy
# process takes about twice as long, and without any spinning it is slower alone: `python -m benchmarks.beside`.
BRIEF_WAIT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "5000"}
NOBODY_READS = 128 + signal.SIGPIPE  # exit code where a reader, such as `head`, has had enough
STOPS = (signal.SIGINT, signal.SIGTERM)
_CONFIGURATION = ("hydra", "omegaconf")
_ASKED = {"lightning": "trainer", "wandb": "logger"}  # libraries whose errors are about what they were given -> the key
_CURES = {
    errno.ENOSPC: "free some, or choose another place",
    errno.EDQUOT: "free some, or choose another place",
    errno.EROFS: "choose another place",
    errno.EACCES: "choose another place, or get the right to this one",
    errno.EPERM: "choose another place, or get the right to this one",
    errno.ENAMETOOLONG: "choose a shorter one",
    errno.EMFILE: "raise the limit: ulimit -n 4096",
}


def run_cli(program: Callable[[], int | None]) -> int:
    """Runs a program and returns its exit code.

    A text that the terminal cannot show is written with escapes.

    Args:
        program: Does the work, and returns the exit code if it is not 0. A `UserError`, and errors of the operating
            system, of memory and of libraries about what they were given, become one line on standard error. Anything
            else is a bug and passes through.

    Returns:
        The program's, 2 after such an error, 141 where nobody reads standard output to its end, or 128 and the number
        of the signal that stopped it: 130 for Ctrl-C, 143 for SIGTERM.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # let errors reach us instead of being printed over many lines
    if not BRIEF_WAIT.keys() & os.environ.keys():
        os.environ |= BRIEF_WAIT  # read when torch is loaded
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by >&-
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for as long as we run
        if isinstance(stream := getattr(sys, name), TextIOWrapper):  # not where a test, or a notebook, has put another
            stream.reconfigure(errors="backslashreplace")
    try:
        _check_here()
        with _interrupted_by(*STOPS):
            code = program()
            sys.stdout.flush()  # what a closed pipe does not take fails here, not at the interpreter's end
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return NOBODY_READS
    except (Interrupted, KeyboardInterrupt) as stop:
        number = signal_of(stop)
        print(f"stopped by {number.name}: unfinished files are removed", file=sys.stderr)
        return 128 + number
    except Exception as error:
        mistake = _mistake(error)
        if mistake is None:
            raise
        for line in mistake:
            print(f"error: {line}", file=sys.stderr)
        return MISTAKE
    return code or 0


def _check_here() -> None:
    """Make sure that the working directory is there."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise UserError("the working directory was removed: go to another") from error


@contextmanager
def _interrupted_by(*numbers: signal.Signals) -> Iterator[None]:
    """Signals that would end the process at once raise `Interrupted` in the main thread, so that files are removed."""
    process = os.getpid()

    def interrupt(number: int, frame: object) -> None:
        if os.getpid() == process:
            raise Interrupted(number)
        signal.signal(number, signal.SIG_DFL)  # in a process that this one has forked
        os.kill(os.getpid(), number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        usual = (signal.SIG_DFL, signal.default_int_handler)
        before = {number: handler for number in numbers if (handler := signal.getsignal(number)) in usual}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _nobody_reads() -> bool:
    """Whether standard output is a pipe that was closed; then what is left to be written is let go."""
    end = select.poll()
    end.register(sys.stdout.fileno(), 0)
    if not any(event & select.POLLERR for _, event in end.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _mistake(error: Exception) -> list[str] | None:
    """A line for each mistake, or None for a bug."""
    if isinstance(error, CollectedError):
        return [one_line(problem) for problem in error.problems]
    if isinstance(error, UserError):
        return [one_line(error)]
    if _library(error) in _CONFIGURATION:
        return [_told_by_configuration(error)]
    if isinstance(error, OSError):
        return [_told_by_system(error)]
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU
        return [f"out of memory: {one_line(error) or 'ask for less at once, or for a machine with more'}"]
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:  # of a file's name, as Python holds it
        return [f"{one_line(error.object)}: {NOT_UTF_8}"]
    of_a_bug = type(error).__module__ == "builtins" and not isinstance(error, ValueError | RuntimeError)
    if (key := _ASKED.get(_library(error))) is not None and not of_a_bug:
        return [f"{key}: {one_line(error)}"]
    return None


def _told_by_system(error: OSError) -> str:
    if error.errno is None:  # a library's: NumPy's, of a disk that took a part of an array
        return one_line(error) + (": is the disk full?" if "written" in str(error) else "")
    where = "" if error.filename is None else f"{error.filename}: "
    return f"{where}{error.strerror}" + (f": {_CURES[error.errno]}" if error.errno in _CURES else "")


def _library(error: BaseException) -> str:
    """Whose error it is: the package of its class, or, where that is of a common kind, the one that raised it."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    module = type(error).__module__
    if module == "builtins" and frames:
        module = frames[-1].f_globals["__name__"]
    return module.partition(".")[0]


def _told_by_configuration(error: BaseException) -> str:
    if (argument := getattr(error, "override", None)) is not None:  # that its grammar cannot read
        return f"{argument} cannot be read: {cure(argument)}"
    text = _of_library(error)
    if text.startswith("Config group override must be"):
        return "a group of keys, such as method or logger, takes a name and not null: leave it out"
    if (key := getattr(error, "full_key", None)) and "nterpolation" in type(error).__name__:
        return f"{key}: {text}"
    cause = error.__cause__  # Hydra says which override, OmegaConf what is wrong with it
    reason = _of_library(cause) if cause is not None and _library(cause) in _CONFIGURATION else ""
    return text if reason in text else f"{text} {reason}"


def _of_library(error: BaseException) -> str:
    text = re.sub(r" To append to your config use \S+", "", one_line(error))  # a misspelled key is not to be added
    return re.split(r" full_key:| Config search path:", text)[0]
