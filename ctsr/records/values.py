"""Kinds of values that keys take, each with its range or unit, in the words that follow "give"."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator, Strict

from ctsr.imaging.formats.voxel_size import LARGEST_MM
from ctsr.imaging.kernel.measured import Measured
from ctsr.records.settings import Takes


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


def _measured(plain: Any) -> Measured:
    if isinstance(plain, Measured):
        return plain
    try:
        measured = Measured.from_plain(plain)
    except (KeyError, TypeError) as error:
        raise ValueError("no profiles and spectrum") from error
    if not all(np.isfinite(of.total).all() for of in (measured.wall, measured.skin)):
        raise ValueError("profiles that are not finite")
    return measured


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Number = int | float  # never made a float: a prepared case's key is the text of its numbers
AsList = Strict(False)  # YAML has lists, settings that do not change have tuples

Flag = Annotated[bool, Takes("true or false")]
Text = Annotated[str, Field(min_length=1), Takes("a text")]
AsText = BeforeValidator(_as_text)  # what looks like a number is one to YAML
Name = Annotated[str, AsText, Field(min_length=1), Takes("a name")]  # of a series, a patient or a case
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
GreyRange = Annotated[_Two, AfterValidator(_rising), AfterValidator(_apart), Takes("two greys, the lower first")]
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

KernelFacts = Annotated[
    Measured,
    PlainValidator(_measured),
    PlainSerializer(Measured.to_plain),
    Takes("profiles of wall and skin, and the spectrum of the lung"),
]
