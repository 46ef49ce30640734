"""Work in three steps, each on another item at the same time: what is next is read while this is computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Made = TypeVar("Made")
Done = TypeVar("Done")

WAITING = 2  # results that are not finished before the next is computed: each is a whole slice in memory


def overlapped(
    items: Iterable[Item],
    prepare: Callable[[Item], Ready],
    compute: Callable[[Ready], Made],
    finish: Callable[[Made], Done],
) -> Generator[Done]:
    """Prepare the next item and finish the last ones, in order, while one is computed in the caller's thread.

    Args:
        items: What to work on.
        prepare: In a thread of its own, one item ahead.
        compute: Here.
        finish: In a thread of its own; at most `WAITING` results wait for it.

    Yields:
        What `finish` returned, in the order of the items. An error of any step comes to the caller, and ends the work;
        what is computed by then is still finished.
    """
    with ThreadPoolExecutor(1, "prepare") as preparing, ThreadPoolExecutor(1, "finish") as finishing:
        waiting: deque[Future[Done]] = deque()
        try:
            ahead: deque[Future[Ready]] = deque()
            for item in items:
                ahead.append(preparing.submit(prepare, item))
                if len(ahead) > 1:
                    waiting.append(finishing.submit(finish, compute(ahead.popleft().result())))
                    while len(waiting) >= WAITING or (waiting and waiting[0].done()):
                        yield waiting.popleft().result()
            if ahead:
                waiting.append(finishing.submit(finish, compute(ahead.popleft().result())))
            while waiting:
                yield waiting.popleft().result()
        finally:
            preparing.shutdown(cancel_futures=True)
