"""When the garbage collector of a command works.

It would go through all modules and definitions again and again while these are loaded, and once
more when the process ends, for a third of the CPU time of a small city-day. They stay until then.
"""

from __future__ import annotations

import atexit
import gc
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def loading() -> Iterator[None]:
    """Collect nothing while modules and definitions are loaded; then count them as old."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.freeze()
            gc.unfreeze()
            gc.enable()


@cache  # once per process
def collect_nothing_at_the_end() -> None:
    """Leave all objects to the operating system when the process ends."""
    atexit.register(gc.freeze)
