"""How little memory is enough."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def no_more_memory_than(megabytes: float) -> Iterator[None]:
    """Lets this process take only so much more memory for its own; files that it maps and shares do not count.

    More is a MemoryError, where it is asked for: nothing is missed that is soon given back.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    taken = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData"))
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (taken + round(megabytes * 1e6), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def anonymous() -> int:
    """Bytes of memory that this process has for its own: files that it maps do not count."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))
