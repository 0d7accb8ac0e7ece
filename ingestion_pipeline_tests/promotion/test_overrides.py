"""Overrides: applied at promotion, shown in the row, and retired by themselves."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from ingestion_pipeline.promotion import overrides
from ingestion_pipeline.promotion.errors import BadOverride, UnknownPlace
from ingestion_pipeline.staging.tables import PUBLIC_LAYER
from ingestion_pipeline_tests.support.promoted import (
    by_ref,
    promote,
    public_rows,
    revert,
    stage_places,
)
from testbed.claims import NOW

if TYPE_CHECKING:
    from ingestion_pipeline.promotion.overrides import Override

DAY = date(2026, 11, 1)
CAFE = {"category": "amenity/cafe", "name": "Blue Door"}


def days(number: int) -> date:
    return DAY + timedelta(days=number)


@pytest.fixture
def cafe(engine: sa.Engine) -> str:
    """The id of a public café."""
    stage_places(engine, "kazan", DAY, {"node/1": CAFE})
    promote(engine, "kazan", DAY)
    return str(by_ref(engine, "kazan")["node/1"]["poi_id"])


def override(
    engine: sa.Engine, poi_id: str, column: str, value: Any, until: date | None = None
) -> Override:
    made, _ = overrides.set_override(
        engine, poi_id, column, value, reason="a letter", who="ann", until=until, now=NOW
    )
    return made


def test_an_override_is_applied_by_the_next_promotion_and_shown_in_the_row(
    engine: sa.Engine, cafe: str
) -> None:
    made = override(engine, cafe, "name", "Green Door")
    assert by_ref(engine, "kazan")["node/1"]["name"] == "Blue Door"
    done = promote(engine, "kazan", DAY)
    row = by_ref(engine, "kazan")["node/1"]
    assert row["name"] == "Green Door"
    assert row["overrides"] == {
        "name": {
            "override_id": made.id,
            "upstream": "Blue Door",
            "reason": "a letter",
            "who": "ann",
        }
    }
    assert done.counts == {"renamed": 1}


def test_an_override_survives_changes_upstream(engine: sa.Engine, cafe: str) -> None:
    override(engine, cafe, "name", "Green Door")
    stage_places(engine, "kazan", days(1), {"node/1": CAFE | {"name": "Bluer Door"}})
    promote(engine, "kazan", days(1))
    row = by_ref(engine, "kazan")["node/1"]
    assert (row["name"], row["overrides"]["name"]["upstream"]) == ("Green Door", "Bluer Door")


def test_an_override_retires_when_upstream_agrees_and_stays_retired(
    engine: sa.Engine, cafe: str
) -> None:
    made = override(engine, cafe, "name", "Green Door")
    promote(engine, "kazan", DAY)
    stage_places(engine, "kazan", days(1), {"node/1": CAFE | {"name": "Green Door"}})
    done = promote(engine, "kazan", days(1))
    assert done.findings["retired_overrides"] == [[made.id, "upstream agrees"]]
    (retired,) = overrides.overrides_of(engine, cafe)
    assert (retired.retired_why, retired.retired_promotion_id) == ("upstream agrees", done.id)
    assert by_ref(engine, "kazan")["node/1"]["overrides"] == {}
    stage_places(engine, "kazan", days(2), {"node/1": CAFE | {"name": "Red Door"}})
    promote(engine, "kazan", days(2))
    assert by_ref(engine, "kazan")["node/1"]["name"] == "Red Door"


def test_an_override_is_in_force_again_when_its_retirement_is_reverted(
    engine: sa.Engine, cafe: str
) -> None:
    override(engine, cafe, "name", "Green Door")
    promote(engine, "kazan", DAY)
    before = public_rows(engine, "kazan")
    stage_places(engine, "kazan", days(1), {"node/1": CAFE | {"name": "Green Door"}})
    done = promote(engine, "kazan", days(1))
    revert(engine, "kazan", done.id)
    assert public_rows(engine, "kazan") == before
    (again,) = overrides.overrides_of(engine, cafe)
    assert again.retired_at is None


def test_an_override_ends_after_its_last_day(engine: sa.Engine, cafe: str) -> None:
    made = override(engine, cafe, "name", "Green Door", until=days(1))
    names = []
    for number in (1, 2):
        stage_places(engine, "kazan", days(number), {"node/1": CAFE})
        done = promote(engine, "kazan", days(number))
        names.append(by_ref(engine, "kazan")["node/1"]["name"])
    assert names == ["Green Door", "Blue Door"]
    assert done.findings["retired_overrides"] == [[made.id, "its last day has passed"]]


def test_a_hidden_place_stays_in_the_table_and_not_in_the_view_of_readers(
    engine: sa.Engine, cafe: str
) -> None:
    override(engine, cafe, "hidden", value=True)
    promote(engine, "kazan", DAY)
    assert by_ref(engine, "kazan")["node/1"]["hidden"]
    shown = sa.text(f"SELECT poi_id FROM {PUBLIC_LAYER}")
    with engine.connect() as connection:
        assert connection.execute(shown).all() == []
    removed = overrides.remove_override(engine, cafe, "hidden", reason="sold", who="bob", now=NOW)
    assert (removed.retired_why, removed.retired_by, removed.retired_reason) == (
        "removed",
        "bob",
        "sold",
    )
    promote(engine, "kazan", DAY)
    with engine.connect() as connection:
        assert connection.execute(shown).all() == [(cafe,)]


def test_a_second_override_of_a_column_replaces_the_first(engine: sa.Engine, cafe: str) -> None:
    override(engine, cafe, "name", "Green Door")
    promote(engine, "kazan", DAY)
    override(engine, cafe, "name", "Grey Door")
    promote(engine, "kazan", DAY)
    assert by_ref(engine, "kazan")["node/1"]["name"] == "Grey Door"
    assert [each.retired_why for each in overrides.overrides_of(engine, cafe)].count(
        "replaced"
    ) == 1


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("geometry", "POINT(1 1)", "Column 'geometry' cannot be overridden. Use one of name,"),
        ("hidden", False, "An override of 'hidden' needs true; found False."),
        ("status", "gone", "needs one of operating, construction"),
        ("category", "cafe", "needs a category of docs/categories.md, such as amenity/cafe"),
        ("category", "amenity/caffe", "needs a category of docs/categories.md"),
        ("opening_hours", "from nine to five", "needs opening hours as OpenStreetMap writes them"),
        ("wikidata", "Berlin", "needs an item of Wikidata, such as Q64, or null"),
        ("address", {"street": 1}, "needs an object of texts"),
        ("contact", {"phone": "+7"}, "needs an object of lists of texts"),
        ("contact", {"phone": []}, "needs an object of lists of texts"),
        ("name", "", "needs a text, or null"),
        ("name", " ", "needs a text, or null"),
        ("name", "a\0b", "has a character that no database stores"),
        ("address", {"street": "\ud800"}, "has a character that no database stores"),
    ],
)
def test_an_override_that_does_not_fit_is_refused(
    engine: sa.Engine, cafe: str, column: str, value: Any, message: str
) -> None:
    with pytest.raises(BadOverride, match=message):
        override(engine, cafe, column, value)


def test_opening_hours_are_stored_as_staging_writes_them(engine: sa.Engine, cafe: str) -> None:
    assert override(engine, cafe, "opening_hours", "mo-fr 9-18").value == "Mo-Fr 09:00-18:00"


def test_the_same_request_again_stores_no_override(engine: sa.Engine, cafe: str) -> None:
    made = override(engine, cafe, "address", {"street": "Long Lane"})
    again = override(engine, cafe, "address", {"street": "Long Lane"})
    assert again == made
    assert overrides.overrides_of(engine, cafe) == [made]


def test_many_who_set_one_column_at_once_leave_one_override_in_force(
    engine: sa.Engine, cafe: str
) -> None:
    start = threading.Barrier(8)

    def client(number: int) -> None:
        start.wait()
        override(engine, cafe, "name", f"Door {number % 4}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, range(8)))
    found = overrides.overrides_of(engine, cafe)
    assert [each.retired_at for each in found].count(None) == 1
    assert {each.retired_why for each in found} == {None, "replaced"}


def test_an_override_of_an_unknown_place_is_refused(engine: sa.Engine) -> None:
    with pytest.raises(UnknownPlace, match="No public place has or had the id 'nowhere'"):
        override(engine, "nowhere", "name", "Green Door")
