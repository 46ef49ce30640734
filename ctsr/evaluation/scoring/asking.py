"""Asks all questions, one after the other or in several processes, and shows how far that is."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing.sharedctypes import Synchronized

import torch

from ctsr.evaluation.scoring.compare import Answers, Step
from ctsr.evaluation.scoring.progress import AskingBar

LOOK = 0.3  # seconds between two looks at how far the processes are


@dataclass(frozen=True, eq=False)
class Asked:
    """A question, and how it is answered; it can be sent to another process.

    Attributes:
        steps: How often `answer` tells that a part is done.
        answer: Answers it.
    """

    steps: int
    answer: Callable[[Step], Answers]


def ask_all(questions: Mapping[str, Asked], workers: int = 1) -> dict[str, Answers]:
    """The answer to each question, by its name and in their order.

    Args:
        questions: By name.
        workers: Processes that share them; networks are then to be on the CPU.
    """
    found: dict[str, Answers] = {}
    with AskingBar({name: asked.steps for name, asked in questions.items()}, workers) as bar:
        if workers == 1:
            steps = count(1)
            for name, asked in questions.items():
                found[name] = asked.answer(lambda: bar.show(next(steps)))
                bar.finish(name)
            return found
        context = multiprocessing.get_context("spawn")
        done = context.Value("i", 0)
        with ProcessPoolExecutor(workers, context, _start, (questions, done)) as pool:
            try:
                with _kept_from_children(signal.SIGINT):
                    named = {pool.submit(_answer, name): name for name in questions}
                while left := [future for future in named if named[future] not in found]:
                    for future in wait(left, LOOK, FIRST_COMPLETED).done:
                        found[named[future]] = future.result()
                        bar.finish(named[future])
                    bar.show(done.value)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in multiprocessing.active_children():
                    child.terminate()  # nobody waits for what it would still answer
                raise
    return {name: found[name] for name in questions}


_questions: Mapping[str, Asked]  # of a process that was started to answer some: cases and networks are sent once
_done: Synchronized[int]


def _start(questions: Mapping[str, Asked], done: Synchronized[int]) -> None:
    global _questions, _done
    _questions, _done = questions, done
    torch.set_num_threads(1)


def _answer(name: str) -> Answers:
    return _questions[name].answer(partial(_count, _done))


def _count(done: Synchronized[int]) -> None:
    with done.get_lock():
        done.value += 1


@contextmanager
def _kept_from_children(number: signal.Signals) -> Iterator[None]:
    """Processes that are started meanwhile never see a signal: a terminal sends its Ctrl-C to them, too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
