"""Kinds of values that settings have. Each says what it takes, in the words that an error uses: "give ..."."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, ValidationError

from ctsr.errors import CollectedError, as_typed
from ctsr.imaging.voxel_size import LARGEST_MM


class Settings(BaseModel):
    """A group of keys: it has no others, nothing is converted, nothing changes afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def changed(self, **values: Any) -> Self:
        """A copy with some values changed.

        Raises:
            CollectedError: They are not what their keys take.
        """
        return checked(type(self), self.model_dump(by_alias=True) | values)


MANY = 8  # keys that are not all listed in a line

Group = TypeVar("Group", bound=Settings)


@dataclass(frozen=True)
class Takes:
    """What a kind of value takes.

    Attributes:
        words: They follow "give".
    """

    words: str


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("even")
    return value


def _rising(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    if pair[0] > pair[1]:
        raise ValueError("falling")
    return pair


def _apart(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    if pair[0] == pair[1]:
        raise ValueError("equal")
    return pair


Number = int | float  # never made a float: a prepared case's key is the text of its numbers
AsList = Strict(False)  # YAML has lists, settings that do not change have tuples

Flag = Annotated[bool, Takes("true or false")]
Text = Annotated[str, Field(min_length=1), Takes("a text")]
Name = Annotated[Text | int | float, Takes("a name")]  # of a series, a patient or a case, which may be a number
PathText = Annotated[str, Field(min_length=1), Takes("a path")]

Positive = Annotated[Number, Field(gt=0), Takes("a number above 0")]
NotNegative = Annotated[Number, Field(ge=0), Takes("a number, 0 or more")]
Share = Annotated[Number, Field(ge=0, le=1), Takes("a share, 0 to 1")]
LessThanAll = Annotated[Number, Field(ge=0, lt=1), Takes("a share, 0 to less than 1")]

Count = Annotated[int, Field(ge=1), Takes("a whole number, 1 or more")]
Whole = Annotated[int, Field(ge=0), Takes("a whole number, 0 or more")]
Odd = Annotated[int, Field(ge=1), AfterValidator(_odd), Takes("an odd whole number, 1 or more")]
Seed = Annotated[int, Field(ge=0, lt=2**32), Takes("a whole number, 0 to 4294967295")]

Millimetres = Annotated[Number, Field(gt=0, le=LARGEST_MM), Takes(f"mm, above 0 to {LARGEST_MM:g}")]
VoxelSize = Annotated[
    Millimetres | Annotated[tuple[Millimetres, Millimetres, Millimetres], AsList],
    Takes(f"mm, above 0 to {LARGEST_MM:g}: one number, or [z,y,x]"),
]

_Two = Annotated[tuple[Number, Number], AsList]
Factors = Annotated[
    tuple[NotNegative, NotNegative],
    AsList,
    AfterValidator(_rising),
    Takes("the least and the largest factor, such as [1, 3]"),
]
Range = Annotated[
    tuple[NotNegative, NotNegative],
    AsList,
    AfterValidator(_rising),
    Takes("two numbers, 0 or more, the smaller first"),
]
PositiveRange = Annotated[
    tuple[Positive, Positive], AsList, AfterValidator(_rising), Takes("two numbers above 0, the smaller first")
]
Shares = Annotated[tuple[Share, Share], AsList, AfterValidator(_rising), Takes("two shares, 0 to 1, the smaller first")]
Window = Annotated[
    _Two, AfterValidator(_rising), AfterValidator(_apart), Takes("two HU, the lower first, such as [-1000, 100]")
]
Materials = Annotated[
    _Two, AfterValidator(_rising), AfterValidator(_apart), Takes("HU of air and of tissue: [-1000, 45]")
]
_Percentile = Annotated[Number, Field(ge=0, le=100)]
Percentiles = Annotated[
    tuple[_Percentile, _Percentile],
    AsList,
    AfterValidator(_rising),
    AfterValidator(_apart),
    Takes("two percentiles, 0 to 100, the lower first, such as [0.5, 99.5]"),
]
Betas = Annotated[tuple[LessThanAll, LessThanAll], AsList, Takes("two shares, 0 to less than 1, such as [0.5, 0.999]")]


def takes(annotation: Any) -> str:
    """What a key of some type takes: the words of its kind, the allowed words, or the keys of a group."""
    return _listed(_alternatives(annotation))


def _listed(words: Collection[str]) -> str:
    *others, last = words
    return f"{', '.join(others)}{', or' if last == 'null' else ' or'} {last}" if others else last


def _alternatives(annotation: Any) -> list[str]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        told = [part.words for part in inner[1:] if isinstance(part, Takes)]
        return told or _alternatives(inner[0])
    if origin is Literal:
        return [as_typed(word) for word in inner]
    if origin in (Union, UnionType):
        return [words for one in inner for words in _alternatives(one)]
    if annotation is type(None):
        return ["null"]
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [f"a group of keys: {', '.join(keys_of(annotation))}"]
    raise TypeError(f"{annotation} does not say what it takes")


def keys_of(group: type[Settings]) -> list[str]:
    """The keys of a group, as they are typed."""
    return [field.alias or name for name, field in group.model_fields.items()]


def no_such_key(key: str, place: str, keys: Collection[str]) -> str:
    """The line of a key that there is not, with those of `keys`, which there are, that may be meant."""
    near = get_close_matches(key.rpartition(".")[2], keys, 1)
    cure = f"did you mean {near[0]}?" if near else f"it has {', '.join(keys)}" if len(keys) < MANY else "leave it out"
    return f"{key}: {place} has no such key: {cure}"


def read(
    group: type[Group], values: Any, wrong: dict[str, str], prefix: str = "", bare: Collection[str] = ()
) -> Group | None:
    """Read a group of keys.

    Args:
        group: What it must be.
        values: Key -> value, as composed.
        wrong: Dotted key -> line; what is wrong is added.
        prefix: Stands before the keys, as they are typed.
        bare: First keys that it does not stand before.

    Returns:
        The group, or None if something is wrong.
    """
    try:
        return group.model_validate(values)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            first = one["loc"][0] if one["loc"] else None
            key, line = _told(group, values, one, "" if first in bare else prefix)
            wrong.setdefault(key, line)
        return None


def checked(group: type[Group], values: Mapping[str, Any], prefix: str = "") -> Group:
    """`read`, where all is to be right.

    Raises:
        CollectedError: Something is not: a line for each key.
    """
    wrong: dict[str, str] = {}
    if (made := read(group, values, wrong, prefix)) is None:
        raise CollectedError(list(wrong.values()))
    return made


def _told(group: type[Settings], values: Any, error: Any, prefix: str) -> tuple[str, str]:
    """The dotted key that an error of pydantic's is about, and the line that tells it."""
    keys = [prefix] if prefix else []
    annotation: Any = group
    for part in error["loc"]:
        inner = group_in(annotation)
        if inner is None:
            break  # what follows are members of a union, or places in a list: the key is told as a whole
        hints = get_type_hints(inner, include_extras=True)
        name = next((name for name, field in inner.model_fields.items() if part in (name, field.alias)), None)
        keys.append(str(part))
        if name is None:
            key = ".".join(keys)
            return key, no_such_key(key, ".".join(keys[:-1]) or "a run", keys_of(inner))
        annotation = hints[name]
        values = values.get(part) if isinstance(values, Mapping) else None
    key = ".".join(keys)
    if error["type"] == "missing" and len(keys) == len(error["loc"]) + bool(prefix):
        return key, f"{key} is missing: give {takes(annotation)}"
    if error["type"] == "value_error" and group_in(annotation) is not None:
        return key, f"{key}: {error['ctx']['error']}"
    return key, f"{key}={as_typed(values)}: give {takes(annotation)}"


def group_in(annotation: Any) -> type[Settings] | None:
    """The group that a key holds, or may hold."""
    if get_origin(annotation) is Annotated:
        return group_in(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return next((found for one in get_args(annotation) if (found := group_in(one)) is not None), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, Settings) else None
