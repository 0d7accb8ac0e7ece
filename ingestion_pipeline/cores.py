"""Work on several cores: the same function, each part of its input in a process of its own.

Belongs here: how the processes and threads come and go. Does not belong here: what can be parted
(`osm/find.py`, `osm/assemble.py`, `osm/normalize.py`).

The processes are forked in the middle of the work. So they have all that was read up to then
without a copy being made, import nothing, and give back only what they found. Threads would not
help: most of the work holds Python's lock. What does not, and is wanted one after the other, can be
made `ahead` by threads.

A fork has none of its parent's other threads, and what these had locked at that moment stays locked
in it. Therefore a function that is given here computes, and no more: it opens no connection, asks
no server, and logs nothing.
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
from itertools import pairwise
from multiprocessing import current_process, get_context
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ingestion_pipeline.errors import IngestionError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from concurrent.futures import Future

Part = TypeVar("Part")
Result = TypeVar("Result")

MOST = 4
"""More processes gain little: what remains to be done by one of them takes the most time then."""

_PR_SET_PDEATHSIG = 1
"""`prctl(2)`."""

_SPANS_EACH = 4
"""Of how many spans each process gets, so that all have about the same to do."""


class ProcessDied(IngestionError):
    """A process that did a part of the work has ended without a word."""

    code = "process_died"
    should_retry = True


def cores(work: int, *, worth: int) -> int:
    """Tell on how many cores something is to be done: those of this process, up to `MOST`.

    `taskset`, and `CPUAffinity=` of systemd, limit them. One where processes are not safely forked
    (systems other than Linux), or may not be (daemons of `multiprocessing`).

    Args:
        work: How much there is to be done.
        worth: From how much on it is worth a fork, which takes some hundredths of a second.
    """
    if work < worth or sys.platform != "linux" or current_process().daemon:
        return 1
    return min(len(os.sched_getaffinity(0)), MOST)


def spans(number: int, *, processes: int) -> list[slice]:
    """Part `number` items for some processes, in their order.

    Returns:
        Spans of about the same size, which cover all items; one for one process. Of several, each
        gets some that lie far from each other, because neighbours are of a sort and cost alike.
    """
    several = processes * _SPANS_EACH if processes > 1 else 1
    bounds = [number * place // several for place in range(several + 1)]
    return [slice(*span) for span in pairwise(bounds)]


def on_each(
    function: Callable[[Part], Result], parts: Sequence[Part], *, processes: int
) -> list[Result]:
    """Call a function with each of some parts, on several cores at the same time.

    Args:
        function: Computes; see above.
        parts: What it is called with, dealt out to the processes in turn, to this one first.
            Neither these nor the function are copied; the results of the others are pickled.
        processes: How many there shall be at most, this one included.

    Returns:
        The results, in the order of the parts.

    Raises:
        ProcessDied: A process was killed.
        Exception: What the function raises.
    """
    several = max(1, min(processes, len(parts)))
    forks: list[_Fork] = []
    collects = gc.isenabled()
    # What is computed has no cycles, and the collector would look through all of it many times.
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
    has frozen objects (`defs/warm.py`), nothing is done: to unfreeze these would copy their pages.
    """
    if not gc.get_freeze_count():
        gc.freeze()
        gc.unfreeze()


def on_spans(function: Callable[[slice], Result], number: int, *, worth: int) -> list[Result]:
    """Call a function with spans that cover `number` items; see `spans`, `cores` and `on_each`."""
    processes = cores(number, worth=worth)
    return on_each(function, spans(number, processes=processes), processes=processes)


def ahead(
    function: Callable[[Part], Result], parts: Iterable[Part], *, most: int
) -> Generator[Result, None, None]:
    """Call a function with each of some parts, with the next ones while the caller is busy.

    Args:
        function: Leaves Python's lock alone for most of its time: it decompresses, calls Arrow, or
            waits.
        parts: What it is called with.
        most: How many results may be made, or wait, at a time: so many threads.

    Returns:
        The results, in the order of the parts.

    Raises:
        Exception: What the function raises, where its result would have come.
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
            # From Python 3.12 on it warns of other threads; the head of this module tells.
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
                f"a process that did a part of the work ended with {self.process.exitcode} (-9: "
                "killed, most likely because the memory was full); free memory, or leave the run "
                "fewer cores"
            ) from None

    def end(self) -> None:
        self.process.kill()  # whoever has answered, or is asked no more, has nothing to tidy up
        self.process.join()
        self.answer.close()


def _answer(function: Callable[[Part], Any], parts: Sequence[Part], to: Any, parent: int) -> None:
    """Run in the forked process."""
    _end_with(parent)
    # Its parent ends it. What the parent does when it is interrupted itself is not for it to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        results = [function(part) for part in parts]
    except Exception as error:  # noqa: BLE001 - the parent raises it
        to.send((0, error))
        return
    to.send((len(results), None))
    for result in results:  # one by one: the parent holds the bytes of one beside what they give
        to.send(result)


def _end_with(parent: int) -> None:
    """Have this process killed when its parent ends, even by a kill that lets it do nothing more.

    It holds what its parent held, locks of files and connections too, which whoever takes the work
    over would wait for.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended before
            os._exit(1)
