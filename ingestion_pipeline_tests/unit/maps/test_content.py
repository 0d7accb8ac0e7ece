"""What a map shows, compared with what is staged and with the difference of two days."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import shapely

from ingestion_pipeline.columns.hashing import with_content_hash
from ingestion_pipeline.core.legend import CHANGES
from ingestion_pipeline.maps.content import as_json, of_day, of_difference
from ingestion_pipeline.staging.days import Slice, difference
from ingestion_pipeline.staging.errors import DayNotStaged
from ingestion_pipeline_tests.support.staged import poi_rows, stage, stage_helpers
from testbed.claims import NOW, claim_key, evidence_of, replace_slice, slice_of

if TYPE_CHECKING:
    import sqlalchemy as sa

FIRST, SECOND = date(2024, 6, 1), date(2024, 6, 2)

METRE = 1 / 111_195
"""A metre on a meridian, in degrees."""


def stage_at(engine: sa.Engine, day: date, places: dict[str, tuple[str, float]]) -> None:
    """Stage places `{source_ref: (name, latitude)}`."""
    rows = poi_rows({ref: name for ref, (name, _) in places.items()})
    lats = [lat for _, lat in places.values()]
    points = shapely.points(rows.column("lon").to_numpy(), lats)
    changed: dict[str, pa.Array[Any]] = {
        "lat": pa.array(lats),
        "geometry": pa.array(shapely.to_wkb(points, byte_order=1), pa.binary()),
    }
    for name, values in changed.items():
        rows = rows.set_column(rows.column_names.index(name), name, values)
    replace_slice(
        engine,
        slice_of("town", day),
        with_content_hash(rows.drop_columns(["content_hash"])),
        rejections=(),
        evidence=evidence_of(day),
        claim=claim_key(engine, "town", day),
        now=NOW,
    )


def test_a_day_has_every_place_by_group_and_then_by_name(engine: sa.Engine) -> None:
    stage(engine, "town", FIRST, {"node/2": "b", "node/1": "C", "node/3": "a"})
    content = of_day(engine, slice_of("town", FIRST))
    assert [item.after and item.after["name"] for item in content.items] == ["a", "b", "C"]
    assert {item.before for item in content.items} == {None}
    assert {item.group for item in content.items} == {"food"}
    assert content.count("food") == 3


def test_helper_places_of_a_feed_are_shown_by_the_groups_of_their_kinds(engine: sa.Engine) -> None:
    stage_helpers(engine, "town", FIRST, {"feed:wc": {"1#toilets": "wc", "2#atm": "bank"}})
    content = of_day(engine, Slice("town", "helper", "feed:wc", FIRST))
    assert [item.group for item in content.items] == ["hygiene", "money"]


def test_a_difference_has_the_changes_of_diff_and_says_which_moved(engine: sa.Engine) -> None:
    base = 0.5
    before = {"node/1": ("gone", base), "node/2": ("same", base), "node/3": ("old", base)}
    before |= {"node/4": ("walks", base), "node/5": ("trembles", base)}
    after = {"node/2": ("same", base), "node/3": ("new", base), "node/6": ("comes", base)}
    after |= {"node/4": ("walks", base + 1.2 * METRE), "node/5": ("trembles", base + 0.8 * METRE)}
    stage_at(engine, FIRST, before)
    stage_at(engine, SECOND, after)
    content = of_difference(engine, slice_of("town", SECOND), FIRST)
    groups = {(item.after or item.before or {})["source_ref"]: item.group for item in content.items}
    assert groups == {
        "node/6": "added",
        "node/1": "removed",
        "node/4": "moved",
        "node/3": "changed",
        "node/5": "changed",
    }
    changes = difference(engine, slice_of("town", FIRST), SECOND)
    assert set(groups) == {change.source_ref for change in changes}
    fields = {change.source_ref: change.changed_fields for change in changes}
    for item in content.items:
        row = item.after or item.before or {}
        assert item.changed_fields == fields[row["source_ref"]]
        assert (item.before is None) == (item.group == "added")
        assert (item.after is None) == (item.group == "removed")
    assert set(content.as_of) == {FIRST, SECOND}


@pytest.mark.parametrize("missing", [FIRST, SECOND])
def test_a_day_that_is_not_staged_is_named(engine: sa.Engine, missing: date) -> None:
    stage(engine, "town", FIRST if missing == SECOND else SECOND, {"node/1": "a"})
    with pytest.raises(DayNotStaged, match=str(missing)):
        of_difference(engine, slice_of("town", SECOND), FIRST)


def test_what_the_page_reads_is_json_by_column(engine: sa.Engine) -> None:
    stage(engine, "town", FIRST, {"node/1": "a", "node/2": "b"})
    stage(engine, "town", SECOND, {"node/1": "A"})
    shown = as_json(
        of_difference(engine, slice_of("town", SECOND), FIRST),
        title="Town",
        things="POIs",
        meaning={"amenity/cafe": "Cafe"}.get,
        basemap=None,
    )
    read = json.loads(json.dumps(shown))
    assert [group["key"] for group in read["groups"]] == [group.key for group in CHANGES.groups]
    assert read["items"] == {
        "group": [1, 3],
        "before": [0, 1],
        "after": [None, 2],
        "fields": [[], ["name"]],
        "cause": ["upstream", "upstream"],
    }
    assert read["columns"]["source_ref"] == ["node/2", "node/1", "node/1"]
    assert read["columns"]["name"] == ["b", "a", "A"]
    assert read["columns"]["osm_timestamp"][0] == "2026-11-20T03:04:05Z"
    assert "geometry" not in read["columns"]
    assert read["classes"] == {"amenity/cafe": "Cafe"}
    assert (read["from"], read["day"]) == ("2024-06-01", "2024-06-02")
