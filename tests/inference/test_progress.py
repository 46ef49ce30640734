"""How far a scan is, as a log and a terminal show it."""

from __future__ import annotations

import io
from contextlib import suppress

import pytest
from rich.console import Console

from ctsr.inference import progress
from ctsr.inference.progress import SlicesBar
from tests.conftest import check_bars_have_ended


class Clock:
    """Shows the time that it is set to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "monotonic", clock)
    return clock


def test_a_log_has_a_line_every_half_minute(clock: Clock) -> None:
    log = io.StringIO()
    with SlicesBar(20, 20.0, Console(file=log, width=20)) as bar:
        for _ in range(20):
            clock.now += 10
            bar.done(1.0, 5_000_000)
    assert log.getvalue().splitlines() == [
        f"super-resolving: {done} of 20 slices, 0.50 Mvoxel/s, {left} left"
        for done, left in (
            (3, "0:02:50"),
            (6, "0:02:20"),
            (9, "0:01:50"),
            (12, "0:01:20"),
            (15, "0:00:50"),
            (18, "0:00:20"),
        )
    ]


def test_the_time_that_is_left_is_told_by_the_work(clock: Clock) -> None:
    """Slices without lung cost next to nothing."""
    log = io.StringIO()
    with SlicesBar(3, 4.0, Console(file=log)) as bar:
        for work, seconds in ((0.0, 40), (1.0, 60), (3.0, 40)):
            clock.now += seconds
            bar.done(work, 1)
    left = [line.split(", ")[-1] for line in log.getvalue().splitlines()]
    assert left[1:] == ["0:05:00 left", "0:00:00 left"]


def test_a_short_run_has_no_line(clock: Clock) -> None:
    log = io.StringIO()
    with SlicesBar(2, 2.0, Console(file=log)) as bar:
        clock.now += 29
        bar.done(1.0, 1)
    assert not log.getvalue()


def test_a_terminal_has_a_bar_that_ends_also_with_an_error(clock: Clock) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=120)
    with suppress(ZeroDivisionError), SlicesBar(4, 4.0, console) as bar:
        clock.now += 40
        bar.done(1.0, 20_000_000)
        raise ZeroDivisionError
    check_bars_have_ended()
    assert "1 of 4 slices, 0.50 Mvoxel/s" in shown.getvalue()
    assert "left" not in shown.getvalue()


def test_nothing_to_do(clock: Clock) -> None:
    with SlicesBar(0, 0.0, Console(file=io.StringIO(), force_terminal=True)):
        pass
    check_bars_have_ended()
