"""The edge between the programs and the terminal: a user's mistake is one line, a bug keeps its traceback."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from traceback import walk_tb

from ctsr.errors import CollectedError, UserError, one_line

MISTAKE = 2  # exit code of a user's mistake
# Threads of OpenMP that wait for each other soon leave the core to other processes: without it, a run beside a busy
# process takes about twice as long, and without any spinning it is slower alone: `python -m benchmarks.beside`.
BRIEF_WAIT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "5000"}
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")  # as Hydra has it
NOBODY_READS = 128 + signal.SIGPIPE  # exit code where a reader, such as `head`, has had enough


def run_cli(program: Callable[[], object]) -> int:
    """Runs a program and returns its exit code.

    Args:
        program: Does the work; a `UserError`, or an error of the configuration library (recognised by its module's
            name), becomes one line on standard error. Anything else is a bug and passes through.

    Returns:
        0, 2 after a user's mistake, or 141 where nobody reads standard output to its end.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # let errors reach us instead of being printed over many lines
    if not BRIEF_WAIT.keys() & os.environ.keys():
        os.environ |= BRIEF_WAIT  # read when torch is loaded
    try:
        program()
        sys.stdout.flush()  # what a closed pipe does not take fails here, not at the interpreter's end
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return NOBODY_READS
    except Exception as error:
        mistake = _mistake(error)
        if mistake is None:
            raise
        for line in mistake:
            print(f"error: {line}", file=sys.stderr)
        return MISTAKE
    return 0


def _nobody_reads() -> bool:
    """Whether standard output is a pipe that was closed; then what is left to be written is let go."""
    end = select.poll()
    end.register(sys.stdout.fileno(), 0)
    if not any(event & select.POLLERR for _, event in end.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def quoted(
    arguments: Sequence[str], keys: Collection[str], existing: bool = False, texts: Collection[str] = ()
) -> list[str]:
    """The command line with the values of some keys quoted, so that Hydra takes any real path or text as it is.

    Args:
        arguments: `key=value` and others.
        keys: Those whose values are paths, or lists of them: [a,b], without commas in a path.
        existing: Quote only paths that are there; other values, such as a sweep's list, keep their meaning.
        texts: Keys whose values are texts, such as the description of a series; what is quoted already, and null, stay.
    """
    return [_quoted(argument, keys, existing, texts) for argument in arguments]


def _quoted(argument: str, keys: Collection[str], existing: bool, texts: Collection[str]) -> str:
    key, equals, value = argument.partition("=")
    if key in texts and value not in ("", "null") and not _QUOTED.fullmatch(value):
        return f"{key}={in_quotes(value)}"
    if key not in keys or not equals or (existing and not (value and Path(value).exists())):
        return argument
    if value.startswith("[") and value.endswith("]") and not Path(value).exists():
        return f"{key}=[{','.join(map(in_quotes, value[1:-1].split(',')))}]"
    return f"{key}={in_quotes(value)}"


def unquoted(arguments: Sequence[str], keys: Collection[str]) -> list[str]:
    """The command line as it was before `quoted`."""
    return [_unquoted(argument, keys) for argument in arguments]


def _unquoted(argument: str, keys: Collection[str]) -> str:
    key, _, value = argument.partition("=")
    if key not in keys or not (value.startswith("'") and _QUOTED.fullmatch(value)):
        return argument
    halved = re.sub(r"(\\+)('|\$\{|\Z)", lambda run: "\\" * (len(run[1]) // 2) + run[2], value[1:-1])
    return argument if halved in ("", "null") else f"{key}={halved}"


def in_quotes(value: str) -> str:
    """A text as Hydra's grammar takes it, whatever is in it."""
    # Inside quotes Hydra gives a meaning to a quote, to ${, and to backslashes before these or at the end.
    escaped = re.sub(r"\\+(?='|\$\{|\Z)", lambda run: 2 * run[0], value).replace("'", "\\'").replace("${", "\\${")
    return f"'{escaped}'"


def _mistake(error: BaseException) -> list[str] | None:
    """A line for each mistake, or None for a bug."""
    if isinstance(error, CollectedError):
        return [one_line(problem) for problem in error.problems]
    if isinstance(error, UserError):
        return [one_line(error)]
    if _of_configuration(error):
        cause = error.__cause__  # Hydra says which override, OmegaConf what is wrong with it
        reason = f" {_of_library(cause)}" if cause is not None and _of_configuration(cause) else ""
        return [_of_library(error) + ("" if reason.strip() in _of_library(error) else reason)]
    return None


def _of_configuration(error: BaseException) -> bool:
    """Whether it is of the configuration libraries, or of a common kind but raised by one: `stage=null`."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    raised_in = [frames[-1].f_globals["__name__"]] if frames else []
    return any(name.partition(".")[0] in ("hydra", "omegaconf") for name in [type(error).__module__, *raised_in])


def _of_library(error: BaseException) -> str:
    text = re.sub(r" To append to your config use \S+", "", one_line(error))  # a misspelled key is not to be added
    return re.split(r" full_key:| Config search path:", text)[0]
