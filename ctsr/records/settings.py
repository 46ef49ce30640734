"""Groups of keys: what each key takes, and a line for whatever is wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError

from ctsr.errors import NOT_UTF_8, CollectedError, as_typed

MANY = 8  # keys that are not all listed in a line
LONGEST = 80  # characters of a value that is told


class Settings(BaseModel):
    """A group of keys: it has no others, nothing is converted, nothing changes afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def changed(self, **values: Any) -> Self:
        """A copy with some values changed.

        Raises:
            CollectedError: They are not what their keys take.
        """
        return checked(type(self), self.model_dump(by_alias=True, exclude_unset=True) | values)

    def to_plain(self) -> dict[str, Any]:
        """The keys that were given, as they are typed, with lists for tuples: as YAML and checkpoints have them."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


Group = TypeVar("Group", bound=Settings)


@dataclass(frozen=True)
class Takes:
    """What a kind of value takes.

    Attributes:
        words: They follow "give".
    """

    words: str


@dataclass(frozen=True)
class Wording:
    """The lines that tell what is wrong: of a command line, unless other ones are given.

    Attributes:
        missing: With {key} and {words}, those of `Takes`.
        wrong: With {key}, {value} and {words}.
        place: What has no such key, where one at the top is unknown.
    """

    missing: str = "{key} is missing: give {words}"
    wrong: str = "{key}={value}: give {words}"
    place: str = "a run"


def takes(annotation: Any) -> str:
    """What a key of some type takes: the words of its kind, the allowed words, or the keys of a group."""
    return _listed(_alternatives(annotation))


def _listed(words: Collection[str]) -> str:
    *others, last = words
    comma = "," if last == "null" or any("," in word for word in words) else ""
    return f"{', '.join(others)}{comma} or {last}" if others else last


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
    group: type[Group],
    values: Any,
    wrong: dict[str, str],
    prefix: str = "",
    bare: Collection[str] = (),
    wording: Wording = Wording(),
) -> Group | None:
    """Read a group of keys.

    Args:
        group: What it must be.
        values: Key -> value, as composed.
        wrong: Dotted key -> line; what is wrong is added.
        prefix: Stands before the keys, as they are typed.
        bare: First keys that it does not stand before.
        wording: Of the lines.

    Returns:
        The group, or None if something is wrong.
    """
    try:
        return group.model_validate(values)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            first = one["loc"][0] if one["loc"] else None
            key, line = _told(group, values, one, "" if first in bare else prefix, wording)
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


def _told(group: type[Settings], values: Any, error: Any, prefix: str, wording: Wording) -> tuple[str, str]:
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
            return key, no_such_key(key, ".".join(keys[:-1]) or wording.place, keys_of(inner))
        annotation = hints[name]
        values = values.get(part) if isinstance(values, Mapping) else None
    key = ".".join(keys)
    if error["type"] == "missing" and len(keys) == len(error["loc"]) + bool(prefix):
        return key, wording.missing.format(key=key, words=takes(annotation))
    if error["type"] == "value_error" and group_in(annotation) is not None:
        return key, f"{key}: {error['ctx']['error']}" if key else str(error["ctx"]["error"])
    value = as_typed(values)
    value = value if len(value) <= LONGEST else f"{value[: LONGEST - 4]} ..."
    if error["type"] == "string_unicode":
        return key, f"{key}={value}: {NOT_UTF_8}"
    return key, wording.wrong.format(key=key, value=value, words=takes(annotation))


def group_in(annotation: Any) -> type[Settings] | None:
    """The group that a key holds, or may hold."""
    if get_origin(annotation) is Annotated:
        return group_in(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return next((found for one in get_args(annotation) if (found := group_in(one)) is not None), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, Settings) else None
