"""Features to POI rows: what each column says."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
import shapely

from ingestion_pipeline.columns.tag_sets import TagSets
from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.features import Features
from ingestion_pipeline.osm.normalize import Pois, normalize
from ingestion_pipeline.osm.taxonomy import Taxonomy
from ingestion_pipeline.staging.tables import content_columns, poi_ingestion_staging

WINDOW = Bbox(0.0, 0.0, 10.0, 10.0)
DAY = date(2026, 11, 20)
POINT = shapely.Point(1, 2)


def features_of(*objects: tuple[dict[str, str], Any]) -> Features:
    """Make features of (tags, geometry): points are nodes, everything else ways."""
    count = len(objects)
    geometry = np.empty(count, dtype=object)
    geometry[:] = [shape for _, shape in objects]
    return Features(
        osm_type=np.array(
            ["node" if shape.geom_type == "Point" else "way" for _, shape in objects], dtype=object
        ),
        osm_id=np.arange(1, count + 1),
        version=np.full(count, 3),
        timestamp=np.array(["2026-11-19T10:00:00"] * count, dtype="datetime64[s]"),
        tags=TagSets.of(tags for tags, _ in objects),
        geometry=geometry,
        geom_quality=np.array(["exact"] * count, dtype=object),
    )


def normalized(
    *objects: tuple[dict[str, str], Any],
    languages: tuple[str, ...] = ("en",),
    local_language: str | None = None,
    day: date = DAY,
) -> Pois:
    return normalize(
        features_of(*objects),
        boundary=BboxBoundary(WINDOW),
        day=day,
        languages=languages,
        local_language=local_language,
        country="RU",
        taxonomy=Taxonomy.load(),
    )


def row(
    tags: dict[str, str], languages: tuple[str, ...] = ("en",), local_language: str | None = None
) -> dict[str, Any]:
    """Normalize one café with more tags."""
    pois = normalized(
        ({"amenity": "cafe"} | tags, shapely.Point(1, 2)),
        languages=languages,
        local_language=local_language,
    )
    (only,) = pois.table.to_pylist()
    return only


def test_the_rows_have_the_columns_that_staging_takes() -> None:
    pois = normalized(({"amenity": "cafe"}, shapely.Point(1, 2)))
    # In their order, on which `content_hash` depends.
    assert pois.table.column_names == [
        "source_ref",
        "source_hash",
        *content_columns(poi_ingestion_staging),
        "content_hash",
    ]


def test_no_features_give_an_empty_table_with_the_same_columns_and_types() -> None:
    none = normalized()
    assert none.table.num_rows == 0
    some = normalized(({"amenity": "cafe"}, shapely.Point(1, 2)))
    assert none.table.schema.equals(some.table.schema)


def test_a_feature_is_the_citys_when_its_representative_point_is() -> None:
    pois = normalized(
        ({"amenity": "cafe"}, shapely.Point(11, 5)),
        ({"leisure": "park"}, shapely.box(8, 4, 11, 6)),
        ({"leisure": "park"}, shapely.box(9, 4, 19, 6)),
    )
    assert pois.table.column("source_ref").to_pylist() == ["way/2"]
    assert pois.outside == 2
    whole = shapely.from_wkb(pois.table.column("geometry")[0].as_py())
    assert whole.bounds == (8, 4, 11, 6), "a geometry is never clipped"


def test_an_object_whose_main_tags_say_no_is_rejected_by_name() -> None:
    pois = normalized(({"amenity": "no", "name": "x"}, shapely.Point(1, 2)))
    assert pois.table.num_rows == 0
    (rejection,) = pois.rejections
    assert (rejection.source_ref, rejection.reason) == ("node/1", "no_main_tag")
    assert rejection.raw == {"tags": {"amenity": "no", "name": "x"}}


def test_what_is_no_place_is_rejected_by_name() -> None:
    road = {"highway": "residential", "historic": "yes"}
    pois = normalized((road, shapely.LineString([(1, 1), (2, 2)])))
    assert pois.table.num_rows == 0
    (rejection,) = pois.rejections
    assert (rejection.source_ref, rejection.reason) == ("way/1", "not_a_place")
    assert rejection.detail.startswith("it is a road")
    assert rejection.raw == {"tags": road}


def test_dates_tell_of_the_day_of_the_rows() -> None:
    place = ({"amenity": "cafe", "opening_date": "2026-11-21", "end_date": "2027"}, POINT)
    days = (date(2026, 11, 20), date(2026, 11, 21), date(2027, 12, 31), date(2028, 1, 1))
    statuses = [normalized(place, day=day).table.column("status")[0].as_py() for day in days]
    assert statuses == ["proposed", "operating", "operating", "disused"]


def test_a_day_that_a_date_names_is_upstreams_change_and_not_one_of_our_rules() -> None:
    place = ({"amenity": "cafe", "opening_date": "2026-11-21"}, POINT)
    before, on_the_day, after = (
        normalized(place, day=date(2026, 11, day)).table.column("source_hash")[0].as_py()
        for day in (20, 21, 22)
    )
    assert before != on_the_day == after


def test_a_tag_says_more_of_a_status_than_a_date() -> None:
    place = {"construction:amenity": "cafe", "opening_date": "2027-01-01"}
    pois = normalized((place, POINT))
    assert pois.table.column("status").to_pylist() == ["construction"]


def test_a_station_that_is_tagged_in_another_way_changes_its_status_and_nothing_else() -> None:
    ways_to_say_it = [
        {"railway": "station"},
        {"disused:railway": "station"},
        {"railway": "disused", "disused": "station"},
        {"railway": "construction", "construction": "station"},
        {"razed:railway": "station"},
    ]
    pois = normalized(*((tags, POINT) for tags in ways_to_say_it))
    assert set(pois.table.column("category").to_pylist()) == {"public_transport/station_train"}
    assert pois.table.column("status").to_pylist() == [
        *("operating", "disused", "disused", "construction", "demolished")
    ]


def test_a_name_says_where_it_comes_from() -> None:
    poi = row({"name": "Казань", "name:tt": "Казан"}, ("tt", "ru"))
    assert (poi["name"], poi["name_source"]) == ("Казан", "name:tt")
    assert json.loads(poi["names"]) == {"und": "Казань", "tt": "Казан"}
    nameless = row({})
    assert (nameless["name"], nameless["name_source"]) == (None, None)


def test_a_place_that_is_not_in_use_has_the_name_that_it_had() -> None:
    (was,) = normalized(
        ({"disused:amenity": "cafe", "disused:name": "Sun"}, shapely.Point(1, 2))
    ).table.to_pylist()
    assert (was["status"], was["name"], was["name_source"]) == ("disused", "Sun", "disused:name")
    assert row({"disused:amenity": "bank", "disused:name": "Savings"})["name"] is None


def test_who_operates_a_place_does_not_name_it() -> None:
    assert row({"operator": "Firm"})["name_source"] is None


def test_a_transliterated_name_is_counted_and_the_mapped_one_kept() -> None:
    pois = normalized(
        ({"amenity": "cafe", "name": "Казань"}, shapely.Point(1, 2)),
        ({"amenity": "cafe", "name": "Kazan"}, shapely.Point(1, 3)),
    )
    assert pois.transliterated_names == 1
    poi, _ = pois.table.to_pylist()
    assert (poi["name"], poi["name_source"]) == ("Kazan'", "transliterated:name")
    assert json.loads(poi["names"]) == {"und": "Казань"}


def test_address_and_contacts_are_collected() -> None:
    poi = row(
        {
            "addr:street": "Baumana",
            "addr:housenumber": "7",
            "phone": "8 (843) 292-12-12",
            "contact:vk": "https://vk.com/x",
        }
    )
    assert json.loads(poi["address"]) == {"street": "Baumana", "housenumber": "7"}
    assert json.loads(poi["contact"]) == {"phone": ["+78432921212"], "vk": ["https://vk.com/x"]}


def test_contacts_that_are_not_understood_are_counted_by_poi() -> None:
    pois = normalized(
        ({"amenity": "cafe", "phone": "ask", "email": "nobody"}, shapely.Point(1, 2)),
        ({"amenity": "cafe", "phone": "+7 843 292-12-12"}, shapely.Point(1, 3)),
    )
    assert pois.unparsed_contacts == 1
    assert json.loads(pois.table.column("contact")[0].as_py()) == {
        "not_understood": {"email": ["nobody"], "phone": ["ask"]}
    }
    assert json.loads(pois.table.column("tags")[0].as_py())["phone"] == "ask"


def test_opening_hours_are_written_in_one_form_and_counted_where_not_understood() -> None:
    assert row({"opening_hours": "Mo-Su 10:00-18:00"})["opening_hours"] == "10:00-18:00"
    pois = normalized(({"amenity": "cafe", "opening_hours": "when open"}, shapely.Point(1, 2)))
    assert pois.table.column("opening_hours").to_pylist() == [None]
    assert pois.unparsed_opening_hours == 1
    assert json.loads(pois.table.column("tags")[0].as_py())["opening_hours"] == "when open"
    assert normalized(({"amenity": "cafe"}, shapely.Point(1, 2))).unparsed_opening_hours == 0


def test_wikidata_is_an_identifier_or_nothing() -> None:
    assert row({"wikidata": "Q42"})["wikidata"] == "Q42"
    assert row({"wikidata": "Q42;Q43"})["wikidata"] == "Q42"
    assert row({"wikidata": "de:Foo"})["wikidata"] is None


def test_a_node_has_no_area_and_an_area_has_square_metres() -> None:
    pois = normalized(
        ({"amenity": "cafe"}, shapely.Point(1, 2)),
        ({"leisure": "park"}, shapely.box(1, 0, 1.001, 0.001)),
    )
    node, area = pois.table.column("area_m2").to_pylist()
    assert node is None
    assert area is not None
    assert abs(area - 111.32 * 110.57) < 5
    assert pois.table.column("point_source").to_pylist() == ["node", "surface"]


def test_unknown_versions_and_times_are_null() -> None:
    features = features_of(({"amenity": "cafe"}, shapely.Point(1, 2)))
    features.version[:] = 0
    features.timestamp[:] = np.datetime64("NaT", "s")
    pois = normalize(
        features,
        boundary=BboxBoundary(WINDOW),
        day=DAY,
        languages=(),
        local_language=None,
        country="RU",
        taxonomy=Taxonomy.load(),
    )
    (poi,) = pois.table.to_pylist()
    assert poi["osm_version"] is None
    assert poi["osm_timestamp"] is None


def test_features_of_another_source_have_its_references_and_no_object_of_osm() -> None:
    features = replace(
        features_of(
            ({"amenity": "cafe", "name": "A"}, shapely.Point(1, 2)),
            ({"amenity": "no"}, shapely.Point(1, 3)),
            ({"amenity": "bar", "name": "\0"}, shapely.Point(1, 4)),
        ),
        osm_type=np.full(3, None, dtype=object),
        osm_id=np.zeros(3, dtype=np.int64),
        refs=np.array(["cafes/7", "cafes/8", "cafes/9"], dtype=object),
    )
    pois = normalize(
        features,
        boundary=BboxBoundary(WINDOW),
        day=DAY,
        languages=(),
        local_language=None,
        country="RU",
        taxonomy=Taxonomy.load(),
        licence="CC0-1.0",
        attribution="Cafés of the town",
    )
    (poi,) = pois.table.to_pylist()
    assert [poi[name] for name in ("source_ref", "osm_type", "osm_id")] == ["cafes/7", None, None]
    assert (poi["licence"], poi["attribution"]) == ("CC0-1.0", "Cafés of the town")
    assert {each.source_ref: each.reason for each in pois.rejections} == {
        "cafes/8": "no_main_tag",
        "cafes/9": "invalid_text",
    }


def test_the_source_hash_covers_tags_version_and_geometry_and_no_rule_of_ours() -> None:
    def source_hash(tags: dict[str, str], shape: Any, languages: tuple[str, ...] = ()) -> str:
        pois = normalized((tags, shape), languages=languages)
        text: str = pois.table.column("source_hash")[0].as_py()
        return text

    tags = {"amenity": "cafe", "name": "a", "name:en": "b"}
    base = source_hash(tags, shapely.Point(1, 2))
    assert source_hash(dict(reversed(tags.items())), shapely.Point(1, 2)) == base
    assert source_hash(tags, shapely.Point(1, 2), ("en",)) == base
    assert source_hash(tags | {"name": "c"}, shapely.Point(1, 2)) != base
    assert source_hash(tags, shapely.Point(1, 2.0000001)) != base


def test_every_row_carries_licence_and_attribution() -> None:
    poi = row({})
    assert poi["licence"] == "ODbL-1.0"
    assert poi["attribution"] == "© OpenStreetMap contributors"


@pytest.mark.process
def test_rows_are_made_without_pandas() -> None:
    code = (
        "import sys\n"
        "from ingestion_pipeline_tests.unit.osm.test_normalize import normalized, shapely\n"
        "normalized(({'amenity': 'cafe', 'name': 'Café'}, shapely.Point(1, 1)))\n"
        "sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
