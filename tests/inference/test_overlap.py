"""Three steps at the same time: in order, never far apart, and no error is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest

from ctsr.inference.overlap import WAITING, overlapped

LONG = 20  # seconds: what is waited for has not happened


@pytest.fixture(autouse=True)
def threads_end() -> Iterator[None]:
    """Whatever happens."""
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def same(item: int) -> int:
    return item


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10])
def test_results_come_in_the_order_of_the_items(count: int) -> None:
    def slower_at_first(item: int) -> int:
        time.sleep(0.001 * (6 * count - item))
        return item + 1

    made = overlapped(range(count), lambda item: 2 * item, lambda ready: 3 * ready, slower_at_first)
    assert list(made) == [6 * item + 1 for item in range(count)]


def test_the_next_is_prepared_while_one_is_computed() -> None:
    prepared = [threading.Event() for _ in range(4)]
    begun: list[int] = []

    def prepare(item: int) -> int:
        begun.append(item)
        prepared[item].set()
        return item

    def compute(item: int) -> int:
        assert prepared[min(item + 1, 3)].wait(LONG)
        assert len(begun) <= item + 2  # and no more of them: each is a slice in memory
        return item

    assert list(overlapped(range(4), prepare, compute, same)) == [0, 1, 2, 3]


def test_the_last_is_finished_while_one_is_computed() -> None:
    computing = [threading.Event() for _ in range(4)]

    def compute(item: int) -> int:
        computing[item].set()
        return item

    def finish(item: int) -> int:
        assert computing[min(item + 1, 3)].wait(LONG)
        return item

    assert list(overlapped(range(4), same, compute, finish)) == [0, 1, 2, 3]


def test_unfinished_results_are_few() -> None:
    computed: list[int] = []
    finished: list[int] = []
    most: list[int] = []

    def compute(item: int) -> int:
        computed.append(item)
        most.append(len(computed) - len(finished))
        return item

    def slow(item: int) -> int:
        time.sleep(0.005)
        finished.append(item)
        return item

    assert list(overlapped(range(10), same, compute, slow)) == list(range(10))
    assert max(most) <= WAITING


class LostError(Exception):
    """An error of a step."""


def fails_at(number: int, error: BaseException) -> Callable[[int], int]:
    def step(item: int) -> int:
        if item == number:
            raise error
        return item

    return step


@pytest.mark.parametrize("number", [0, 1, 5, 9])
@pytest.mark.parametrize("step", range(3))
def test_an_error_of_any_step_comes_out(step: int, number: int) -> None:
    steps = [same, same, same]
    steps[step] = fails_at(number, LostError(step))
    came: list[int] = []
    with pytest.raises(LostError):
        came.extend(overlapped(range(10), *steps))
    assert came == list(range(len(came)))
    assert len(came) <= number


@pytest.mark.parametrize("error", [KeyboardInterrupt(), LostError()])
def test_what_is_computed_is_finished_whatever_ends_the_work(error: BaseException) -> None:
    gate = threading.Event()
    finished: list[int] = []

    def compute(item: int) -> int:
        if item == 1:
            gate.set()
            raise error
        return item

    def finish(item: int) -> int:
        assert gate.wait(LONG)
        finished.append(item)
        return item

    with pytest.raises(type(error)):
        list(overlapped(range(10), same, compute, finish))
    assert finished == [0]


def test_an_error_of_the_caller_ends_the_work() -> None:
    finished: list[int] = []

    def finish(item: int) -> int:
        finished.append(item)
        return item

    with suppress(LostError), closing(overlapped(range(100), same, same, finish)) as made:
        next(made)
        raise LostError
    assert len(finished) < 100
    assert finished == list(range(len(finished)))
