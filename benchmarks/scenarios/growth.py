"""A year of many cities, a little of which changes each day: sizes, questions, and a new day.

Each city-day is a run of its own in the ledger and a transaction of its own. Of these nobody waits
for the disk, or it would be the disk's speed that is measured tens of thousands of times. What
PostgreSQL does by itself in a day, it is told to do after each (`VACUUM ANALYZE`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from benchmarks import peers
from benchmarks.harness import Comparison, Contender, Values, Words, program, tell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench

TITLE = "A year of many cities"
POIS = 400
SMALL, LARGE = (4, 30), (100, 365)
"""Cities and days."""


def comparisons(bench: Bench) -> Iterator[Comparison]:
    """Grow a database, once; look at it after some days, and then at each of its parts."""
    cities, days = LARGE if bench.full else SMALL
    input_ = Words(f"{cities} cities of {POIS} POIs, {days} days")
    missing = peers.missing_postgresql()
    if missing is not None:
        yield Comparison(input_, [Contender("PostGIS", dict, missing)])
        return
    found = _grown(bench, cities, days)
    yield Comparison(
        input_,
        [
            Contender(f"after {_days(day)}", lambda told=told: told["found"])  # type: ignore[misc]
            for day, told in found.items()
        ],
        ratios=(),
        runs=1,
    )
    parts = {
        name: {f"MB after {_days(day)}": told["sizes"][name] for day, told in found.items()}
        for name in next(iter(found.values()))["sizes"]
    }
    yield Comparison(
        input_,
        [Contender(name, lambda size=size: size) for name, size in parts.items()],  # type: ignore[misc]
        ratios=(),
        runs=1,
    )


def _grown(bench: Bench, cities: int, days: int) -> dict[int, dict[str, Values]]:
    """Stage all days; give what was found, by the number of days."""
    rows = bench.inputs.rows(cities * POIS)
    url = sa.make_url(bench.new_database()).update_query_dict(
        {"options": "-c synchronous_commit=off"}
    )
    text = url.render_as_string(hide_password=False)
    found: dict[str, Any] = tell(program("grow", text, rows.path, str(cities), str(days)))
    return {int(day): told for day, told in found.items()}


def _days(number: int) -> str:
    return f"{number} day{'s' if number > 1 else ''}"
