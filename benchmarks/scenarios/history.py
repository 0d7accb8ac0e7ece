"""A day, and thirty more with 0.5 % of the rows changed on each: what they add to its storage."""

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
ROWS, LARGE = 20_000, 100_000


def comparisons(bench: Bench) -> Iterator[Comparison]:
    """Compare on both databases, once: the same is written each time."""
    rows = bench.inputs.rows(LARGE if bench.full else ROWS)
    for database in (Postgis(bench), Geopackage(bench)):
        contenders = [
            Contender(
                f"{database.name}: {name}",
                lambda database=database, more=more: _size(database, rows, more),  # type: ignore[misc]
                database.missing,
            )
            for name, more in (("1 day", 0), (f"and {DAYS} more", DAYS))
        ]
        yield Comparison(rows, contenders, ("size MB",), runs=1)


def _size(database: Postgis | Geopackage, rows: Input, more: int) -> Values:
    changes = [f"{day}:{day}" for day in range(more + 1)]
    took: list[Values] = tell(program("stage", database.new(), rows.path, *changes))
    return {"size MB": took[-1]["size MB"]}
