"""The tables of feeds in the file of cities: what is accepted, and what is said of mistakes."""

from __future__ import annotations

import json
import pickle
import re
import tempfile
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline.config.cities import CitiesFileError, load_cities
from ingestion_pipeline.config.feeds import AsOfRule, judge_feed
from ingestion_pipeline.helpers.licences import LICENCES
from ingestion_pipeline_tests.support.feed_server import FOUNTAINS, TOILETS, feed_of
from scripts.build_cities_schema import schema

if TYPE_CHECKING:
    from collections.abc import Mapping

FEED = schema()["$defs"]["Feed"]

TERMS: Mapping[str, Any] = {
    "name": "Open data terms of Exempel",
    "url": "https://example.org/terms",
    "attribution": True,
    "share_alike": False,
    "database_right": False,
    "goes_into": ["ODbL-1.0"],
    "source": "https://example.org/answers-of-2026-03-02.pdf",
}

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
    return mistakes_in(CITY + "".join(map(toml, tables)))


def mistakes_in(text: str) -> list[str]:
    """The mistakes of a file, without their lines."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cities.toml"
        file.write_text(text, "utf-8")
        with pytest.raises(CitiesFileError) as caught:
            load_cities(file)
    return [re.sub(r"^line \d+: ", "", mistake) for mistake in caught.value.mistakes]


def without(table: Any, *keys: str) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in keys}


def test_a_city_has_the_feeds_of_its_tables(tmp_path: Path) -> None:
    file = tmp_path / "cities.toml"
    file.write_text(CITY + toml({**TOILETS}) + toml({**FOUNTAINS}), "utf-8")
    toilets, fountains = load_cities(file).get("kazan").feeds
    assert toilets == feed_of(TOILETS)
    assert toilets.source == "feed:toilets"
    assert toilets.kinds == {"WC": "toilets", "BABY": "baby_change"}
    assert toilets.maximum_age == timedelta(days=7)
    assert toilets.maximum_bytes == 50_000_000
    assert fountains.kind == "drinking_water"
    assert fountains.as_of == AsOfRule("day_in_location")
    assert fountains.location_on(date(2026, 11, 20)).endswith("/fountains-2026-11-20.csv")


def test_a_city_may_have_no_feed(tmp_path: Path) -> None:
    file = tmp_path / "cities.toml"
    file.write_text(CITY, "utf-8")
    assert load_cities(file).get("kazan").feeds == ()


def test_a_feed_can_be_changed() -> None:
    assert replace(feed_of(TOILETS), minimum=7) == feed_of(TOILETS, minimum=7)


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
    assert [re.split(": (is|expected) ", mistake)[0] for mistake in caught.value.mistakes] == [
        'line 5: city[1] "kazan": country',
        'line 22: city[1] "kazan": feed[1] "toilets": licence',
        'line 26: city[1] "kazan": feed[1] "toilets": minimum',
        'line 27: city[1] "kazan": feed[2] "fountains": licence',
        'line 27: city[1] "kazan": feed[2] "fountains": lon',
    ]


def test_a_feed_without_a_licence_is_refused() -> None:
    assert mistakes_of(without(TOILETS, "licence")) == [
        (
            'city[1] "kazan": feed[1] "toilets": licence: is missing; expected '
            f"one of {', '.join(LICENCES)}, or LicenseRef-... with terms"
        )
    ]


@pytest.mark.parametrize("key", FEED["required"])
def test_a_required_key_may_not_be_missing(key: str) -> None:
    place = 'city[1] "kazan": feed[1]' + ("" if key == "slug" else ' "toilets"')
    (mistake,) = mistakes_of(without(TOILETS, key))
    assert mistake.startswith(f"{place}: {key}: is missing; expected ")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("slug", "City Toilets", "lower-case letters"),
        ("location", "", "a path or URL"),
        ("location", 1, "a path or URL"),
        ("location", "http:///x", "http(s)://host"),
        ("location", "https://example.org/{region}", "nothing else in braces"),
        ("location", "https://example.org/{day", "expected '}'"),
        ("format", "shape", "one of geojson, csv, json, geopackage, shapefile, kml, flatgeobuf"),
        ("record_id", " ", 'a field, a list of fields, "@id" or "@position"'),
        ("record_id", [], "a list of fields"),
        ("record_id", ["a", ""], "a list of fields"),
        ("crs", "27700", "EPSG:27700"),
        ("crs", "EPSG:1234", "EPSG:1234 is not in the EPSG register"),
        ("headers", {"X Key": "transit"}, "'X Key' is not accepted"),
        ("headers", {"X-Key": "Bearer 0123"}, "names of secrets"),
        ("pages", {"nxt": "links.next"}, "the value of 'nxt' is not accepted"),
        ("pages", {"next": "links["}, "it is not a path in JMESPath"),
        ("pages", {"offset": "o", "limit": "l", "size": 0}, "'size' is not accepted"),
        ("kinds", {}, "a table of values and kinds"),
        ("kinds", {"WC": "Toilets"}, "did you mean 'toilets'?"),
        ("fields", ["name"], "a table of fields"),
        ("fields", {"name": 1}, "a table of fields"),
        ("fields", {"names": "TITLE"}, "did you mean 'name'?"),
        ("fields", {"name:Russian": "TITLE"}, "'name:Russian' is not accepted"),
        ("attributes", {"unisex": ""}, "a table of attributes"),
        ("values", {"fee": {}}, "what values of a key mean"),
        ("values", {"fee": "yes"}, "what values of a key mean"),
        ("licence", "CC-BY-SA 4.0", "did you mean 'CC-BY-SA-4.0'?"),
        ("licence", "CC-BY-NC-4.0", "one of ODbL-1.0"),
        ("attribution", "", "a text that is not empty"),
        ("as_of", "daily", "that a feed is said to be updated every day is no evidence"),
        ("as_of", "record:", '"record:<field>"'),
        ("as_of", 1, '"last_modified"'),
        ("maximum_age_days", 0, "from 1 to 9999"),
        ("maximum_age_days", 10_000, "from 1 to 9999"),
        ("minimum", 0, "at least 1"),
        ("minimum", True, "at least 1"),
        ("maximum_bytes", 0, "at least 1"),
        ("sha256", "ABC", "64 hexadecimal digits"),
        ("etag", "", "a text that is not empty"),
        ("permission", "", "the URL of a document, or its id"),
        ("permission", "the mayor agreed", "it cannot be checked"),
        ("permission", "https:/example.org/letter.pdf", "it cannot be checked"),
        ("kinds", {"WC": ["toilets", "Dusche"]}, "the value of 'WC' is not accepted"),
        ("kinds", {"WC": []}, "a table of values and kinds"),
        ("also", {"baby_changing": {"WICKEL": "ja"}}, "did you mean 'baby_change'?"),
        ("also", {"baby_change": {}}, "a table of kinds and conditions"),
        ("where", {"TYPE": []}, "a table of fields and values"),
        ("where", {"TYPE": 1}, "a table of fields and values"),
        ("where_not", {"": "x"}, "a table of fields and values"),
        ("fields", {"name": []}, "a table of fields"),
        ("fields", {"state": "STATUS"}, "did you mean 'status'?"),
        ("constants", {"operater": "Town"}, "did you mean 'operator'?"),
        ("language", "german", "one of en, de, fr"),
        ("language", "xx", "one of en, de, fr"),
        ("licence", "LicenseRef-Terms of Exempel", "or LicenseRef-... with terms"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place_and_what_is_allowed(
    key: str, value: Any, said: str
) -> None:
    (mistake,) = mistakes_of({**TOILETS, key: value})
    slug = value if key == "slug" else "toilets"
    assert mistake.startswith(f'city[1] "kazan": feed[1] "{slug}": {key}: expected ')
    assert said in mistake


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("delimiter", "", "one character"),
        ("delimiter", '"', "one character"),
        ("decimal", ";", '"." or ","'),
        ("skip_lines", -1, "a whole number of lines"),
        ("columns", [], "names, such as"),
        ("encoding", "windows-russian", "an encoding"),
        ("encoding", 1251, "an encoding"),
        ("lon", "", "a text that is not empty"),
        ("hours", {"Mo-Su": ["A", "B", "C"]}, "a table of days and fields"),
        ("hours", {"Monday": "MON"}, "'Monday' is not like 'Mo-Fr', 'Apr-Sep'"),
    ],
)
def test_a_wrong_value_of_csv_is_refused(key: str, value: Any, said: str) -> None:
    (mistake,) = mistakes_of({**FOUNTAINS, key: value})
    assert f"{key}: expected " in mistake
    assert said in mistake


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({**TOILETS, "kind": "toilets"}, "kind: cannot be combined with kind_field and kinds"),
        (without(TOILETS, "kinds"), "kind: is missing"),
        (without(TOILETS, "kind_field"), "kind: is missing"),
        (without(FOUNTAINS, "kind"), "kind: is missing"),
        (without(FOUNTAINS, "lat"), "lat: is missing"),
        ({**FOUNTAINS, "record_id": "@id"}, "only for GeoJSON"),
        ({**FOUNTAINS, "as_of": "document:meta.made"}, "a CSV document has no members"),
        ({**TOILETS, "lon": "x"}, "lat: is missing; lon needs it"),
        ({**TOILETS, "lat_lon": "x", "geometry": "y"}, "geometry: cannot be combined with lat_lon"),
        ({**FOUNTAINS, "lat_lon": "x"}, "lat_lon: cannot be combined with lon, lat"),
        (without(FOUNTAINS, "lon", "lat"), "lon: is missing; a CSV needs its coordinates: lon and"),
        ({**TOILETS, "decimal": ","}, "decimal: is only for coordinates in texts"),
        ({**TOILETS, "columns": ["a"]}, "columns: is only for CSV"),
        ({**TOILETS, "records": "data"}, "records: is only for json"),
        (
            {**TOILETS, "layer": "a"},
            "layer: is only for geopackage, shapefile, kml, gml, xlsx, ods",
        ),
        ({**TOILETS, "record_id": ["a", "@position"]}, "use @id and @position by themselves"),
        ({**TOILETS, "record_id": ["a", "a"]}, "a list has different fields"),
        ({**TOILETS, "as_of": "metadata:a"}, "metadata_location: belongs to as_of"),
        ({**TOILETS, "metadata_location": "https://example.org/m"}, "give both or neither"),
        (
            {**TOILETS, "as_of": "metadata:a", "metadata_location": "/data/m.json"},
            "metadata_location: needs an http(s) URL",
        ),
        ({**TOILETS, "time_format": "epoch"}, "time_format: is only for times of records"),
        ({**TOILETS, "pages": {"next": "n"}}, 'as_of: "last_modified" is of one page'),
        (
            {
                **TOILETS,
                "location": "https://example.org/{day}",
                "as_of": "day_in_location",
                "pages": {"next": "n"},
            },
            'as_of: "day_in_location" is of one page',
        ),
        (
            {**TOILETS, "as_of": "fetched", "pages": {"next": "n", "offset": "o"}},
            "pages: give next, or offset and limit",
        ),
        ({**TOILETS, "as_of": "fetched", "pages": {"offset": "o"}}, "give next, or offset and"),
        (
            {
                **TOILETS,
                "location": "/data/x.geojson",
                "as_of": "record:x",
                "headers": {"X-Key": "transit"},
            },
            "headers: needs an http(s) location",
        ),
        ({**TOILETS, "encoding": "utf-8"}, "encoding: is only for CSV"),
        ({**TOILETS, "location": "/data/x.geojson"}, "needs an http(s) location"),
        ({**TOILETS, "as_of": "day_in_location"}, "needs {day} in the location"),
        ({**TOILETS, "values": {"fees": {"ja": "yes"}}}, "did you mean 'fee'?"),
        ({**TOILETS, "colour": "red"}, "colour: unknown key"),
        ({**TOILETS, "values": {"fee": {"ja": "yess"}}}, "fee has no value 'yess'; use one of yes"),
        ({**TOILETS, "values": {"wheelchair": {"ja": "ramp"}}}, "use one of yes, designated, limi"),
        (
            {**TOILETS, "values": {"opening_hours": {"A": "9-5"}}},
            "opening_hours has the value '9-5', which cannot be read",
        ),
        ({**TOILETS, "constants": {"access": "all"}}, "constants: access has no value 'all'"),
        ({**TOILETS, "constants": {"name": "WC"}}, "constants: 'name' is in fields too"),
        ({**TOILETS, "hours": {"Mo-Su": "HOURS"}}, "hours: cannot be combined with opening_hours"),
        (
            {**FOUNTAINS, "hours": {"Mo-Fr": "A"}},
            'hours: no column for Sa, Su; name one, or "closed" or "unknown"',
        ),
        (
            {**FOUNTAINS, "hours": {"Mo-Fr": "A", "Fr-Su": "B"}},
            "hours: 'Mo-Fr' and 'Fr-Su' have days in common",
        ),
        ({**FOUNTAINS, "hours": {}}, "hours: no column for Mo, Tu, We, Th, Fr, Sa, Su"),
        ({**FOUNTAINS, "language": "de"}, "language: is only for hours, or for opening_hours in"),
        ({**TOILETS, "joined_by": ", "}, "joined_by: is only for a target with a list of fields"),
        (
            {**FOUNTAINS, "also": {"drinking_water": {"A": "b"}}},
            "also: 'drinking_water' is the kind of every record already",
        ),
        ({**TOILETS, "terms": TERMS}, "terms: is only for a licence that is not in the list"),
        (
            {**TOILETS, "licence": "LicenseRef-IODL-3.0"},
            "'LicenseRef-IODL-3.0' is not in the list; did you mean 'LicenseRef-IODL-2.0'?",
        ),
        (
            {**TOILETS, "licence": "LicenseRef-Exempel", "terms": without(TERMS, "source")},
            "terms: 'source' is missing; expected a table with name, url, attribution",
        ),
        (
            {**TOILETS, "licence": "LicenseRef-Exempel", "terms": {**TERMS, "goes_into": ["MIT"]}},
            "the value of 'goes_into' is not accepted",
        ),
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
            'city[1] "kazan": feed[2] "toilets": slug: this and that of city[1] "kazan": feed[1] '
            '"toilets" are the same; a slug is of one feed of a city'
        )
    ]


@pytest.mark.parametrize("tables", ['{ slug = "toilets" }', '["toilets"]', '"toilets"'])
def test_feeds_that_are_no_tables_are_refused(tables: Any) -> None:
    (mistake,) = mistakes_in(f"{CITY}feed = {tables}\n")
    assert "begin each with [[city.feed]], in two brackets" in mistake


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
            'city[1] "kazan": feed[1] "toilets": kinds: expected a table of values and kinds of '
            'helper places, such as { WC = "toilets" }; found {"WC": "toilet", "BABY": '
            "\"baby_change\"}; the value of 'WC' is not accepted; did you mean 'toilets'?"
        ),
        (
            'city[1] "kazan": feed[2] "fountains": kind: expected a kind of helper place, such as '
            '"drinking_water"; found "volcano"'
        ),
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


@pytest.mark.parametrize(
    ("goes_into", "outcome"),
    [
        (["ODbL-1.0"], "combinable"),
        (["CC-BY-SA-4.0"], "permission_needed"),
        ([], "permission_needed"),
    ],
)
def test_a_licence_of_ones_own_is_judged_by_its_answers(
    tmp_path: Path, goes_into: list[str], outcome: str
) -> None:
    table = {
        **TOILETS,
        "licence": "LicenseRef-Exempel",
        "terms": {**TERMS, "goes_into": goes_into},
    }
    file = tmp_path / "cities.toml"
    file.write_text(CITY + toml(table), "utf-8")
    (feed,) = load_cities(file).get("kazan").feeds
    assert judge_feed(feed, beside=["ODbL-1.0"]).outcome == outcome
    share_alike = {**TERMS, "share_alike": True, "goes_into": goes_into}
    other = feed_of(table, terms=share_alike)
    assert judge_feed(other, beside=["ODbL-1.0"]).outcome == "conflict"


def test_each_field_of_the_mapping_is_known_by_the_keys_that_name_it() -> None:
    feed = feed_of(
        FOUNTAINS,
        where={"A": "1"},
        where_not={"B": "1", "A": "2"},
        also={"bench": {"C": "1"}},
        fields={"name": ["D", "E"], "operator": "D"},
        attributes={"x": "F"},
        hours={"Mo-Fr": ["G", "H"], "Sa": "I", "Su": "closed"},
    )
    assert feed.mapped_fields == {
        "A": ["where", "where_not"],
        "B": ["where_not"],
        "C": ["bench"],
        "D": ["name", "operator"],
        "E": ["name"],
        "F": ["x"],
        "G": ["opening_hours Mo-Fr"],
        "H": ["opening_hours Mo-Fr"],
        "I": ["opening_hours Sa"],
    }
    assert feed_of(TOILETS).mapped_fields["TYPE"] == ["kind_field"]


def test_keys_of_this_release_are_part_of_the_digest_when_they_are_set() -> None:
    plain = feed_of(FOUNTAINS)
    for changes in (
        {"where": {"A": "b"}},
        {"where_not": {"A": "b"}},
        {"also": {"bench": {"A": "b"}}},
        {"constants": {"fee": "no"}},
        {"hours": {"Mo-Su": "A"}},
        {"hours": {"Mo-Su": "A"}, "language": "de"},
        {"joined_by": ", "},
        {"licence": "LicenseRef-Exempel", "terms": TERMS},
    ):
        assert feed_of(FOUNTAINS, **changes).digest != plain.digest
    assert feed_of(FOUNTAINS, joined_by=" ").digest == plain.digest


def test_a_permission_allows_what_has_to_be_asked_for_and_no_more() -> None:
    letter = "https://example.org/letter.pdf"
    asked = feed_of(TOILETS, permission=letter)
    assert judge_feed(asked, beside=["ODbL-1.0"]).may_be_combined
    never = feed_of(TOILETS, licence="CC-BY-SA-4.0", permission=letter)
    assert judge_feed(never, beside=["ODbL-1.0"]).outcome == "conflict"


def test_keys_that_are_set_to_their_default_do_not_change_the_digests() -> None:
    feed = feed_of(FOUNTAINS)
    same = feed_of(FOUNTAINS, decimal=".", skip_lines=0, records=None, headers={})
    assert (same.digest, same.asks) == (feed.digest, feed.asks)


@pytest.mark.parametrize(
    ("changes", "asks_for_more"),
    [
        ({"crs": "EPSG:3067"}, False),
        ({"decimal": ","}, False),
        ({"record_id": "@position"}, False),
        ({"as_of": "record:x", "time_format": "epoch"}, True),
        ({"as_of": "fetched", "pages": {"next": "next"}}, True),
    ],
)
def test_a_key_that_changes_rows_or_requests_changes_the_digest_of_it(
    changes: dict[str, Any], asks_for_more: bool
) -> None:
    feed, changed = feed_of(TOILETS), feed_of(TOILETS, **changes)
    assert changed.digest != feed.digest
    assert (changed.asks != feed.asks) == asks_for_more


@pytest.mark.parametrize(
    ("table", "changes", "digest", "asks"),
    [
        (TOILETS, {}, "795bd4a3b243409962e80748a2faab34", "620df19f225d87e265adbca76c9a80f5"),
        (FOUNTAINS, {}, "572172aba7233bea4dcaa1535af34cb2", "13f5bf8c4f4ff3dc8c5bafb220a451f7"),
        (
            TOILETS,
            {
                "location": "https://user:hush@example.org/t.geojson?token=hush",
                "as_of": "record:UPDATED",
                "permission": "letter 7",
                "sha256": "0" * 64,
                "etag": '"v1"',
                "maximum_bytes": 1000,
            },
            "572978ba7d21bf9b7ae02d15ac53c617",
            "311f509d0789fc20638bb81cdb045458",
        ),
        (
            FOUNTAINS,
            {
                "encoding": "UTF8",
                "delimiter": None,
                "location": "/data/{day:%y%m%d}.csv",
                "values": {"name": {"a": "b"}},
                "attributes": {"x": "y"},
            },
            "b56f9287c7945a85eb7774e191811be5",
            "db79e4b8c91969383f90f6c4dce2a040",
        ),
        (
            TOILETS,
            {
                "as_of": "document:meta.updated",
                "kind": "shelter",
                **dict.fromkeys(["kinds", "kind_field", "values", "attributes", "fields"]),
            },
            "630b697b4e10fbfa80cca54e8c6e3dca",
            "41cc2e53a2b84c72f4fa5fe792bf039a",
        ),
    ],
)
def test_the_digests_of_a_feed_are_those_of_earlier_releases(
    table: Any, changes: dict[str, Any], digest: str, asks: str
) -> None:
    feed = feed_of(table, **changes)
    assert (feed.digest, feed.asks) == (digest, asks)
