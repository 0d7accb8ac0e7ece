"""Invented days in numbers, and frames of a few rows, for the tests of the checks."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import shapely

from ingestion_pipeline.core.census import Census
from ingestion_pipeline_tests.support.staged import poi_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TODAY = date(2026, 3, 1)
BOUNDARY = shapely.Polygon([(0, 0), (2, 0), (2, 2), (1, 2), (1, 1), (0, 1)])
"""A city in the shape of an L: a part of its bbox is not its own."""


def census(
    counts: Mapping[str, int],
    *,
    ago: int = 0,
    accepted: bool = False,
    rules: str = "rules 1",
    hours: tuple[int, int] = (0, 0),
    names: tuple[int, int] = (0, 0),
) -> Census:
    """A day so many days ago; `hours` are (not understood, all), `names` (in languages, all)."""
    return Census(
        day=TODAY - timedelta(days=ago),
        rules_version=rules,
        accepted=accepted,
        counts=counts,
        with_hours=hours[1],
        unparsed_hours=hours[0],
        named=names[1],
        in_languages=names[0],
    )


def past(counts: Mapping[str, int], days: int = 28, **given: Any) -> list[Census]:
    """The same day again and again, the newest first."""
    return [census(counts, ago=ago, **given) for ago in range(1, days + 1)]


def frame(
    refs: Sequence[str] = ("node/1", "way/2", "node/3"), **columns: Sequence[Any]
) -> pa.Table:
    """Good rows, with some columns replaced."""
    rows = poi_rows({ref: ref for ref in dict.fromkeys(refs)})
    rows = rows.take([list(dict.fromkeys(refs)).index(ref) for ref in refs])
    for name, values in columns.items():
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, pa.array(list(values), rows.schema.field(name).type))
    return rows
