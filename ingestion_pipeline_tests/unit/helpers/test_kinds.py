"""Which helpers an object of OSM is or has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import osmium
import pytest

from ingestion_pipeline.datasets.helper import HELPER
from ingestion_pipeline.helpers.derive import helpers_of
from ingestion_pipeline.helpers.kinds import CLOSED_TAGS, KINDS
from ingestion_pipeline_tests.support.independent_helpers import kinds_of
from scripts.build_helper_kinds import TARGET, page

if TYPE_CHECKING:
    from pathlib import Path


def found(**tags: str) -> dict[str, str | None]:
    """Give the kinds of an object's helpers, with the tags that they are derived from."""
    return {kind.name: tag for kind, tag in helpers_of(tags)}


def test_an_object_is_a_helper_by_a_main_tag() -> None:
    assert found(amenity="toilets") == {"toilets": None}
    assert found(shop="bakery") == {}


def test_all_tags_of_a_rule_are_needed() -> None:
    assert found(tourism="information") == {}
    assert found(tourism="information", information="office") == {"tourist_information": None}
    assert found(information="office") == {}


def test_an_object_has_a_helper_by_a_secondary_tag() -> None:
    assert found(amenity="cafe", toilets="yes", internet_access="wlan") == {
        "toilets": "toilets=yes",
        "internet_access": "internet_access=wlan",
    }
    assert found(amenity="bank", atm="yes") == {"atm": "atm=yes", "bank": None}


def test_what_an_object_is_it_does_not_have_beside() -> None:
    assert found(amenity="drinking_water", drinking_water="yes") == {"drinking_water": None}


@pytest.mark.parametrize(
    "tags",
    [{"toilets": "no"}, {"toilets": "no", "toilets:wheelchair": "yes"}, {"toilets": "unknown"}],
    ids=str,
)
def test_a_secondary_tag_that_says_no_or_nothing_gives_none(tags: dict[str, str]) -> None:
    assert found(amenity="cafe", **tags) == {}


def test_no_wins_over_the_main_tag() -> None:
    assert found(amenity="water_point", drinking_water="no") == {}
    assert found(amenity="cafe", drinking_water="no", free_water="yes") == {}


@pytest.mark.parametrize(
    ("tags", "kinds"),
    [
        ({"amenity": "toilets", "toilets:wheelchair": "no"}, {"toilets": None}),
        ({"toilets": "yes", "toilets:wheelchair": "no"}, {"toilets": "toilets=yes"}),
        ({"toilets:wheelchair": "no"}, {}),
        ({"drinking_water": "yes", "free_water": "no"}, {"drinking_water": "drinking_water=yes"}),
        ({"amenity": "luggage_storage", "luggage_locker": "no"}, {"luggage_storage": None}),
        ({"internet_access": "wlan", "wifi": "no"}, {"internet_access": "internet_access=wlan"}),
        (
            {"amenity": "bicycle_repair_station", "service:bicycle:repair": "no"},
            {"bicycle_repair": None},
        ),
    ],
    ids=str,
)
def test_a_no_to_a_special_form_takes_nothing_away(
    tags: dict[str, str], kinds: dict[str, str | None]
) -> None:
    assert found(**tags) == kinds


def test_a_kind_is_denied_by_one_of_its_secondary_keys() -> None:
    for kind in KINDS.values():
        assert kind.denied_by is None or kind.denied_by in kind.secondary


def test_what_runs_only_when_the_mains_fail_is_no_drinking_water() -> None:
    assert found(emergency="drinking_water", man_made="water_well") == {}


def test_an_entrance_is_no_stop() -> None:
    assert found(railway="subway_entrance") == {"station_entrance": None}
    assert found(entrance="main") == {}


def test_values_of_several_count_one_by_one() -> None:
    assert found(amenity="bank; atm") == {"atm": None, "bank": None}
    assert found(amenity=" Bank ") == {"bank": None}
    assert found(amenity="cafe", toilets="Yes") == {"toilets": "toilets=yes"}
    assert found(amenity="toilets", toilets="No") == {}
    assert found(internet_access="terminal;wlan") == {"internet_access": "internet_access=terminal"}


def test_what_is_behind_a_lifecycle_prefix_is_no_helper() -> None:
    assert helpers_of({"disused:amenity": "toilets"}) == []


def test_everything_that_gives_a_helper_is_asked_for() -> None:
    for kind in KINDS.values():
        for rule in kind.main:
            assert HELPER.selection.selects(rule)
        for key, values in kind.secondary.items():
            assert all(HELPER.selection.selects({key: value}) for value in values)
    assert HELPER.selection.selects({"amenity": "restaurant; atm"})
    assert not HELPER.selection.selects({"amenity": "restaurant"})


def test_the_tags_that_are_asked_for_are_in_order_and_named_once() -> None:
    assert list(CLOSED_TAGS) == sorted(CLOSED_TAGS)
    assert all(list(values) == sorted(set(values)) for values in CLOSED_TAGS.values())


def test_the_page_of_the_kinds_is_made_of_the_table() -> None:
    assert TARGET.read_text(encoding="utf-8") == page(), "run scripts/build_helper_kinds.py"
    assert re.findall(r"^\| `(\w+)` \|", page(), re.MULTILINE) == list(KINDS)


EXTRACTS = ("monaco-2023-12-26", "andorra-2025-01-19")


def agrees_on_every_object(path: Path) -> int:
    """Compare with the second telling; give the number of helpers."""
    count = 0
    item: Any
    for item in osmium.FileProcessor(str(path)).with_filter(osmium.filter.EmptyTagFilter()):
        tags = {tag.k: tag.v for tag in item.tags}
        ours = {kind.name for kind, _ in helpers_of(tags)}
        assert ours == kinds_of(tags), tags
        assert HELPER.selection.selects(tags) or not ours
        count += len(ours)
    return count


def test_a_second_telling_agrees_on_every_object_of_the_sample(helsinki_pbf: Path) -> None:
    assert agrees_on_every_object(helsinki_pbf) > 800


@pytest.mark.real_data
@pytest.mark.parametrize("name", EXTRACTS)
def test_a_second_telling_agrees_on_every_object(osm_test_data: Path, name: str) -> None:
    assert agrees_on_every_object(osm_test_data / "extracts" / f"{name}.osm.pbf") > 900
