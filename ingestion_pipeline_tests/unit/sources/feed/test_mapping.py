"""A feed's mapping: which records are used, their kinds, values, statuses and opening hours."""

from __future__ import annotations

import csv
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.sources.feed.errors import FeedShrunken, FeedUnreadable
from ingestion_pipeline.sources.feed.mapping import MappedRecord, as_text, texts_unparsed
from ingestion_pipeline.sources.feed.read import FeedPlaces, read_feed
from ingestion_pipeline.text.names import Namer
from ingestion_pipeline_tests.support.feed_server import (
    BBOX,
    TOILETS,
    feed_of,
    geojson,
    toilet,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    Read = Callable[..., FeedPlaces]

TEN = range(10, 20)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read toilets, the first with these properties, by the feed `toilets` with these keys."""

    def places(properties: dict[str, Any], **changes: Any) -> FeedPlaces:
        features = [toilet(1, **properties), *(toilet(number, **properties) for number in TEN)]
        return read_all(features, **changes)

    def read_all(
        features: Iterable[dict[str, Any]], last_good: int | None = None, **changes: Any
    ) -> FeedPlaces:
        path = tmp_path / "feed"
        path.write_bytes(geojson(features))
        return read_feed(
            path,
            feed_of(TOILETS, **changes),
            bbox=BBOX,
            boundary=BboxBoundary(Bbox(*BBOX)),
            namer=Namer(["ru", "en"], "ru"),
            last_good=last_good,
        )

    places.all = read_all  # type: ignore[attr-defined]
    return places


def rows(places: FeedPlaces) -> dict[str, dict[str, Any]]:
    return {row["source_ref"]: row for row in places.table.to_pylist()}


def record(given: dict[str, Any], /, **keys: Any) -> MappedRecord:
    plain = dict.fromkeys(("fields", "values", "attributes"))
    return MappedRecord(given, feed_of(TOILETS, **(plain | keys)))


# Which records


@pytest.mark.parametrize(
    ("keys", "used"),
    [
        ({"where": {"TYPE": "WC"}}, True),
        ({"where": {"TYPE": ["URINAL", "WC"]}}, True),
        ({"where": {"TYPE": "URINAL"}}, False),
        ({"where": {"TYPE": "W*"}}, True),
        ({"where": {"TYPE": "wc"}}, False),
        ({"where": {"TYPE": "WC", "STATUS": "1"}}, True),
        ({"where": {"TYPE": "WC", "STATUS": "2"}}, False),
        ({"where": {"OPEN": "yes"}}, True),
        ({"where": {"EMPTY": ""}}, True),
        ({"where": {"NONE": ""}}, True),
        ({"where": {"TYPE": ""}}, False),
        ({"where_not": {"TYPE": "WC"}}, False),
        ({"where_not": {"TYPE": "URINAL"}}, True),
        ({"where_not": {"NAME": "Misting*"}}, False),
        ({"where_not": {"EMPTY": ""}}, False),
        ({"where": {"TYPE": "WC"}, "where_not": {"STATUS": "1"}}, False),
        ({"where": {"TYPE": "W.", "NAME": "*"}}, False),
    ],
)
def test_a_record_is_used_if_its_fields_have_the_values(keys: dict[str, Any], used: bool) -> None:
    values = {
        "TYPE": "WC",
        "STATUS": 1,
        "OPEN": True,
        "EMPTY": " ",
        "NAME": "Misting station\nlocation",
    }
    assert record(values, **keys).is_used == used


def test_a_record_that_is_skipped_is_counted_and_no_rejection(read: Read) -> None:
    features = [
        toilet(1, OBJECTID=None, STATE="out"),
        toilet(2, STATE="out"),
        toilet(60, STATE="out"),
        *(toilet(number, STATE="in") for number in TEN),
    ]
    places = read.all(features, where={"STATE": "in"})  # type: ignore[attr-defined]
    assert (len(places.table), places.skipped, places.outside) == (10, 3, 0)
    assert places.rejections == []


def test_a_feed_whose_records_are_all_skipped_is_refused_with_their_number(read: Read) -> None:
    said = r"has 0 places .* 11 are left out by where and where_not\), fewer than its minimum"
    with pytest.raises(FeedShrunken, match=said):
        read({}, where={"TYPE": "wc"})


def test_a_record_that_is_skipped_does_not_take_an_id(read: Read) -> None:
    features = [toilet(10, STATE="out"), *(toilet(number, STATE="in") for number in TEN)]
    places = read.all(features, where_not={"STATE": "out"})  # type: ignore[attr-defined]
    assert (len(places.table), places.rejections) == (10, [])


@pytest.mark.parametrize(
    "keys",
    [
        {"where": {"MISSING": "x"}},
        {"where_not": {"MISSING": "x"}},
        {"also": {"baby_change": {"MISSING": "x"}}},
        {"fields": {"name": ["TITLE", "MISSING"], "fee": "PAID"}},
        {"fields": {"fee": "PAID"}, "hours": {"Mo-Fr": "HOURS", "Sa-Su": "MISSING"}},
    ],
)
def test_a_field_of_the_mapping_that_the_feed_lacks_refuses_it(
    read: Read, keys: dict[str, Any]
) -> None:
    with pytest.raises(FeedUnreadable, match="without the field 'MISSING'"):
        read({}, **keys)


# Kinds


def test_one_record_may_be_places_of_several_kinds(read: Read) -> None:
    places = read(
        {"WICKEL": "ja", "PAID": "ja", "RAMP": "yes", "ACCESS": "customers", "FLOOR": "1"},
        also={"baby_change": {"WICKEL": "ja"}, "bench": {"WICKEL": "nein"}},
        fields={**TOILETS["fields"], "level": "FLOOR", "access": "ACCESS"},
    )
    found = rows(places)
    assert [ref for ref in found if ref.startswith("1#")] == ["1#baby_change", "1#toilets"]
    assert len(found) == 22
    toilets, table = found["1#toilets"], found["1#baby_change"]
    assert (toilets["fee"], toilets["wheelchair"], toilets["attributes"]) == (
        "yes",
        "yes",
        '{"unisex":"yes"}',
    )
    # What the fields say of the toilet need not be true of the table in it.
    assert (table["fee"], table["wheelchair"], table["attributes"]) == (None, None, "{}")
    for column in ("name", "opening_hours", "level", "access", "status", "lon", "tags"):
        assert table[column] == toilets[column]
    assert (table["level"], table["access"]) == ("1", "customers")


def test_places_and_not_records_are_compared_with_the_last_good_version(read: Read) -> None:
    features = [toilet(number, WICKEL="ja") for number in TEN]
    keys = {"also": {kind: {"WICKEL": "ja"} for kind in ("baby_change", "bench")}}
    places = read.all(features, **keys, last_good=30)  # type: ignore[attr-defined]
    assert len(places.table) == 30
    with pytest.raises(FeedShrunken, match="has 30 places"):
        read.all(features, **keys, last_good=70)  # type: ignore[attr-defined]


def test_a_value_may_mean_several_kinds() -> None:
    both = {"WC": ["toilets", "baby_change"], "D": "shower"}
    assert record({"TYPE": "WC"}, kinds=both).kinds() == ("toilets", "baby_change")
    assert record({"TYPE": "D"}, kinds=both).kinds() == ("shower",)
    assert record({"TYPE": "X"}, kinds=both).kinds() == ()
    also = {"baby_change": {"TYPE": "*"}, "shower": {"D": "1"}}
    assert record({"TYPE": "WC", "D": 1}, kinds=both, also=also).kinds() == (
        "toilets",
        "baby_change",
        "shower",
    )


def test_a_record_of_an_unknown_kind_has_no_further_kind(read: Read) -> None:
    places = read.all(  # type: ignore[attr-defined]
        [toilet(1, TYPE="?"), *map(toilet, TEN)], also={"bench": {"TYPE": "*"}}
    )
    assert len(places.table) == 20
    assert [each.reason for each in places.rejections] == ["unknown_kind"]


def test_a_further_place_gives_way_to_a_record_of_its_own(read: Read) -> None:
    features = [*map(toilet, TEN), toilet(10, TYPE="BABY", TITLE_RU="Стол")]
    places = read.all(features, also={"baby_change": {"TYPE": "WC"}})  # type: ignore[attr-defined]
    assert len(places.table) == 20
    assert rows(places)["10#baby_change"]["name"] == "Стол"
    assert places.rejections == []


# Values


def test_a_target_may_have_several_fields_or_a_constant(read: Read) -> None:
    places = read(
        {"NO": 7, "STREET": "Main Street", "TITLE_FR": "Toilettes", "UNISEX": None},
        fields={"name": ["NO", "UNISEX", "STREET"], "name:fr": "TITLE_FR", "fee": "PAID"},
        attributes={"address": ["STREET", "NO"]},
        joined_by=", ",
        constants={"operator": "Town", "access": "public", "name:en": "Toilet", "level": "0"},
    )
    row = rows(places)["1#toilets"]
    assert json.loads(row["names"]) == {
        "und": "7, Main Street",
        "fr": "Toilettes",
        "en": "Toilet",
    }
    assert (row["operator"], row["access"], row["level"], row["fee"]) == ("Town", "yes", "0", "no")
    assert row["attributes"] == '{"address":"Main Street, 7"}'


def test_a_name_of_several_lines_is_one_line() -> None:
    names = record({"N": "Fountain location:\r\nAlmond Park"}, fields={"name": "N"}).names()
    assert names == {"name": "Fountain location: Almond Park"}


def test_values_are_understood_without_a_table_in_the_language_of_the_publisher() -> None:
    mapped = record(
        {"PAID": "0,00 €", "RAMP": "Oui", "WHO": "Öffentlich"},
        fields={"fee": "PAID", "wheelchair": "RAMP", "access": "WHO"},
    )
    assert [mapped.column(each) for each in ("fee", "wheelchair", "access")] == ["no", "yes", "yes"]


def test_a_table_for_empty_fields_alone_leaves_other_texts() -> None:
    keys: dict[str, Any] = {"fields": {"fee": "PAID"}, "values": {"fee": {"": "no"}}}
    assert [record({"PAID": value}, **keys).column("fee") for value in (None, "0.50", "free")] == [
        "no",
        "yes",
        "no",
    ]


def test_a_table_of_values_may_have_a_meaning_for_an_empty_field() -> None:
    keys = {"fields": {"fee": "PAID"}, "values": {"fee": {"": "no", "x": "yes"}}}
    assert [record({"PAID": value}, **keys).column("fee") for value in (None, "", "x", "?")] == [
        "no",
        "no",
        "yes",
        None,
    ]


def test_what_is_not_understood_is_counted_by_column(read: Read) -> None:
    places = read(
        {"PAID": "see sign", "RAMP": "U", "HOURS": "ask", "UNISEX": "perhaps"},
        values={"unisex": {"ja": "yes"}},
        where_not={"OBJECTID": "19"},
    )
    assert places.unparsed == {"fee": 10, "opening_hours": 10, "unisex": 10}
    row = rows(places)["1#toilets"]
    assert (row["fee"], row["wheelchair"], row["opening_hours"]) == (None, None, None)
    assert json.loads(row["tags"])["PAID"] == "see sign"


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "yes"), (False, "no"), (2.0, "2"), (0.1, "0.1"), (7, "7"), (" a ", "a"), (" ", None)],
)
def test_a_value_of_json_has_one_text(value: object, text: str | None) -> None:
    assert as_text(value) == text


# Status


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (None, "operating"),
        ("", "operating"),
        ("unknown", "operating"),
        ("In service", "operating"),
        ("Fermé", "out_of_order"),
        ("Under construction", "construction"),
    ],
)
def test_a_status_is_one_of_the_words(read: Read, text: str | None, status: str) -> None:
    places = read({"STATUS": text}, fields={"status": "STATUS", "fee": "PAID"})
    assert rows(places)["1#toilets"]["status"] == status


def test_a_status_can_be_given_a_meaning(read: Read) -> None:
    keys = {
        "fields": {"status": "DISPO", "fee": "PAID"},
        "values": {"status": {"OUI": "operating", "NON": "out_of_order"}},
    }
    features = [toilet(n, DISPO="NON" if n % 2 else "OUI") for n in TEN]
    places = read.all(features, **keys)  # type: ignore[attr-defined]
    assert Counter(row["status"] for row in rows(places).values()) == {
        "operating": 5,
        "out_of_order": 5,
    }


def test_a_status_that_is_not_understood_is_not_staged_as_operating(read: Read) -> None:
    features = [toilet(1, STATUS="2"), *(toilet(number, STATUS="Open") for number in TEN)]
    keys = {"fields": {"status": "STATUS", "fee": "PAID"}}
    places = read.all(features, **keys)  # type: ignore[attr-defined]
    assert len(places.table) == 10
    (rejection,) = places.rejections
    assert (rejection.source_ref, rejection.reason) == ("record/1", "unknown_status")
    assert """its status is '2'""" in rejection.detail
    assert 'status = { "2" = "operating" }, or "out_of_order"' in rejection.detail


# Opening hours


WEEK = {
    "Mo": ["MON_FROM", "MON_TO"],
    "Tu-Fr": "WORKDAYS",
    "Sa": "SAT",
    "Su": "closed",
}


@pytest.mark.parametrize(
    ("values", "hours"),
    [
        (
            {"MON_FROM": "10:00", "MON_TO": "18:00", "WORKDAYS": "9am-5pm", "SAT": "geschlossen"},
            "Mo 10:00-18:00; Tu-Fr 09:00-17:00",
        ),
        (
            {"MON_FROM": "Closed", "MON_TO": None, "WORKDAYS": "9am-5pm", "SAT": None},
            "Tu-Fr 09:00-17:00; Sa unknown",
        ),
        (
            {"MON_FROM": "closed", "MON_TO": "closed", "WORKDAYS": "24 h / 24", "SAT": "closed"},
            "Tu-Fr 00:00-24:00",
        ),
        (
            {"MON_FROM": "09:00:00", "MON_TO": "17:30:00", "WORKDAYS": "closed", "SAT": "closed"},
            "Mo 09:00-17:30",
        ),
        ({"MON_FROM": "10:00", "MON_TO": None, "WORKDAYS": "9am-5pm", "SAT": "closed"}, None),
        ({"MON_FROM": None, "MON_TO": None, "WORKDAYS": None, "SAT": None}, None),
        ({"MON_FROM": None, "MON_TO": None, "WORKDAYS": "ask", "SAT": None}, None),
    ],
)
def test_hours_may_have_a_column_for_each_weekday(
    values: dict[str, Any], hours: str | None
) -> None:
    assert record(values, hours=WEEK).opening_hours() == hours


def test_hours_of_columns_that_are_not_understood_are_counted_and_empty_ones_are_not() -> None:
    empty = record({}, hours=WEEK)
    wrong = record({"WORKDAYS": "ask"}, hours=WEEK)
    (found,) = texts_unparsed([empty, wrong, wrong]).items()
    assert found[0] == "opening_hours"
    ((text, count),) = found[1].items()
    assert ("ask" in text, count) == (True, 2)


def test_texts_that_are_not_understood_are_named_with_their_records() -> None:
    keys = {"fields": {"opening_hours": "HOURS", "wheelchair": "RAMP"}, "attributes": {"u": "U"}}
    values = {"u": {"1": "yes"}}
    records = [
        record({"HOURS": hours, "RAMP": "yes", "U": "7"}, **keys, values=values)
        for hours in ("see sign", "ask", "see sign", "24/7")
    ]
    assert texts_unparsed(records) == {
        "opening_hours": {"see sign": 2, "ask": 1},
        "u": {"7": 4},
    }


def test_an_empty_cell_may_mean_closed() -> None:
    keys: dict[str, Any] = {"hours": {"Mo-Sa": "W", "Su": "S"}}
    closed = {"opening_hours": {"": "closed"}}
    assert record({"W": "9-17 Uhr"}, **keys).opening_hours() == "Mo-Sa 09:00-17:00; Su unknown"
    assert record({"W": "9-17 Uhr"}, **keys, values=closed).opening_hours() == "Mo-Sa 09:00-17:00"
    assert record({}, **keys, values=closed).opening_hours() is None  # nothing is said at all


def test_a_text_that_the_table_of_hours_lacks_is_not_read() -> None:
    keys: dict[str, Any] = {
        "hours": {"Mo-Sa": "W", "Su": "S"},
        "values": {"opening_hours": {"A": "09:00-17:00", "": "closed"}},
    }
    assert record({"W": "A"}, **keys).opening_hours() == "Mo-Sa 09:00-17:00"
    mapped = record({"W": "A", "S": "B"}, **keys)
    assert (mapped.opening_hours(), mapped.unparsed()) == (None, ["opening_hours"])


def test_the_language_of_a_feed_decides_what_its_hours_mean() -> None:
    keys: dict[str, Any] = {"fields": {"opening_hours": "H"}}
    values = {"H": "Di 10-12 Uhr"}
    assert record(values, **keys).opening_hours() == "Tu 10:00-12:00"
    assert record({"H": "Di 10:00-12:00"}, **keys).opening_hours() is None
    assert (
        record({"H": "Di 10:00-12:00"}, **keys, language="fr").opening_hours() == "Su 10:00-12:00"
    )


# Real files


def real(osm_test_data: Path, name: str, delimiter: str = ",") -> list[dict[str, Any]]:
    text = (osm_test_data / "feeds" / name).read_text("utf-8-sig")
    if name.endswith(".csv"):
        return list(csv.DictReader(text.splitlines(keepends=True), delimiter=delimiter))
    document = json.loads(text)
    features = document if isinstance(document, list) else document["features"]
    return [each.get("properties", each) for each in features]


@pytest.mark.real_data
def test_real_files_have_the_values_that_their_publishers_mean(osm_test_data: Path) -> None:
    def column(name: str, target: str, field: str, delimiter: str = ",") -> Counter[str | None]:
        records = real(osm_test_data, name, delimiter)
        return Counter(record(each, fields={target: field}).column(target) for each in records)

    assert column("hillingdon.csv", "fee", "CHARGEAMOUNT") == {"no": 18, "yes": 2}
    assert column("paris-sanisettes.csv", "wheelchair", "ACCES_PMR", ";") == {"yes": 16, "no": 4}
    assert column("mel-toilets.csv", "wheelchair", "wheelchair")[None] == 1
    assert column("bnetza-lade.csv", "status", "Status", ";") == {"operating": 20}

    paris = {"status": {"OUI": "operating", "NON": "out_of_order"}}
    fountains = [
        record(each, fields={"status": "dispo"}, values=paris).status()
        for each in real(osm_test_data, "paris-fontaines.geojson")
    ]
    assert Counter(fountains) == {"operating": 8, "out_of_order": 12}
    toronto = {"status": {"1": "operating", "0": "out_of_order", "2": "out_of_order"}}
    washrooms = [
        record(each, fields={"status": "Status"}, values=toronto).status()
        for each in real(osm_test_data, "tor-washrooms.geojson")
    ]
    assert Counter(washrooms) == {"operating": 8, "out_of_order": 12}


@pytest.mark.real_data
def test_real_files_have_the_opening_hours_that_their_publishers_mean(osm_test_data: Path) -> None:
    def hours(
        name: str, field: str, language: str, delimiter: str = ","
    ) -> dict[str | None, str | None]:
        keys: dict[str, Any] = {"fields": {"opening_hours": field}, "language": language}
        return {
            as_text(each.get(field)): record(each, **keys).opening_hours()
            for each in real(osm_test_data, name, delimiter)
        }

    assert hours("paris-sanisettes.csv", "HORAIRE", "fr", ";") == {
        "6 h - 22 h": "06:00-22:00",
        "24 h / 24": "24/7",
        "6 h - 1 h": "06:00-01:00",
        "Voir fiche équipement": None,
        None: None,
    }
    assert hours("tor-washrooms.geojson", "hours", "en") == {
        "9 a.m. to 10 p.m.": "09:00-22:00",
        "View outdoor rink hours": None,
        None: None,
    }
    hillingdon = hours("hillingdon.csv", "OPENINGHOURS", "en")
    assert hillingdon["24 / 7"] == "24/7"
    assert hillingdon["24/07/2016"] is None
    assert hillingdon["park opening hours"] is None
    assert sum(each is None for each in hillingdon.values()) == 2
    camden = hours("camden.json", "opening_hours", "en")
    assert camden["Mon-Fri 7.30am-7.30pm, Sat 10am-4.45pm."] == "Mo-Fr 07:30-19:30; Sa 10:00-16:45"
    assert {text for text, each in camden.items() if each is None and text} == {
        "9am-7pm (Summer), 9am-4pm (Winter).",
        "Generally available 2100-0330 on a Friday and Saturday Night",
        next(text for text in camden if text and text.startswith("Toilets below")),
    }
    seasons: dict[str, Any] = {
        "hours": {"Apr-Sep": "summer_hours", "Oct-Mar": "winter_hours"},
        "language": "en",
    }
    assert {
        record(each, **seasons).opening_hours()
        for each in real(osm_test_data, "van-washrooms.geojson")
    } == {
        "Apr-Sep 10:00-23:00, Oct-Mar 10:00-23:00",
        "Apr-Sep dawn-dusk, Oct-Mar dawn-dusk",
        "Apr-Sep 07:00-dusk, Oct-Mar 10:00-dusk",
        "Apr-Sep dawn-dusk",
        "Apr-Sep Tu-Sa 09:00-20:00, Oct-Mar Tu-Sa 09:00-17:00",
        "Apr-Sep 07:30-21:00, Oct-Mar 07:30-21:00",
    }
