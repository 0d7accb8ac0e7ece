"""What is said of a helper: its own attributes, those of the place around it, and its status."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, get_args

import pytest

from ingestion_pipeline.columns.hashing import with_content_hash
from ingestion_pipeline.helpers import vocabulary
from ingestion_pipeline.helpers.derive import Helpers, derive
from ingestion_pipeline.helpers.vocabulary import known_value
from ingestion_pipeline.osm import taxonomy
from ingestion_pipeline.staging.tables import content_columns, helper_place
from ingestion_pipeline.text.names import Namer
from ingestion_pipeline_tests.support.osm_objects import osm_nodes

if TYPE_CHECKING:
    import pyarrow as pa

DAY = date(2026, 11, 20)
HOURS = "Mo-Fr 08:00-19:00"


def derived(**tags: str) -> pa.Table:
    """Give the rows that an object with these tags has."""
    return derived_on(DAY, **tags)


def derived_on(day: date, **tags: str) -> pa.Table:
    """Give those of a day."""
    return helpers_on(day, **tags).table


def helpers_on(day: date, **tags: str) -> Helpers:
    """Give them with what is counted of them."""
    objects = osm_nodes([1], [10.0], [50.0])
    return derive(
        objects, [tags], day=day, namer=Namer(["en"], None), licence="ODbL-1.0", attribution="© OSM"
    )


def helper(kind: str, **tags: str) -> dict[str, Any]:
    """Give the row of one kind that an object with these tags has."""
    (row,) = (row for row in derived(**tags).to_pylist() if row["kind"] == kind)
    return {**row, "attributes": json.loads(row["attributes"])}


def test_the_content_hash_is_over_the_tables_content_in_its_order() -> None:
    rows = derived(amenity="cafe", toilets="yes", name="Sun")
    columns = ["source_ref", "source_hash", *content_columns(helper_place), "content_hash"]
    assert sorted(rows.column_names) == sorted(columns)
    assert with_content_hash(rows.select(columns)).equals(rows.select(columns))


def test_a_helper_has_the_name_that_it_had_while_it_was_in_use_and_no_operators() -> None:
    gone = helper("toilets", amenity="toilets", disused="yes", old_name="Old Ones", operator="City")
    assert (gone["name"], gone["name_source"]) == ("Old Ones", "old_name")
    there = helper("toilets", amenity="toilets", old_name="Old Ones", operator="City")
    assert (there["name"], there["operator"]) == (None, "City")


def test_a_fee_of_zero_is_none_at_the_place_and_at_what_it_has() -> None:
    assert helper("toilets", amenity="toilets", fee="0.00 EUR")["fee"] == "no"
    assert helper("toilets", amenity="cafe", toilets="yes", **{"toilets:fee": "£0"})["fee"] == "no"


def test_values_that_are_not_understood_are_counted() -> None:
    tags = {"fee": "see sign", "access": "unknown", "wheelchair": "no;yes", "level": "0-1"}
    assert helpers_on(DAY, amenity="toilets", **tags).unparsed_values == 2
    # Those of its parent are not the toilet's.
    assert helpers_on(DAY, amenity="parking", toilets="yes", **tags).unparsed_values == 2
    assert helpers_on(DAY, shop="bakery", toilets="yes", **tags).unparsed_values == 0


def test_what_is_said_of_a_derived_helper_is_its_own() -> None:
    toilets = helper(
        "toilets",
        amenity="cafe",
        toilets="yes",
        wheelchair="yes",
        fee="no",
        operator="Ann",
        **{"toilets:wheelchair": "no", "toilets:fee": "yes", "toilets:level": "-1"},
    )
    assert {key: toilets[key] for key in ("wheelchair", "fee", "operator", "level")} == {
        "wheelchair": "no",
        "fee": "yes",
        "operator": None,
        "level": "-1",
    }
    assert (toilets["parent_ref"], toilets["derived_from"]) == ("node/1", "toilets=yes")


def test_a_toilet_known_only_as_one_for_wheelchairs_can_be_used_with_one() -> None:
    toilets = helper("toilets", amenity="parking", **{"toilets:wheelchair": "yes"})
    assert toilets["derived_from"] == "toilets:wheelchair=yes"
    assert toilets["wheelchair"] == "yes"


def test_a_derived_helper_is_on_the_level_of_its_place_and_open_with_it() -> None:
    atm = helper("atm", amenity="bank", atm="yes", level="1", opening_hours=HOURS)
    assert (atm["level"], atm["opening_hours"]) == ("1", HOURS)
    own = helper(
        "atm", amenity="bank", atm="yes", opening_hours=HOURS, **{"atm:opening_hours": "24/7"}
    )
    assert own["opening_hours"] == "24/7"


@pytest.mark.parametrize(
    ("tags", "access"),
    [
        ({}, None),
        ({"access": "yes"}, None),
        ({"access": "permissive"}, None),
        ({"access": "private"}, "private"),
        ({"access": "customers"}, "customers"),
        ({"access": "private", "toilets:access": "public"}, "yes"),
        ({"toilets": "customers"}, "customers"),
        ({"toilets": "public", "access": "customers"}, "yes"),
    ],
    ids=str,
)
def test_who_may_not_enter_a_place_may_not_use_what_is_in_it(
    tags: dict[str, str], access: str | None
) -> None:
    assert helper("toilets", **({"amenity": "cafe", "toilets": "yes"} | tags))["access"] == access


def test_attributes_of_the_whole_place_are_not_those_of_what_is_in_it() -> None:
    salon = {"shop": "hairdresser", "unisex": "yes", "toilets": "yes", "toilets:female": "yes"}
    assert helper("toilets", **salon)["attributes"] == {
        "female": "yes",
        "toilets:female": "yes",
    }
    assert helper("toilets", amenity="toilets", unisex="yes")["attributes"] == {"unisex": "yes"}
    hotel = {"tourism": "hotel", "capacity": "200", "luggage_storage": "yes"}
    assert helper("luggage_storage", **hotel)["attributes"] == {}
    spring = {"natural": "spring", "drinking_water": "yes", "seasonal": "yes"}
    assert helper("drinking_water", **spring)["attributes"] == {"seasonal": "yes"}


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ({"amenity": "cafe"}, "operating"),
        ({}, "operating"),
        ({"amenity": "cafe", "disused": "yes"}, "disused"),
        ({"amenity": "cafe", "construction": "yes"}, "construction"),
        ({"amenity": "cafe", "operational_status": "broken"}, "out_of_order"),
        ({"amenity": "cafe", "operational_status": "out of service"}, "out_of_order"),
        ({"amenity": "cafe", "operational_status": "abandoned"}, "abandoned"),
        ({"amenity": "cafe", "operational_status": "operational"}, "operating"),
        ({"amenity": "cafe", "operational_status": "as it seems"}, "operating"),
        ({"disused:amenity": "cafe"}, "disused"),
        ({"was:highway": "bus_stop"}, "disused"),
        ({"disused:amenity": "bank", "amenity": "cafe"}, "operating"),
        ({"razed:shop": "kiosk", "proposed:shop": "mall"}, "proposed"),
        ({"shop": "vacant"}, "disused"),
        ({"amenity": "no", "abandoned:tourism": "hotel"}, "abandoned"),
        ({"was:ref": "7", "amenity": "cafe"}, "operating"),
        ({"ruins:amenity": "cafe"}, "abandoned"),
        ({"historic:amenity": "cafe"}, "disused"),
        ({"amenity": "cafe", "historic": "ruins"}, "operating"),
        ({"shop": " Vacant "}, "disused"),
        ({"amenity": "cafe", "opening_date": "2026-11-21"}, "proposed"),
        ({"amenity": "cafe", "end_date": "2025"}, "disused"),
        ({"amenity": "cafe", "end_date": "~2025"}, "operating"),
        ({"amenity": "cafe", "disused": "yes", "opening_date": "2027"}, "disused"),
    ],
    ids=str,
)
def test_what_has_gone_with_its_place_is_not_operating(tags: dict[str, str], status: str) -> None:
    assert helper("toilets", toilets="yes", **tags)["status"] == status


def test_a_date_that_has_come_is_a_change_upstream() -> None:
    hashes = {
        day: derived_on(day, amenity="toilets", opening_date="2026-11-21").column("source_hash")
        for day in (DAY, DAY + timedelta(days=1), DAY + timedelta(days=2))
    }
    before, on_the_day, after = hashes.values()
    assert before != on_the_day == after


def test_the_words_of_a_lifecycle_mean_the_same_of_pois_and_helpers() -> None:
    assert vocabulary.STATUS_OF_WORD == taxonomy.STATUS_OF_WORD
    assert vocabulary.STATUS_OF_PREFIX == taxonomy.STATUS_OF_PREFIX
    assert set(get_args(vocabulary.Status)) == {*get_args(taxonomy.Status), "out_of_order"}


@pytest.mark.parametrize(
    ("column", "value", "word"),
    [
        ("access", "public", "yes"),
        ("access", "Private", "private"),
        ("access", "unknown", None),
        ("access", "fine_gravel", None),
        ("access", "staff;customers", "customers"),
        ("fee", "no", "no"),
        ("fee", "0.50 EUR", "yes"),
        ("fee", "1€", "yes"),
        ("fee", "EUR 2", "yes"),
        ("fee", "donation", "donation"),
        ("fee", HOURS, "sometimes"),
        ("fee", "Mo-Fr 08:00-19:00; Sa 08:00-14:00", "sometimes"),
        ("fee", "unknown", None),
        ("fee", "no (wifi); yes (cafe computers)", None),
        ("wheelchair", "limited", "limited"),
        ("wheelchair", "unknown", None),
        ("level", "0;1", "0;1"),
        ("level", None, None),
    ],
)
def test_a_value_is_understood_as_a_word_or_not_at_all(
    column: str, value: str | None, word: str | None
) -> None:
    assert known_value(column, value) == word
