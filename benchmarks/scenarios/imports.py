"""What every process of Dagster loads of ours, beside Dagster alone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks.harness import Comparison, Words, process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench

TITLE = "Imports"


def comparisons(bench: Bench) -> Iterator[Comparison]:  # noqa: ARG001 - it needs nothing
    """Compare two imports."""
    yield Comparison(
        Words("a new process"),
        [
            process(f"import {module}", [sys.executable, "-c", f"import {module}"])
            for module in ("ingestion_pipeline.definitions", "dagster")
        ],
        ("wall s", "peak MB"),
    )
