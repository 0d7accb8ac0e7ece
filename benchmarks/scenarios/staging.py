"""Rows to a staged day, beside what GeoPandas writes: first day, unchanged day, changed days.

Timed is the call alone, since it is about rows per second: ours from the table of rows to the
commit, GeoPandas's from the data frame to the end of its spatial index. Between the days PostgreSQL
vacuums, as it does by itself in a day. A checkpoint makes the first change of every page log the
page as a whole, and so does the building of a GiST index: what that costs on a changed day has rows
of its own.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from benchmarks import peers
from benchmarks.harness import Comparison, Contender, Values, program, tell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.inputs import Input

TITLE = "Rows to a staged day"
ROWS = 20_000
LARGE = (100_000, 200_000)


def comparisons(bench: Bench) -> Iterator[Comparison]:
    """Compare on both databases; in full with more rows too."""
    for number in (ROWS, *(LARGE if bench.full else ())):
        rows = bench.inputs.rows(number)
        for database in (Postgis(bench), Geopackage(bench)):
            yield _comparison(rows, database)


DAYS = {
    "first day": ["0:0"],
    "unchanged day": ["1:0"],
    "0.5 % changed": ["2:1"],
    "0.5 % changed again": ["3:2"],
}
"""Our days, which follow each other, and the steps of the program that stages them."""

AFTER_A_CHECKPOINT = {"0.5 % changed, after a checkpoint": ["checkpoint", "4:3"]}


@dataclass
class Postgis:
    """A database of PostgreSQL; a new one for each who begins."""

    bench: Bench
    name = "PostGIS"
    peer = "GeoDataFrame.to_postgis"
    days = DAYS | AFTER_A_CHECKPOINT

    @property
    def missing(self) -> str | None:
        """Tell what to install."""
        return peers.missing_postgresql()

    @property
    def missing_peer(self) -> str | None:
        """Tell what to install for the peer."""
        return self.missing or peers.missing_package("geoalchemy2")

    def new(self) -> str:
        """Make an empty database."""
        url = sa.make_url(self.bench.new_database())
        return url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


@dataclass
class Geopackage:
    """A GeoPackage; a new file for each who begins."""

    bench: Bench
    name = "GeoPackage"
    peer = "GeoDataFrame.to_file"
    days = DAYS
    missing: str | None = None
    missing_peer: str | None = None

    def new(self) -> str:
        """Name a new file."""
        return f"sqlite:///{self.bench.new_folder() / 'staging.gpkg'}"


def _comparison(rows: Input, database: Postgis | Geopackage) -> Comparison:
    """Let our days follow each other in one process and database, and the peer begin anew."""
    taken: dict[str, Values] = {}

    def first() -> Values:
        steps = itertools.chain.from_iterable(database.days.values())
        took = tell(program("stage", database.new(), rows.path, *steps))
        taken.update(zip(database.days, took, strict=True))
        return taken["first day"]

    def peer() -> Values:
        values: Values = tell(program("peer_geopandas", database.new(), rows.path))
        return values

    def ours(name: str) -> Contender:
        run = first if name == "first day" else lambda: taken[name]
        return Contender(f"{database.name}: {name}", run, database.missing)

    first_day, *others = map(ours, database.days)
    other = Contender(f"{database.name}: {database.peer}", peer, database.missing_peer)
    return Comparison(rows, [first_day, other, *others], ("call s", "WAL MB"))
