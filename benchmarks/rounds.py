"""Contenders that take turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

Work = Callable[[], int]  # does some work and returns how many items it did


def rates(contenders: Mapping[str, Work], rounds: int, seconds: float) -> dict[str, float]:
    """Items per second of each contender: the median over rounds in which all of them take a turn.

    Args:
        contenders: Name -> work; called again and again for at least `seconds` a turn, after one call to warm up.
        rounds: How many turns each has.
        seconds: Shortest turn.
    """
    measured: dict[str, list[float]] = {name: [] for name in contenders}
    for work in contenders.values():
        work()
    for _ in range(rounds):
        for name, work in contenders.items():
            started, items = time.perf_counter(), 0
            while (spent := time.perf_counter() - started) < seconds or not items:
                items += work()
            spent = time.perf_counter() - started
            measured[name].append(items / spent)
    return {name: median(values) for name, values in measured.items()}


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows))
