"""Thirty days of history, each with 0.5 % of the rows changed: its storage beside one day's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness import Comparison, Contender, Values, program, tell
from benchmarks.scenarios.staging import Geopackage, Postgis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.inputs import Input

TITLE = "Thirty days of history"
DAYS = 30
ROWS, LARGE = 2_000, 100_000


def comparisons(bench: Bench) -> Iterator[Comparison]:
    """Compare on both databases, once: the same is written each time."""
    rows = bench.inputs.rows(LARGE if bench.full else ROWS)
    for database in (Postgis(bench), Geopackage(bench)):
        contenders = [
            Contender(
                f"{database.name}: {days} day{'s' if days > 1 else ''}",
                lambda database=database, days=days: _size(database, rows, days),  # type: ignore[misc]
                database.missing,
            )
            for days in (1, DAYS)
        ]
        yield Comparison(rows, contenders, ("size MB",), runs=1)


def _size(database: Postgis | Geopackage, rows: Input, days: int) -> Values:
    changes = [f"{day}:{day}" for day in range(days)]
    took: list[Values] = tell(program("stage", database.new(), rows.path, *changes))
    return {"size MB": took[-1]["size MB"]}
