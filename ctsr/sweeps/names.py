"""What the jobs of a sweep are called: by what differs between them, in names that every file system takes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile

LONGEST = 120  # bytes of a name, to which a job's number may be added; W&B takes 128 characters
_AROUND = " /[](){}'\""
_ODD = re.compile(r"[^\w.,+=-]+")


def folder_names(jobs: Sequence[Mapping[str, str]]) -> list[str]:
    """A name for the folder of each job, such as "loss.lambda1=0.1,seed=2"; no two are the same.

    Args:
        jobs: The overrides of each: key -> value, as typed.

    Returns:
        Keys with the values that are not the same in all jobs; of paths the parts that differ. Long ones are cut. The
        job's number is added where a name would be another's, and stands alone where nothing differs.
    """
    short = {key: shortened(values) for key, values in differing(jobs).items()}
    full = [",".join(f"{key}={_plain(short[key][job.get(key, '')])}" for key in short) for job in jobs]
    names = [name.encode()[:LONGEST].decode(errors="ignore") for name in full]
    times = Counter(name.casefold() for name in names)  # some file systems do not tell a from A
    return [
        name if name and times[name.casefold()] == 1 else f"{name},job={number}".lstrip(",")
        for number, name in enumerate(names)
    ]


def _plain(value: str) -> str:
    return _ODD.sub("-", value.strip(_AROUND))


def differing(jobs: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    """The keys that do not have the same value in all jobs, and their values in the order of the jobs."""
    jobs = list(jobs)
    keys = dict.fromkeys(key for job in jobs for key in job)
    values = {key: list(dict.fromkeys(job.get(key, "") for job in jobs)) for key in keys}
    return {key: different for key, different in values.items() if len(different) > 1}


def shortened(values: Iterable[str]) -> dict[str, str]:
    """Values, each with the part that tells it from the others: of a/g1/last.ckpt and a/g2/last.ckpt g1 and g2."""
    values = list(values)
    parts = {value: value.split("/") for value in values}
    spare = min(map(len, parts.values())) - 1  # one part of each stays
    head = _alike(parts.values(), spare)
    tail = _alike([part[::-1] for part in parts.values()], spare - head)
    return {value: "/".join(part[head : len(part) - tail]) for value, part in parts.items()}


def _alike(lists: Iterable[Sequence[str]], most: int) -> int:
    """How many first members all lists have in common."""
    together = zip(*lists, strict=False)
    return min(most, sum(1 for _ in takewhile(lambda members: len(set(members)) == 1, together)))
