"""The changes of a promotion as text."""

from __future__ import annotations

from typing import Any

import pytest

from ingestion_pipeline.cli.changes import by_kind, places_of, summary
from ingestion_pipeline.promotion.events import KINDS, ORDER, Event, Kind

TITLES = {"a": "Blue Door", "b": "Red Door"}
LINK = {
    "from": "node/1",
    "to": "way/9",
    "score": 0.9,
    "evidence": {
        "bits": 7.0,
        "category": "equal",
        "metres": 6.7,
        "name_similarity": 0.5,
        "same": ["phone"],
        "different": ["website"],
    },
}
TWIN = {"node": "node/1", "area": "way/9", "evidence": {"inside": True, "metres": 0.0}}
PLACE = {"name": None, "category": "amenity/bench", "source_ref": "node/5"}


def test_every_kind_of_event_has_its_place_in_the_order() -> None:
    assert sorted(ORDER) == sorted(KINDS)


def test_events_are_grouped_with_losses_first() -> None:
    events = [Event("a", kind, {}, {}, {}) for kind in ("appeared", "moved", "disappeared")]
    assert list(by_kind(events)) == ["disappeared", "moved", "appeared"]


@pytest.mark.parametrize(
    ("kind", "before", "after", "evidence", "text"),
    [
        ("disappeared", PLACE, None, {}, "amenity/bench node/5"),
        ("merged", PLACE | {"name": "Bar"}, None, {"into": "b"}, "Bar: with Red Door"),
        ("split", None, PLACE | {"name": "Bar"}, {"from": "gone"}, "Bar: with gone"),
        ("moved", {"lon": 1}, {"lon": 2}, {"metres": 1234.5}, "Blue Door: 1,234.5 m"),
        ("renamed", {"name": None}, {"name": "Bar"}, {}, "Blue Door: none -> Bar"),
        (
            "recategorised",
            {"category": "a/b", "categories": ["a/b"]},
            {"category": "a/c", "categories": ["a/c"]},
            {},
            "Blue Door: a/b -> a/c",
        ),
        ("closed", {"status": "operating"}, {"status": "disused"}, {}, "operating -> disused"),
        (
            "contact_changed",
            {"contact": {"phone": ["1"], "email": ["e"]}, "tags": {"phone": "1"}},
            {"contact": {"phone": ["2"], "email": ["e"]}, "tags": {"phone": "2"}},
            {},
            "Blue Door: contact phone",
        ),
        (
            "attributes_changed",
            {"geometry": "1", "lon": 1.0, "tags": {"a": "1"}, "wikidata": None},
            {"geometry": "2", "lon": 1.1, "tags": {"b": "1"}, "wikidata": "Q1"},
            {},
            "Blue Door: geometry; tags a, b; wikidata none -> Q1",
        ),
        (
            "attributes_changed",
            {"osm_version": 1, "content_hash": "x"},
            {"osm_version": 2, "content_hash": "y"},
            {},
            "Blue Door: edited without another value",
        ),
        (
            "reidentified",
            {"source_ref": "node/1"},
            {"source_ref": "way/9"},
            {"link": LINK},
            "0.9 (category equal, 6.7 m apart, names 50% alike, same phone, different website)",
        ),
        (
            "reidentified",
            {"other_refs": {}},
            {"other_refs": {"node/1": "x"}},
            {"twin": TWIN},
            "Blue Door: node/1 in way/9 (inside)",
        ),
        (
            "reidentified",
            {"other_refs": {"node/1": "x"}},
            {"other_refs": {}},
            {},
            "Blue Door: node/1 -> none",
        ),
    ],
)
def test_an_event_is_a_line(
    kind: Kind,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    evidence: dict[str, Any],
    text: str,
) -> None:
    event = Event("a", kind, before, after, evidence)
    assert summary(event, TITLES).endswith(text)
    assert places_of([event]) >= {"a"}
