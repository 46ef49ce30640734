"""The command line as it is typed: the paths, texts and names in it are not Hydra's to read.

Hydra's grammar takes 1_1 for the number 11 and gives a meaning to commas, brackets, `=` and blanks. Values of keys that
hold paths, texts or names are put into quotes for it, and taken out of them where a command is shown again.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

_SWEEPS = ("-m", "--multirun", "hydra.mode=MULTIRUN")
_NONE = ("", "null")
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")  # as Hydra has it
_PIECE = re.compile(rf"\s*(?:{_QUOTED.pattern}|\[[^\]]*\])\s*(?=,|$)|[^,]*")
_KEY = re.compile(r"(?:\+{0,2}|~)[\w./@:-]+")
_OF_SHELLS = '"$`\\!'  # have a meaning in double quotes
_CHOICE = re.compile(r"(choice|range|interval|glob|sort|shuffle|tag)\(.*\)")  # Hydra's, for sweeps
_NUMBER = re.compile(r"[1-9]\d*(\.\d+)?")  # as people write them: what is no share is better told than a name
_INTERPOLATION = re.compile(r"\$\{.+\}")


@dataclass(frozen=True)
class AsTyped:
    """Keys whose values are taken as they are typed.

    Attributes:
        paths: Each holds a path, or a list of them: [a,b].
        texts: Each holds one text, such as the description of a series, whatever is in it.
        names: Each holds a name, or a list of them.
        shares: Each holds a number, or what `names` do.
    """

    paths: Collection[str]
    texts: Collection[str] = ()
    names: Collection[str] = ()
    shares: Collection[str] = ()

    def quoted(self, arguments: Sequence[str], sweep: bool = False) -> list[str]:
        """The arguments with such values in quotes, so that Hydra takes them as they are.

        What is in quotes already stays, and so do null and, in a path or a name, `${...}`; a path that is there is
        taken as it is in any case, and ~/ begins one below the user's home.

        Args:
            arguments: `key=value` and others.
            sweep: Commas part the values of a sweep: of paths, unless one with commas is there, and of names; of texts
                where all of them are in quotes.
        """
        return [self._quoted(argument, sweep) for argument in arguments]

    def unquoted(self, arguments: Sequence[str]) -> list[str]:
        """The arguments as they were before `quoted`."""
        bare = [_bare(argument) for argument in arguments]
        return [one if self._quoted(one, False) == kept else kept for one, kept in zip(bare, arguments, strict=True)]

    def _quoted(self, argument: str, sweep: bool) -> str:
        key, equals, value = argument.partition("=")
        name = key.lstrip("+")
        if not equals or (sweep and _CHOICE.fullmatch(value)):
            return argument
        if name in self.paths:
            alone = name.startswith("hydra.")  # a folder to be made, which no sweep can vary
            return f"{key}={_path(value) if alone else _each(value, sweep, _path, _path, _is_there)}"
        if name in self.names:
            return f"{key}={_each(value, sweep, _name, _name)}"
        if name in self.shares:
            return f"{key}={_each(value, sweep, _share, _name)}"
        if name in self.texts and not (
            sweep and all(piece in _NONE or _QUOTED.fullmatch(piece) for piece in pieces(value))
        ):
            return f"{key}={_text(value)}"
        return argument


def asks_for_sweep(arguments: Collection[str]) -> bool:
    """Whether a command line is one of a sweep."""
    return not set(_SWEEPS).isdisjoint(arguments)


def pieces(text: str, is_whole: Callable[[str], bool] = lambda piece: False) -> list[str]:
    """A text parted at its commas, but for those in quotes and brackets, and in what is to stay whole.

    Args:
        text: Such as `a,'b,c',[d,e]`.
        is_whole: Whether a part with commas is one piece.
    """
    parts = []
    start = 0
    while start <= len(text):
        match = _PIECE.match(text, start)
        assert match is not None  # it may be empty
        parts.append(match[0].strip())
        start = match.end() + 1
    found = []
    while parts:
        count = next((n for n in range(len(parts), 1, -1) if is_whole(",".join(parts[:n]))), 1)
        found.append(",".join(parts[:count]))
        parts = parts[count:]
    return found


def cure(argument: str) -> str:
    """What to do about an argument that Hydra's grammar cannot read."""
    key, equals, value = argument.partition("=")
    if not equals or not _KEY.fullmatch(key):
        return "give key=value"
    quoted = f"{key}={in_quotes(value)}"
    return "give " + (f'"{quoted}"' if set(quoted).isdisjoint(_OF_SHELLS) else shlex.quote(quoted))


def in_quotes(value: str) -> str:
    """A text as Hydra's grammar takes it, whatever is in it."""
    # Inside quotes Hydra gives a meaning to a quote, to ${, and to backslashes before these or at the end.
    escaped = re.sub(r"\\+(?='|\$\{|\Z)", lambda run: 2 * run[0], value).replace("'", "\\'").replace("${", "\\${")
    return f"'{escaped}'"


def out_of_quotes(value: str) -> str:
    """A value of an override, or each of its list, as it was typed."""
    if value.startswith("[") and value.endswith("]"):
        return f"[{','.join(map(out_of_quotes, pieces(value[1:-1])))}]"
    if not (value.startswith("'") and _QUOTED.fullmatch(value)):
        return value
    return re.sub(r"(\\+)('|\$\{|\Z)", lambda run: "\\" * (len(run[1]) // 2) + run[2], value[1:-1])


def _bare(argument: str) -> str:
    key, equals, value = argument.partition("=")
    return f"{key}{equals}{out_of_quotes(value)}"


def _each(
    value: str,
    sweep: bool,
    single: Callable[[str], str],
    member: Callable[[str], str],
    is_whole: Callable[[str], bool] = lambda piece: False,
) -> str:
    """A value, or each of a sweep, in quotes; of a list each member."""
    if sweep and not is_whole(value):
        return ",".join(_each(piece, False, single, member, is_whole) for piece in pieces(value, is_whole))
    if value.startswith("[") and value.endswith("]") and not is_whole(value):
        return f"[{','.join(map(member, pieces(value[1:-1], is_whole)))}]"
    return single(value)


def _is_there(path: str) -> bool:
    try:
        return path != "" and Path(path).exists()
    except OSError:  # such as a name that is too long
        return False


def _path(value: str) -> str:
    if _is_there(value):
        return in_quotes(value)
    return _name(str(Path(value).expanduser()) if value.startswith("~/") else value)  # which shells leave after a =


def _name(value: str) -> str:
    text = _text(value)
    return text.replace("\\${", "${") if text != value and _INTERPOLATION.search(value) else text


def _share(value: str) -> str:
    try:
        is_number = bool(_NUMBER.fullmatch(value)) or ("_" not in value and float(value) < 1)
    except ValueError:
        is_number = False
    return value if is_number else _name(value)


def _text(value: str) -> str:
    return value if _is_quoted(value) else in_quotes(value)


def _is_quoted(value: str) -> bool:
    return value in _NONE or bool(_QUOTED.fullmatch(value))
