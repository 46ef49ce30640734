"""Folders of slices, one a file, in formats that hold no third dimension: what TIFF and pictures share.

Which files are the slices of one stack, and their order, is told by numbers or letters in their names.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median_low
from string import ascii_lowercase
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ctsr.errors import UserError, one_line, warn_once
from ctsr.imaging.formats.content import check_content
from ctsr.imaging.formats.recognise import full_and_hollow, suffix
from ctsr.imaging.storage import Allocate, filled
from ctsr.imaging.volume import Array

_SHOWN = 5  # of a list


class Slice(Protocol):
    """One file's image, open."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(y, x), as its header has it."""

    def greys(self) -> Array:
        """Its pixels."""


Opened = Callable[[Path], AbstractContextManager[Slice]]


def slice_files(folder: Path, is_slice: Callable[[Path], bool]) -> list[Path]:
    """A folder's files of one format, after making sure that none of its slices lacks its content.

    Raises:
        UserError: A file that is named like the slices is a link to nothing, empty, or was not fetched.
    """
    full, hollow = full_and_hollow(folder)
    files = [file for file in full if is_slice(file)]
    check_content(named_like(files, [file for file in hollow if is_slice(file)]))
    return files


def check_alike(files: Sequence[Path], opened: Opened) -> None:
    """Make sure, by their headers, that slices are of one size.

    Raises:
        UserError: One has another size than the first, or is damaged.
    """
    shapes: set[tuple[int, ...]] = set()
    for file in files:
        with opened(file) as image:
            shapes.add(image.shape)
            if len(shapes) > 1:
                raise UserError(f"{file} is {image.shape}, unlike {files[0].name}: keep one volume's slices")


def stacked(files: Sequence[Path], opened: Opened, allocate: Allocate) -> Array:
    """The slices of files, in their order, as (z, y, x).

    Raises:
        UserError: One has another number type than the first, or is damaged.
    """
    return filled(len(files), _pages(files, opened), allocate)


def _pages(files: Sequence[Path], opened: Opened) -> Iterator[Array]:
    kind = None
    for file in files:
        with opened(file) as image:
            page = image.greys()
        kind = kind or page.dtype
        if page.dtype != kind:
            raise UserError(f"{file} is {page.dtype}, unlike {files[0].name}, {kind}: keep one volume's slices")
        yield page[None]


def plain(array: Array) -> Array:
    """Whole numbers in this machine's byte order, yes and no as 1 and 0, and all others as float32."""
    if array.dtype.kind in "iu":
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    return array.astype(np.uint8 if array.dtype.kind == "b" else np.float32, copy=False)


def one_grey(file: Path, samples: Array, colours: int) -> Array:
    """The greys of an image with several values a pixel, of which the colours are all the same grey.

    Args:
        file: Whose, for the error.
        samples: (..., colours and alpha).
        colours: 1 or 3; what comes after them is alpha.

    Raises:
        UserError: It is coloured, or in parts transparent.
    """
    grey = samples[..., 0]
    if not all(np.array_equal(grey, samples[..., colour]) for colour in range(1, colours)):
        raise UserError(f"{file} is a colour image: save it in greys of 8 or 16 bit")
    if any(np.ptp(samples[..., alpha]) for alpha in range(colours, samples.shape[-1])):
        raise UserError(f"{file} is transparent in parts: save it without its alpha channel")
    return np.ascontiguousarray(grey)


def palette_greys(file: Path, indices: Array, palette: npt.NDArray[np.uint8]) -> Array:
    """The greys of an image that holds places in a palette.

    Args:
        file: Whose, for the error.
        indices: (y, x).
        palette: (n, 3), red, green and blue of each place.

    Raises:
        UserError: The palette has colours in places that are used.
    """
    greys: Array = one_grey(file, palette[indices], colours=3)
    return greys


def reason(error: Exception) -> str:
    """What a library says about a damaged file, in one line; the error's kind where it says nothing."""
    return one_line(error) or type(error).__name__


def unreadable(file: Path, what: str, error: Exception) -> UserError:
    """The error of a file that a library cannot read: since it may not be opened, or since it is what is said."""
    if isinstance(error, PermissionError):
        return UserError(f"{file} cannot be opened: {error.strerror}")
    return UserError(f"{file} {what}: {reason(error)}")


@dataclass(frozen=True)
class Stack:
    """The slices of a folder, from the first to the last.

    Attributes:
        files: One a slice.
        step: What the numbers in their names go up by; None: there are none.
    """

    files: list[Path]
    step: int | None = None


def find_stack(files: Sequence[Path]) -> Stack:
    """Find the stack, and make sure that no slice is missing.

    Slices have names that differ in a number only, or in one letter of a, b, c, ... What is not named like them, such
    as a preview, is passed over with a warning. A single file is a stack of one slice.

    Args:
        files: Of one folder, slice2 before slice10.

    Raises:
        UserError: There are two stacks, or names of no common pattern, or two of one number, or numbers are missing.
    """
    stacks = [group for group in alike(files) if len(group) > 1]
    if not stacks and (len(files) == 1 or _is_lettered(files)):
        return Stack(sorted(files, key=lambda file: file.name.casefold()))
    if not stacks:
        raise _of_no_common_name(files)
    if len(stacks) > 1:
        names = shortened([f"{stack[0].name} to {stack[-1].name}" for stack in stacks])
        raise UserError(f"{files[0].parent} holds several stacks, {names}: give each a folder of its own")
    numbered = sorted(zip(_slice_numbers(stacks[0]), stacks[0], strict=True))
    step = _step(numbered)
    others = sorted(set(files).difference(stacks[0]))
    if len(others) >= len(stacks[0]):
        raise _of_no_common_name(others)
    if others:
        names = shortened([file.name for file in others])
        warn_once(f"{files[0].parent}: passed over, since not named like the slices: {names}")
    return Stack([file for _, file in numbered], step)


def alike(files: Sequence[Path]) -> list[list[Path]]:
    """The files in groups whose names differ in their numbers only."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        groups[re.sub(r"\d+", "0", file.name.casefold())].append(file)
    return list(groups.values())


def named_like(slices: Sequence[Path], others: Iterable[Path]) -> list[Path]:
    """Those of the other files of a folder whose names make them slices of the same stack."""
    others = list(others)
    if _is_lettered([*slices, *others]):
        return others
    return [
        file
        for group in alike([*slices, *others])
        if not set(group).isdisjoint(slices)
        for file in group
        if file in others
    ]


def ending_like(slices: Iterable[Path], others: Iterable[Path]) -> list[Path]:
    """Those of the other files of a folder whose names end as those of slices, which may else be called anything.

    Where slices have no ending, but numbers, what has neither is none of them.
    """
    endings = {_ending(file) for file in slices}
    return [file for file in others if _ending(file) in endings]


def _ending(file: Path) -> tuple[str, bool]:
    """The ending, or whether there is a number in a name without; what ends a UID or a date is no ending."""
    ending = suffix(file) or (file.suffix.lower() if re.match(r"\.[a-zA-Z]", file.suffix) else "")
    return ending, not ending and any(letter.isdigit() for letter in file.name)


def shortened(items: Sequence[object]) -> str:
    """A list as text, its end left out where it is long."""
    text = ", ".join(map(str, items[:_SHOWN]))
    return text if len(items) <= _SHOWN else f"{text} ... ({len(items)} in all)"


def _is_lettered(files: Sequence[Path]) -> bool:
    """Whether names are the same but for one letter, and these letters follow each other."""
    names = [file.name.casefold() for file in files]
    differing = [set(letters) for letters in zip(*names, strict=False) if len(set(letters)) > 1]
    if len({len(name) for name in names}) > 1 or len(differing) != 1:
        return False
    letters = "".join(sorted(differing[0]))
    return len(letters) == len(names) and letters in ascii_lowercase


def _of_no_common_name(files: Sequence[Path]) -> UserError:
    return UserError(
        f"{files[0].parent} holds slices of no common name, such as {shortened([file.name for file in files])}: "
        "number those of one volume alike, and give each volume a folder of its own"
    )


def _slice_numbers(files: Sequence[Path]) -> Sequence[int]:
    """The number of each slice: of the numbers in its name, the one that no other slice has."""
    places = list(zip(*([int(digits) for digits in re.findall(r"\d+", file.name)] for file in files), strict=True))
    counting = [place for place in places if len(set(place)) == len(files)]
    orders = {tuple(sorted(range(len(files)), key=place.__getitem__)) for place in counting}
    if len(orders) != 1:
        names = f"{files[0].parent}: {files[0].name} to {files[-1].name}"
        what = "differ in several numbers that" if counting else "have no number in their names that"
        ends = "count another way each" if counting else "is another in each"
        raise UserError(f"{names} {what} {ends}: give each stack a folder of its own, its slices numbered once")
    return min(counting, key=lambda place: len(set(_steps(sorted(place)))))  # a time of day beside it counts unevenly


def _step(numbered: Sequence[tuple[int, Path]]) -> int:
    """What the numbers go up by, after making sure that it is the same everywhere."""
    numbers = [number for number, _ in numbered]
    steps = _steps(numbers)
    usual = median_low(steps)
    if len(set(steps)) == 1 or (min(steps) > 1 and max(steps) - min(steps) == 1):  # or positions, rounded
        return usual
    usual = usual if all(step % usual == 0 for step in steps) else min(steps)
    missing = [n for number, step in zip(numbers, steps, strict=False) for n in range(number, number + step, usual)[1:]]
    before = next(file for (_, file), step in zip(numbered, steps, strict=False) if step != usual)
    raise UserError(
        f"{before.parent} lacks slices, the first after {before.name}: the numbers in the names go up by {usual}, "
        f"but {shortened(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    )


def _steps(numbers: Sequence[int]) -> list[int]:
    return [after - before for before, after in pairwise(numbers)]
