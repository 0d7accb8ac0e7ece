"""Work on several cores: one function, applied to parts of its input in forked processes.

The processes are forked in the middle of the work, so they share all data read before without a
copy, import nothing, and return only their results. Threads would not help: most of the work holds
the GIL. `ahead` uses threads for work that releases it.

A forked process has none of its parent's other threads, and locks held by those threads stay locked
in it. A function passed to this module must therefore only compute: it must not open connections,
send requests or write to the log.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from multiprocessing import current_process, get_context
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ingestion_pipeline.core.errors import IngestionError
from ingestion_pipeline.core.progress import silence

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from concurrent.futures import Future

Part = TypeVar("Part")
Result = TypeVar("Result")

MOST = 4
"""The largest number of processes; with more, the serial part of the work dominates."""

_PR_SET_PDEATHSIG = 1
"""`prctl(2)`."""

_SPANS_EACH = 4
"""Spans for each process, which evens out their cost."""


class ProcessDied(IngestionError):
    """A worker process ended without a result."""

    code = "process_died"
    should_retry = True


def cores(work: int, *, worth: int) -> int:
    """Return the number of cores to use: those available to this process, up to `MOST`.

    `taskset`, and `CPUAffinity=` of systemd, limit them. The result is 1 where forking is unsafe
    (systems other than Linux) or not allowed (daemons of `multiprocessing`).

    Args:
        work: The amount of work.
        worth: The amount for which a fork pays off; a fork takes some hundredths of a second.
    """
    if work < worth or sys.platform != "linux" or current_process().daemon:
        return 1
    return min(len(os.sched_getaffinity(0)), MOST)


def spans(number: int, *, processes: int) -> list[slice]:
    """Divide `number` items among processes.

    Returns:
        Spans of about equal size that cover all items in order; one span for one process.
        Otherwise each process gets several spans far from each other, because neighbouring items
        have similar costs.
    """
    several = processes * _SPANS_EACH if processes > 1 else 1
    bounds = [number * place // several for place in range(several + 1)]
    return [slice(*span) for span in pairwise(bounds)]


def on_each(
    function: Callable[[Part], Result], parts: Sequence[Part], *, processes: int
) -> list[Result]:
    """Call a function with each part, on several cores.

    Args:
        function: Only computes; see the module's docstring.
        parts: The arguments, dealt out to the processes in turn, starting with this one. Neither
            these nor the function are copied; results of other processes are pickled.
        processes: The largest number of processes, this one included.

    Returns:
        The results, in the order of the parts.

    Raises:
        ProcessDied: A process was killed.
        Exception: The function raised it.
    """
    several = max(1, min(processes, len(parts)))
    forks: list[_Fork] = []
    collects = gc.isenabled()
    # The results contain no cycles, and the collector would traverse them many times.
    gc.disable()
    try:
        for first in range(1, several):
            forks.append(_Fork.started(function, parts[first::several]))  # noqa: PERF401 - end
        results: list[Any] = [None] * len(parts)
        results[::several] = [function(part) for part in parts[::several]]
        for first, fork in enumerate(forks, start=1):
            results[first::several] = fork.results()
        return results
    finally:
        for fork in forks:
            fork.end()
        if collects:
            _pass_over_what_was_made()
            gc.enable()


def _pass_over_what_was_made() -> None:
    """Count all objects among the old ones, which the collector seldom looks through.

    Otherwise it would look through all that was made as soon as it is enabled again. Where a server
    has frozen objects (`dagster_runtime/warm.py`), nothing is done: to unfreeze these would copy
    their pages.
    """
    if not holds_frozen_objects():
        gc.freeze()
        gc.unfreeze()


@cache
def holds_frozen_objects() -> bool:
    """Return whether objects were frozen when this was first called.

    Asked once: to count them visits each, which takes longer than many a part of the work.
    """
    return gc.get_freeze_count() > 0


def on_spans(function: Callable[[slice], Result], number: int, *, worth: int) -> list[Result]:
    """Call a function with spans that cover `number` items; see `spans`, `cores` and `on_each`."""
    processes = cores(number, worth=worth)
    return on_each(function, spans(number, processes=processes), processes=processes)


def ahead(
    function: Callable[[Part], Result], parts: Iterable[Part], *, most: int
) -> Generator[Result, None, None]:
    """Call a function with each part in threads, while the caller uses the earlier results.

    Args:
        function: Releases the GIL for most of its time: decompresses, calls Arrow, or waits.
        parts: The arguments.
        most: The number of threads, and of results that may wait.

    Returns:
        The results, in the order of the parts.

    Raises:
        Exception: The function raised it, at the position of its result.
    """
    with ThreadPoolExecutor(most) as threads:
        coming: deque[Future[Result]] = deque()
        for part in parts:
            coming.append(threads.submit(function, part))
            if len(coming) > most:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


class _Fork(NamedTuple):
    process: Any
    answer: Any

    @classmethod
    def started(cls, function: Callable[[Any], Any], parts: Sequence[Any]) -> _Fork:
        context = get_context("fork")
        answer, its_end = context.Pipe(duplex=False)
        process = context.Process(
            target=_answer, args=(function, parts, its_end, os.getpid()), daemon=True
        )
        with warnings.catch_warnings():
            # Python 3.12 warns of other threads; see the module's docstring.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        its_end.close()
        return cls(process, answer)

    def results(self) -> list[Any]:
        try:
            number, error = self.answer.recv()
            if error is not None:
                raise error
            return [self.answer.recv() for _ in range(number)]
        except EOFError:
            self.process.join()
            raise ProcessDied(
                f"A worker process ended with exit code {self.process.exitcode} (-9: killed, "
                "usually because memory ran out). Free memory, or give the run fewer cores."
            ) from None

    def end(self) -> None:
        self.process.kill()  # it has nothing to clean up
        self.process.join()
        self.answer.close()


def _answer(function: Callable[[Part], Any], parts: Sequence[Part], to: Any, parent: int) -> None:
    """Run in the forked process."""
    _end_with(parent)
    silence()
    # The parent ends it, and alone handles an interrupt.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        results = [function(part) for part in parts]
    except Exception as error:  # noqa: BLE001 - the parent raises it
        to.send((0, error))
        return
    to.send((len(results), None))
    for result in results:  # one by one, so that the parent holds the bytes of one result at a time
        to.send(result)


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, even if the parent is killed.

    It shares the parent's file locks and connections, which would block the next run.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent has already ended
            os._exit(1)
