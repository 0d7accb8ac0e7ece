"""Time as an argument, so that waiting can be tested without waiting.

Belongs here: the clock's interface and the real one. Does not belong here: rules about days
(`sources/as_of.py`).
"""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the code may know of time."""

    def now(self) -> datetime:
        """Give the current moment, aware, in UTC."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Give the current moment, aware, in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait, for real."""
        time.sleep(seconds)
