"""The tables of feeds in the file of cities: what is accepted, and what is said of mistakes."""

from __future__ import annotations

import json
import pickle
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline.config.cities import CitiesFileError, load_cities
from ingestion_pipeline.config.feeds import KEYS, AsOfRule, judge_feed, read_feeds
from ingestion_pipeline.helpers.kinds import KINDS
from ingestion_pipeline_tests.support.feed_server import FOUNTAINS, TOILETS, feed_of

if TYPE_CHECKING:
    from pathlib import Path

CITY = """
[[city]]
slug = "kazan"
name = { en = "Kazan" }
country = "RU"
timezone = "Europe/Moscow"
bbox = [48.93, 55.69, 49.3, 55.92]
boundary_ref = "bbox"
languages = ["ru", "en"]
minimum_pois = 1000
enabled = true
"""


def toml(table: dict[str, Any]) -> str:
    """Write a table of a feed; JSON's texts, numbers and lists are TOML's too."""
    return "[[city.feed]]\n" + "".join(f"{key} = {written(table[key])}\n" for key in table)


def written(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)} = {written(value[key])}" for key in value)
        return "{ " + ", ".join(pairs) + " }"
    return json.dumps(value, ensure_ascii=False)


def mistakes_of(*tables: Any) -> list[str]:
    mistakes: list[str] = []
    read_feeds('city[1] "kazan"', list(tables), mistakes, kinds=KINDS)
    return mistakes


def without(table: Any, *keys: str) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in keys}


def test_a_city_has_the_feeds_of_its_tables(tmp_path: Path) -> None:
    file = tmp_path / "cities.toml"
    file.write_text(CITY + toml({**TOILETS}) + toml({**FOUNTAINS}), "utf-8")
    toilets, fountains = load_cities(file).get("kazan").feeds
    assert toilets == feed_of(TOILETS)
    assert toilets.source == "feed:toilets"
    assert toilets.all_kinds == {"toilets", "baby_change"}
    assert toilets.maximum_age == timedelta(days=7)
    assert toilets.maximum_bytes == 50_000_000
    assert fountains.all_kinds == {"drinking_water"}
    assert fountains.as_of == AsOfRule("day_in_location")
    assert fountains.location_on(date(2026, 11, 20)).endswith("/fountains-2026-11-20.csv")


def test_a_city_may_have_no_feed(tmp_path: Path) -> None:
    file = tmp_path / "cities.toml"
    file.write_text(CITY, "utf-8")
    assert load_cities(file).get("kazan").feeds == ()


def test_a_feed_can_be_hashed_and_pickled() -> None:
    feed = feed_of(TOILETS)
    assert hash(feed) == hash(feed_of(TOILETS))
    assert pickle.loads(pickle.dumps(feed)) == feed


def test_all_mistakes_of_all_feeds_of_a_city_are_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "cities.toml"
    wrong_city = CITY.replace('country = "RU"', 'country = "XX"')
    wrong = {**TOILETS, "licence": "MIT", "minimum": 0}
    file.write_text(wrong_city + toml(wrong) + toml(without(FOUNTAINS, "licence", "lon")), "utf-8")
    with pytest.raises(CitiesFileError) as caught:
        load_cities(file)
    assert str(caught.value).startswith(f"{file} cannot be used")
    assert [mistake.partition(": is ")[0] for mistake in caught.value.mistakes] == [
        'city[1] "kazan": country',
        'city[1] "kazan": feed[1] "toilets": licence',
        'city[1] "kazan": feed[1] "toilets": minimum',
        'city[1] "kazan": feed[2] "fountains": licence',
        'city[1] "kazan": feed[2] "fountains": lon',
    ]


def test_a_feed_without_a_licence_is_refused() -> None:
    assert mistakes_of(without(TOILETS, "licence")) == [
        'city[1] "kazan": feed[1] "toilets": licence: is missing'
    ]


@pytest.mark.parametrize("key", [key for key, rule in KEYS.items() if rule.required])
def test_a_required_key_may_not_be_missing(key: str) -> None:
    place = 'city[1] "kazan": feed[1]' + ("" if key == "slug" else ' "toilets"')
    assert mistakes_of(without(TOILETS, key)) == [f"{place}: {key}: is missing"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("slug", "City Toilets", "small letters"),
        ("location", "", "a path or URL"),
        ("location", 1, "a path or URL"),
        ("location", "http:///x", "http(s)://host"),
        ("location", "https://example.org/{region}", "nothing else in braces"),
        ("location", "https://example.org/{day", "expected '}'"),
        ("format", "shapefile", '"geojson" or "csv"'),
        ("record_id", " ", "a text that is not empty"),
        ("kinds", {}, "a table of values and kinds"),
        ("kinds", {"WC": "Toilets"}, "a kind of helper place"),
        ("fields", ["name"], "a table of fields"),
        ("fields", {"name": 1}, "a table of fields"),
        ("fields", {"names": "TITLE"}, "did you mean 'name'?"),
        ("fields", {"name:Russian": "TITLE"}, "is none of them"),
        ("attributes", {"unisex": ""}, "a table of attributes"),
        ("values", {"fee": {}}, "what its values mean"),
        ("values", {"fee": "yes"}, "what its values mean"),
        ("licence", "CC-BY-SA 4.0", "did you mean 'CC-BY-SA-4.0'?"),
        ("licence", "CC-BY-NC-4.0", "one of ODbL-1.0"),
        ("attribution", "", "a text that is not empty"),
        ("as_of", "daily", "that a feed is said to be updated every day proves nothing"),
        ("as_of", "record:", '"record:<field>"'),
        ("as_of", 1, '"last_modified"'),
        ("maximum_age_days", 0, "from 1 to 366"),
        ("maximum_age_days", 367, "from 1 to 366"),
        ("minimum", 0, "at least 1"),
        ("minimum", True, "at least 1"),
        ("maximum_bytes", 0, "at least 1"),
        ("sha256", "ABC", "64 hexadecimal digits"),
        ("etag", "", "a text that is not empty"),
        ("permission", "", "a text that is not empty"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place_and_what_is_allowed(
    key: str, value: Any, said: str
) -> None:
    (mistake,) = mistakes_of({**TOILETS, key: value})
    slug = value if key == "slug" else "toilets"
    assert mistake.startswith(f'city[1] "kazan": feed[1] "{slug}": {key}: is ')
    assert said in mistake


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("delimiter", "", "one character"),
        ("delimiter", '"', "one character"),
        ("encoding", "windows-russian", "an encoding"),
        ("encoding", 1251, "an encoding"),
        ("lon", "", "a text that is not empty"),
    ],
)
def test_a_wrong_value_of_csv_is_refused(key: str, value: Any, said: str) -> None:
    (mistake,) = mistakes_of({**FOUNTAINS, key: value})
    assert f"{key}: is " in mistake
    assert said in mistake


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({**TOILETS, "kind": "toilets"}, "kind: goes without kind_field and kinds"),
        (without(TOILETS, "kinds"), "kind: is missing"),
        (without(TOILETS, "kind_field"), "kind: is missing"),
        (without(FOUNTAINS, "kind"), "kind: is missing"),
        (without(FOUNTAINS, "lat"), "lat: is missing"),
        ({**FOUNTAINS, "record_id": "@id"}, "which only GeoJSON has"),
        ({**FOUNTAINS, "as_of": "document:meta.made"}, "which a CSV does not have"),
        ({**TOILETS, "lon": "x"}, "lon: is only for CSV"),
        ({**TOILETS, "encoding": "utf-8"}, "encoding: is only for CSV"),
        ({**TOILETS, "location": "/data/x.geojson"}, "which only an http(s) location has"),
        ({**TOILETS, "as_of": "day_in_location"}, "the location has no {day}"),
        ({**TOILETS, "values": {"fees": {"ja": "yes"}}}, "did you mean 'fee'?"),
        ({**TOILETS, "colour": "red"}, "colour: unknown key"),
        ({**TOILETS, "license": "MIT"}, "license: unknown key; did you mean 'licence'?"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(table: dict[str, Any], said: str) -> None:
    (mistake,) = mistakes_of(table)
    assert mistake.startswith('city[1] "kazan": feed[1] ')
    assert said in mistake


def test_two_feeds_of_a_city_may_not_have_one_slug() -> None:
    assert mistakes_of(TOILETS, {**FOUNTAINS, "slug": "toilets"}) == [
        (
            'city[1] "kazan": feed[2] "toilets": slug: is that of city[1] "kazan": feed[1] '
            '"toilets" too; a slug names one feed of a city'
        )
    ]


@pytest.mark.parametrize("tables", [{"slug": "toilets"}, ["toilets"], "toilets"])
def test_feeds_that_are_no_tables_are_refused(tables: Any) -> None:
    mistakes: list[str] = []
    assert read_feeds("city[1]", tables, mistakes, kinds=KINDS) == ()
    assert mistakes == [
        "city[1]: feed: is no list of tables; head each with [[city.feed]], in two brackets"
    ]


def test_a_secret_in_a_location_is_not_shown() -> None:
    location = "https://user:hush@example.org/{region}?token=hush"
    (mistake,) = mistakes_of({**TOILETS, "location": location})
    assert "hush" not in mistake


def test_kinds_that_the_vocabulary_does_not_have_are_refused() -> None:
    assert mistakes_of(
        {**TOILETS, "kinds": {"WC": "toilet", "BABY": "baby_change"}},
        {**FOUNTAINS, "kind": "volcano"},
    ) == [
        (
            'city[1] "kazan": feed[1] "toilets": kinds: \'toilet\' is no kind of helper place; '
            "did you mean 'toilets'?"
        ),
        'city[1] "kazan": feed[2] "fountains": kind: \'volcano\' is no kind of helper place',
    ]


@pytest.mark.parametrize(
    ("licence", "outcome"),
    [
        ("CC0-1.0", "combinable"),
        ("ODbL-1.0", "combinable"),
        ("CC-BY-4.0", "permission_needed"),
        ("CC-BY-SA-4.0", "conflict"),
    ],
)
def test_a_feed_is_judged_beside_openstreetmap(licence: str, outcome: str) -> None:
    verdict = judge_feed(feed_of(TOILETS, licence=licence), beside=["ODbL-1.0"])
    assert verdict.outcome == outcome


def test_a_permission_allows_what_has_to_be_asked_for_and_no_more() -> None:
    letter = "https://example.org/letter.pdf"
    asked = feed_of(TOILETS, permission=letter)
    assert judge_feed(asked, beside=["ODbL-1.0"]).may_be_combined
    never = feed_of(TOILETS, licence="CC-BY-SA-4.0", permission=letter)
    assert judge_feed(never, beside=["ODbL-1.0"]).outcome == "conflict"
