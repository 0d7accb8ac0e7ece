"""Invented places with the columns that a test names, and the shortest way to promote them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import shapely
import sqlalchemy as sa

from ingestion_pipeline.columns.hashing import digest, with_content_hash
from ingestion_pipeline.promotion import promote as promotion
from ingestion_pipeline.promotion.continuity import Matcher
from ingestion_pipeline.promotion.identity import Link, Matching
from ingestion_pipeline.promotion.ledger import Decision
from ingestion_pipeline.promotion.promote import Terms
from ingestion_pipeline.promotion.rows import COLUMNS
from ingestion_pipeline.promotion.run import run
from ingestion_pipeline.staging.tables import poi
from ingestion_pipeline_tests.support.staged import poi_rows
from testbed.claims import NOW, claim_key, evidence_of, replace_slice, slice_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from ingestion_pipeline.core.evidence import SliceEvidence
    from ingestion_pipeline.core.rejection import Rejection
    from ingestion_pipeline.promotion.identity import Place
    from ingestion_pipeline.promotion.ledger import Promotion

SOMEBODY = Decision("ann@example.org", "checked on the map", NOW)


def match_by_name(gone: Sequence[Place], new: Sequence[Place]) -> Matching:
    """Link what has a name that no other place has: a rule that a model can follow."""

    def by_name(places: Sequence[Place]) -> dict[str | None, str]:
        names = [place.name for place in places]
        return {place.name: place.ref for place in places if names.count(place.name) == 1}

    left, right = by_name(gone), by_name(new)
    common = sorted(left.keys() & right.keys(), key=str)
    return Matching(tuple(Link(left[name], right[name], 1.0, {}) for name in common), ())


BY_NAME = Matcher(match_by_name, lambda _: (), lambda _, __: None)
"""A matcher without twins and reused refs."""

BY_REF = Matcher(lambda _, __: Matching((), ()), lambda _: (), lambda _, __: None)
"""A matcher for which a ref is a place."""


def place_rows(places: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    """Make rows for features `{source_ref: {column: value}}`; other columns are invented.

    `at` is the position (lon, lat), and `box` the half side of an area around it, in degrees.
    """
    rows = poi_rows({ref: columns.get("name", ref) for ref, columns in places.items()})
    given = [_columns(ref, columns) for ref, columns in places.items()]
    for name in sorted({name for each in given for name in each}):
        old = rows.column(name)
        values = [
            each.get(name, before) for each, before in zip(given, old.to_pylist(), strict=True)
        ]
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(values, old.type))
    hashes = [digest([ref, str(columns)]) for ref, columns in places.items()]
    place = rows.column_names.index("source_hash")
    return with_content_hash(rows.set_column(place, "source_hash", pa.array(hashes)))


def _columns(ref: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    made = {name: value for name, value in columns.items() if name not in ("at", "box")}
    if "category" in made:
        made.setdefault("categories", [made["category"]])
        key, value = made["category"].split("/")[:2]
        made.setdefault("tags", {key: value})
    lon, lat = columns.get("at", (int(ref.split("/")[1]) / 1000, 0.5))
    shape = shapely.Point(lon, lat)
    if "box" in columns:
        half = columns["box"]
        shape = shapely.box(lon - half, lat - half, lon + half, lat + half)
    made |= {"lon": lon, "lat": lat, "geometry": shapely.to_wkb(shape, byte_order=1)}
    return {
        name: json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
        for name, value in made.items()
    }


def stage_places(
    engine: sa.Engine,
    city: str,
    day: date,
    places: Mapping[str, Mapping[str, Any]],
    *,
    evidence: SliceEvidence | None = None,
    rejections: Sequence[Rejection] = (),
) -> None:
    """Stage a day's places, from claim to commit."""
    replace_slice(
        engine,
        slice_of(city, day),
        place_rows(places),
        rejections=rejections,
        evidence=evidence or evidence_of(day, inputs=digest(str(sorted(places.items())))),
        claim=claim_key(engine, city, day),
        now=NOW,
    )


def promote(
    engine: sa.Engine,
    city: str,
    day: date,
    *,
    policy: Any = "automatic",
    matcher: Matcher | None = None,
    memory_days: int = 90,
    again: bool = False,
    now: datetime = NOW,
) -> Promotion:
    """Promote a staged day, from claim to commit."""
    return run(
        engine,
        slice_of(city, day),
        Terms(policy=policy, memory_days=memory_days, matcher=matcher),
        boundary_ref=evidence_of(day).boundary_ref,
        worker="test",
        is_alive=lambda _: True,
        clock=Stopped(now),
        again=again,
    )


class Stopped:
    """A clock that always shows the same moment."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


def revert(
    engine: sa.Engine, city: str, promotion_id: str, decision: Decision = SOMEBODY
) -> Promotion:
    """Revert a promotion, and make that public."""
    made, _ = promotion.revert(engine, promotion_id, decision)
    return promote(engine, city, made.day) if made.status == "APPROVED" else made


def public_rows(engine: sa.Engine, city: str) -> list[dict[str, Any]]:
    """Read a city's public table, without the numbers of its rows, by place."""
    query = (
        sa.select(*(poi.c[name] for name in COLUMNS))
        .where(poi.c.city_slug == city)
        .order_by(poi.c.poi_id)
    )
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def by_ref(engine: sa.Engine, city: str) -> dict[str, dict[str, Any]]:
    """Read a city's public table by the ref of each place."""
    return {row["source_ref"]: row for row in public_rows(engine, city)}
