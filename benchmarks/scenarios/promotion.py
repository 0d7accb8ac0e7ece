"""A staged day to the public table: the first day, an unchanged day, changed days.

Timed is the call alone. A promotion of a day with few changes writes only those: it takes at most a
twentieth of the first one.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from benchmarks.harness import Comparison, Contender, Values, program, tell
from benchmarks.scenarios.staging import Geopackage, Postgis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.inputs import Input

TITLE = "A staged day to the public table"
ROWS = 20_000
LARGE = 100_000

DAYS = {
    "first promotion": ["0:0"],
    "unchanged day": ["1:0"],
    "0.5 % changed": ["2:1"],
    "0.5 % changed again": ["3:2"],
}


def comparisons(bench: Bench) -> Iterator[Comparison]:
    """Compare on both databases; in full with more rows too."""
    for number in (ROWS, *((LARGE,) if bench.full else ())):
        rows = bench.inputs.rows(number)
        for database in (Postgis(bench), Geopackage(bench)):
            yield _comparison(rows, database)


def _comparison(rows: Input, database: Postgis | Geopackage) -> Comparison:
    """Let the days follow each other in one process and database."""
    taken: dict[str, Values] = {}

    def first() -> Values:
        steps = itertools.chain.from_iterable(DAYS.values())
        took = tell(program("promote", database.new(), rows.path, *steps))
        taken.update(zip(DAYS, took, strict=True))
        return taken["first promotion"]

    def ours(name: str) -> Contender:
        run = first if name == "first promotion" else lambda: taken[name]
        return Contender(f"{database.name}: {name}", run, database.missing)

    return Comparison(rows, list(map(ours, DAYS)), ("call s", "WAL MB"))
