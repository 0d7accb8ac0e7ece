"""A slice's past in numbers is what its days read back as."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from ingestion_pipeline.columns.hashing import with_content_hash
from ingestion_pipeline.staging.days import read_day
from ingestion_pipeline.staging.errors import DayNotStaged
from ingestion_pipeline.staging.history import newest_days, past_days, stored_check_results
from ingestion_pipeline.staging.tables import CLASS_COLUMNS, VERSION_TABLES
from ingestion_pipeline_tests.support.staged import poi_rows
from testbed.claims import NOW, claim_key, evidence_of, replace_slice, slice_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

DAY = date(2026, 11, 20)
BOUNDARY = "bbox:0,0,1,1"

POIS: dict[str, dict[str, Any]] = {
    "node/1": {"category": "shop", "name": "A", "names": {"en": "A"}},
    "node/2": {"category": "shop/bakery", "tags": {"opening_hours": "24/7"}, "hours": "24/7"},
    "node/3": {"category": "shop/bakery", "tags": {"opening_hours": "soon"}},
    "node/4": {"category": "amenity/cafe", "name": "D", "names": {"fi": "D"}},
    "way/5": {"category": "amenity/cafe", "name": "E", "names": {"und": "E", "ru": "E"}},
}


def stage(
    engine: sa.Engine, ago: int, refs: Sequence[str], *, city: str = "kazan", **evidence: Any
) -> None:
    """Stage some of the POIs on a day so long ago."""
    day = DAY - timedelta(days=ago)
    rows = poi_rows({ref: str(POIS[ref]) for ref in refs})
    text: dict[str, list[str | None]] = {
        "category": [POIS[ref]["category"] for ref in refs],
        "name": [POIS[ref].get("name") for ref in refs],
        "names": [json.dumps(POIS[ref].get("names", {})) for ref in refs],
        "tags": [json.dumps(POIS[ref].get("tags", {})) for ref in refs],
        "opening_hours": [POIS[ref].get("hours") for ref in refs],
    }
    for name, values in text.items():
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, pa.array(values, pa.string()))
    replace_slice(
        engine,
        slice_of(city, day),
        with_content_hash(rows),
        rejections=[],
        evidence=_with(evidence_of(day), evidence),
        claim=claim_key(engine, city, day),
        now=NOW,
    )


def _with(evidence: Any, changes: dict[str, Any]) -> Any:
    return type(evidence)(**vars(evidence) | changes)


def past(engine: sa.Engine, **given: Any) -> list[Any]:
    asked: dict[str, Any] = {"boundary_ref": BOUNDARY, "languages": ("en", "ru")}
    return past_days(engine, slice_of("kazan", DAY), **asked | given)


def test_the_past_of_a_slice_is_counted_as_its_days_read_back(engine: sa.Engine) -> None:
    refs = list(POIS)
    for ago, some in {1: refs, 2: refs[1:], 3: refs[:2], 5: refs[:4]}.items():
        stage(engine, ago, some)
    found = past(engine)
    assert [day.day for day in found] == [DAY - timedelta(days=ago) for ago in (1, 2, 3, 5)]
    for day in found:
        rows = read_day(engine, slice_of("kazan", day.day)) or []
        assert day.counts == Counter(row["category"] for row in rows)
        hours = [row for row in rows if "opening_hours" in row["tags"]]
        named = [row for row in rows if row["name"] is not None]
        assert day.with_hours == len(hours)
        assert day.unparsed_hours == sum(row["opening_hours"] is None for row in hours)
        assert day.named == len(named)
        assert day.in_languages == sum(bool({"en", "ru"} & set(row["names"])) for row in named)
    assert vars(found[0]) == {
        "day": DAY - timedelta(days=1),
        "rules_version": "test",
        "accepted": False,
        "counts": {"shop": 1, "shop/bakery": 2, "amenity/cafe": 2},
        "with_hours": 2,
        "unparsed_hours": 1,
        "named": 3,
        "in_languages": 2,
    }


def test_only_earlier_days_of_the_same_city_and_boundary_count(engine: sa.Engine) -> None:
    stage(engine, 0, ["node/1"])
    stage(engine, -1, ["node/1"])
    stage(engine, 1, ["node/1"], boundary_ref="relation/7")
    stage(engine, 2, ["node/1", "node/2"])
    stage(engine, 1, ["node/3"], city="perm")
    (only,) = past(engine)
    assert only.day == DAY - timedelta(days=2)
    assert only.counts.total() == 2


def test_the_last_days_are_taken_and_an_empty_past_is_none(engine: sa.Engine) -> None:
    assert past(engine) == []
    for ago in range(1, 5):
        stage(engine, ago, ["node/1"])
    assert [day.day for day in past(engine, limit=2)] == [
        DAY - timedelta(days=1),
        DAY - timedelta(days=2),
    ]
    assert past(engine, languages=())[0].in_languages == 0


def test_an_accepted_day_is_told_apart(engine: sa.Engine) -> None:
    stage(engine, 1, ["node/1"], accepted_reason="torn down", warnings={"counts": "few"})
    stage(engine, 2, ["node/1"])
    assert [day.accepted for day in past(engine)] == [True, False]
    found = stored_check_results(engine, slice_of("kazan", DAY - timedelta(days=1)))
    assert found[:2] == ("torn down", {"counts": "few"})
    assert stored_check_results(engine, slice_of("kazan", DAY - timedelta(days=2)))[:2] == (
        None,
        None,
    )
    with pytest.raises(DayNotStaged):
        stored_check_results(engine, slice_of("kazan", DAY))


def test_the_newest_day_of_every_city_is_known(engine: sa.Engine) -> None:
    stage(engine, 3, ["node/1"])
    stage(engine, 1, ["node/1"])
    stage(engine, 2, ["node/1"], city="perm")
    assert newest_days(engine, dataset="poi", source="osm") == {
        ("kazan", BOUNDARY): DAY - timedelta(days=1),
        ("perm", BOUNDARY): DAY - timedelta(days=2),
    }
    assert newest_days(engine, dataset="poi", source="osm", slugs=["perm", "tver"]) == {
        ("perm", BOUNDARY): DAY - timedelta(days=2)
    }
    assert newest_days(engine, dataset="poi", source="feed:x") == {}


def test_every_table_of_versions_has_a_column_to_count_by() -> None:
    for dataset, table in VERSION_TABLES.items():
        assert CLASS_COLUMNS[dataset] in table.columns
