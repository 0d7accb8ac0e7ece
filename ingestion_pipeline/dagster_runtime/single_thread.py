"""Keeping a process that forks runs free of threads, because a fork copies only one."""

import sys
from pathlib import Path

SINGLE_THREADED = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Environment variables that keep the libraries of runs from starting threads on import.

A fork copies one thread, and locks of the others stay locked. The variables do not change results:
runs use no linear algebra, and Arrow allocates from mimalloc.
"""


def require_single_thread() -> None:
    """Exit if this process has more than one thread, because a fork copies only one."""
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        sys.exit(f"Runs are not forked: an import has started {threads - 1} threads")
