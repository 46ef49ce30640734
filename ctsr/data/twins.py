"""One scan given twice: under two names, in two parts or both domains, as a copy, or in another file format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def twins(marks: Mapping[str, Sequence[str]]) -> str | None:
    """What to tell of scans that are one and the same; None: each is another.

    Args:
        marks: A scan's name to what tells it, any of them alone: where it lies, hashes of its files and its voxels.
    """
    first: dict[str, str] = {}
    pairs = {}
    for name, own in marks.items():
        twin = next((first[mark] for mark in own if mark in first), None)
        if twin is not None:
            pairs[name] = twin
        for mark in own:
            first.setdefault(mark, name)
    if not pairs:
        return None
    name, twin = next(iter(pairs.items()))
    more = f"; so are {len(pairs) - 1} more" if len(pairs) > 1 else ""
    return f"{twin} and {name} are the same scan{more}: give each scan once"
