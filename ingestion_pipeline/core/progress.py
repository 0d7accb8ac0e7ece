"""Progress of long steps, as log records that a person can follow.

A step that takes long logs a line every few seconds, which Dagster stores as an event of the run
and the command line prints. A step that is done before that logs nothing. For a progress bar, the
logger `BARS` gets a record several times a second; it passes none on, and by default wants none.

Belongs here: what is reported how often. Does not belong here: how a terminal shows it
(`cli/output.py`).
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

EVENT_SECONDS = 5.0
"""The time between two lines: a run of an hour has some hundreds of events."""

BAR_SECONDS = 0.1

log = logging.getLogger(__name__)

BARS = logging.getLogger(f"{__name__}.bars")
BARS.propagate = False
BARS.setLevel(logging.INFO)

ATTRIBUTE = "progress"
"""The attribute of a record with its `State`."""

Part = TypeVar("Part")

_is_silent = False


class State(NamedTuple):
    """How far a step is.

    Attributes:
        what: What is counted, such as `bytes of the extract downloaded`.
        done: How many there are by now.
        total: How many there will be; None where it is not known.
        is_over: Whether the step has ended.
    """

    what: str
    done: int
    total: int | None
    is_over: bool = False

    def __str__(self) -> str:
        """Return the state as a sentence."""
        if not self.total:
            return f"{self.done:,} {self.what}"
        share = 100 * self.done // self.total
        return f"{share} %: {self.done:,} of {self.total:,} {self.what}"


class Progress:
    """The progress of one step; a context manager."""

    def __init__(
        self, what: str, total: int | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin.

        Args:
            what: See `State`.
            total: See `State`.
            clock: Returns seconds.
        """
        self._state = State(what, 0, total)
        self._clock = clock
        self._event_at = self._bar_at = clock()

    def __enter__(self) -> Self:
        """Return the progress."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the bar, also of a step that failed."""
        self._tell(BARS, logging.DEBUG, self._state._replace(is_over=True))

    def advance(self, number: int = 1) -> None:
        """Count more of it as done."""
        self._state = self._state._replace(done=self._state.done + number)
        now = self._clock()
        if now - self._bar_at >= BAR_SECONDS:
            self._bar_at = now
            self._tell(BARS, logging.DEBUG, self._state)
        if now - self._event_at >= EVENT_SECONDS:
            self._event_at = now
            self._tell(log, logging.INFO, self._state)

    @staticmethod
    def _tell(logger: logging.Logger, level: int, state: State) -> None:
        if not _is_silent:
            logger.log(level, "%s", state, extra={ATTRIBUTE: state})


def tracked(parts: Iterable[Part], what: str, *, total: int) -> Iterator[Part]:
    """Yield the parts, and count each one as done when the next one is asked for."""
    with Progress(what, total) as progress:
        for part in parts:
            yield part
            progress.advance()


def silence() -> None:
    """Report nothing any more in this process: a fork in the middle of work must not log."""
    global _is_silent  # noqa: PLW0603 - of the process
    _is_silent = True
