"""Helper places out of OpenStreetMap, from end to end: counts, parents, positions, and by hand."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import TYPE_CHECKING, Any

import osmium
import pytest
import shapely

from ingestion_pipeline.staging.days import Slice, read_day
from ingestion_pipeline.staging.tables import (
    helper_place,
    ingestion_rejection,
    staged_partition,
)
from ingestion_pipeline_tests.support import independent
from ingestion_pipeline_tests.support.independent import things_of
from ingestion_pipeline_tests.support.independent_helpers import kinds_of
from ingestion_pipeline_tests.support.installation import contents, installed, metadata, why
from testbed.towns import TOWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ingestion_pipeline_tests.support.independent import Thing
    from ingestion_pipeline_tests.support.installation import Installation

Box = tuple[float, float, float, float]
Row = dict[str, Any]

HELSINKI_DAY = "2019-04-21"
# Boxes that lie within the data and cut streets, buildings and parks; and the whole sample.
HELSINKI_BOX = (24.9352, 60.1642, 24.95, 60.175)
MONACO_BOX = (7.412, 43.725, 7.43, 43.743)
ANDORRA_BOX = (1.48, 42.45, 1.6, 42.56)
WHOLE_SAMPLE = (24.9351762, 60.164155, 24.9534145, 60.179113)

COLUMNS = (
    *("source_ref", "kind", "parent_ref", "derived_from", "osm_type", "osm_id", "osm_version"),
    *("osm_timestamp", "tags", "geometry", "lon", "lat", "access", "fee", "wheelchair", "level"),
    *("operator", "opening_hours", "status", "attributes", "name"),
)


@pytest.fixture
def geopackage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/staging.gpkg"


def city_of(box: Sequence[float], extract: str, **changes: Any) -> dict[str, Any]:
    return TOWN | {"bbox": list(box), "osm_source": "extract", "osm_extract": extract} | changes


def helpers_staged(here: Installation, day: str) -> list[Row]:
    """Import the helpers of a day, and read them back."""
    result = here.run(f"town|{day}", job_type="helpers_import")
    assert result.success, why(result)
    return rows_of(here, "helper", day, COLUMNS)


def rows_of(here: Installation, dataset: str, day: str, columns: Sequence[str]) -> list[Row]:
    rows = read_day(here.engine, Slice("town", dataset, "osm", date.fromisoformat(day)), columns)
    assert rows is not None
    return [dict(row) for row in rows]


# Nothing is lost, and nothing is invented


def gives_a_helper(tags: Mapping[str, str]) -> bool:
    return bool(kinds_of(tags))


def expected_refs(things: Mapping[str, Thing], box: Box) -> set[str]:
    """Name the helpers of a file within a box, counted without the package."""
    return {
        f"{ref}#{kind}"
        for ref, thing in things.items()
        if thing.lies_in(box)
        for kind in kinds_of(thing.tags)
    }


def assert_helpers_are_those_of_the_file(rows: Sequence[Row], path: Path, box: Box) -> None:
    expected = expected_refs(things_of(path, gives_a_helper), box)
    assert {row["source_ref"] for row in rows} ^ expected == set()
    by_kind = Counter(ref.partition("#")[2] for ref in expected)
    assert Counter(row["kind"] for row in rows) == by_kind
    assert len(rows) > 250
    assert len(by_kind) >= 20


def raw_tags(path: Path, refs: set[str]) -> dict[str, dict[str, str]]:
    """Read the tags of objects by their ref."""
    kinds = {"n": "node", "w": "way", "r": "relation"}
    found: dict[str, dict[str, str]] = {}
    item: Any
    for item in osmium.FileProcessor(str(path)).with_filter(osmium.filter.EmptyTagFilter()):
        ref = f"{kinds[item.type_str()]}/{item.id}"
        if ref in refs:
            found[ref] = dict(item.tags)
    return found


def assert_parents_are_in_the_file(rows: Sequence[Row], path: Path) -> int:
    """Hold every derived helper against its parent; give how many there are."""
    derived = [row for row in rows if row["derived_from"] is not None]
    tags = raw_tags(path, {row["parent_ref"] for row in derived})
    for row in derived:
        key, value = row["derived_from"].split("=")
        said = tags[row["parent_ref"]]
        assert value in [part.strip() for part in said[key].split(";")]
        assert row["tags"] == said
        assert row["source_ref"] == f"{row['parent_ref']}#{row['kind']}"
    assert all(row["parent_ref"] is None for row in rows if row["derived_from"] is None)
    return len(derived)


def test_every_helper_of_the_sample_within_the_boundary_is_staged_beside_its_poi(
    tmp_path: Path, geopackage: str, helsinki_pbf: Path
) -> None:
    city = city_of(HELSINKI_BOX, "sample:helsinki")
    with installed(tmp_path, geopackage, cities=[city]) as here:
        rows = helpers_staged(here, HELSINKI_DAY)
        assert_helpers_are_those_of_the_file(rows, helsinki_pbf, HELSINKI_BOX)
        assert assert_parents_are_in_the_file(rows, helsinki_pbf) > 50
        result = here.run(f"town|{HELSINKI_DAY}")
        assert result.success, why(result)
        same = ("osm_version", "osm_timestamp", "tags", "geometry", "lon", "lat")
        pois = {
            row["source_ref"]: {name: row[name] for name in same}
            for row in rows_of(here, "poi", HELSINKI_DAY, ("source_ref", *same))
        }
        parents = {row["parent_ref"]: row for row in rows if row["parent_ref"] is not None}
        are_pois = {ref for ref, row in parents.items() if independent.is_selected(row["tags"])}
        assert are_pois == parents.keys() & pois.keys()
        assert len(are_pois) > 50
        for ref in are_pois:
            assert {name: parents[ref][name] for name in same} == pois[ref]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "box"),
    [
        ("monaco-2021-04-21", MONACO_BOX),
        ("monaco-2023-12-26", MONACO_BOX),
        ("andorra-2025-01-19", ANDORRA_BOX),
    ],
    ids=str,
)
def test_every_helper_of_an_extract_within_the_boundary_is_staged(
    tmp_path: Path, geopackage: str, osm_test_data: Path, name: str, box: Box
) -> None:
    path = osm_test_data / "extracts" / f"{name}.osm.pbf"
    with installed(tmp_path, geopackage, cities=[city_of(box, str(path))]) as here:
        rows = helpers_staged(here, name.partition("-")[2])
    assert_helpers_are_those_of_the_file(rows, path, box)
    assert assert_parents_are_in_the_file(rows, path) > 0


# Days


@pytest.mark.real_data
def test_days_staged_twice_or_in_any_order_give_the_same_table(
    tmp_path: Path, database_url: str, another_database_url: str, osm_test_data: Path
) -> None:
    earlier, later = "2021-04-21", "2023-12-26"
    world = (helper_place, staged_partition, ingestion_rejection)
    template = str(osm_test_data / "extracts" / "monaco-{day}.osm.pbf")
    cities = [city_of(MONACO_BOX, template)]
    with installed(tmp_path / "1", database_url, cities=cities) as here:
        helpers_staged(here, earlier)
        helpers_staged(here, later)
        in_order = contents(here.engine, tables=world)
        for day in (earlier, later):
            result = here.run(f"town|{day}", job_type="helpers_import")
            assert metadata(result, "helper_places")["written"] == 0
        assert contents(here.engine, tables=world) == in_order
    with installed(tmp_path / "2", another_database_url, cities=cities) as here:
        for day in (later, earlier):
            helpers_staged(here, day)
        assert contents(here.engine, tables=world) == in_order


# Positions

VADUZ = 1155956


def area_of_relation(path: Path, number: int) -> Any:
    """Let libosmium assemble a relation."""
    factory = osmium.geom.WKBFactory()
    item: Any
    for item in osmium.FileProcessor(str(path)).with_areas(osmium.filter.IdFilter([number])):
        if item.is_area() and not item.from_way() and item.orig_id() == number:
            return shapely.from_wkb(bytes.fromhex(factory.create_multipolygon(item)))
    raise AssertionError(number)


@pytest.mark.real_data
def test_every_poi_and_helper_lies_within_the_polygon_of_the_city(
    tmp_path: Path, geopackage: str, osm_test_data: Path
) -> None:
    day = "2022-07-24"
    source = osm_test_data / "extracts" / f"liechtenstein-{day}.osm.pbf"
    polygon = area_of_relation(source, VADUZ)
    west, south, east, north = polygon.bounds
    box = (west - 0.01, south - 0.01, east + 0.01, north + 0.01)
    city = city_of(box, str(source), name={"en": "Vaduz"}, boundary_ref=f"relation/{VADUZ}")
    with installed(tmp_path, geopackage, cities=[city]) as here:
        helpers = helpers_staged(here, day)
        result = here.run(f"town|{day}")
        assert result.success, why(result)
        pois = rows_of(here, "poi", day, ("source_ref", "lon", "lat", "geometry"))
    for rows in (helpers, pois):
        points = shapely.points([(row["lon"], row["lat"]) for row in rows])
        assert shapely.within(points, polygon).all()
        shapes = [shapely.from_wkb(bytes(row["geometry"])) for row in rows]
        assert shapely.dwithin(shapes, points, 1e-7).all()
    inside = {
        f"{ref}#{kind}"
        for ref, thing in things_of(source, gives_a_helper).items()
        if (point := thing.point()) is not None and polygon.contains(point)
        for kind in kinds_of(thing.tags)
    }
    assert {row["source_ref"] for row in helpers} == inside
    assert len(inside) > 100


# By hand

# Somebody read the tags of each of these objects and judged by docs/helper-kinds.md and the wiki of
# OSM what helpers it gives. A column that is not named is null, `status` is `operating`, and there
# are no attributes. The facts are from OpenStreetMap, (c) OpenStreetMap contributors, ODbL 1.0.
JUDGED: dict[str, dict[str, dict[str, Any]]] = {
    # Toilets of their own
    "node/103678074": {"toilets": {}},
    "node/600408141": {"toilets": {}},  # fee: a sentence, yes for some and no for others
    "node/5673089621": {"toilets": {"fee": "yes"}},
    "node/2752244008": {"toilets": {"access": "yes", "attributes": {"toilets:disposal": "flush"}}},
    "node/6328892649": {"toilets": {"access": "permissive", "level": "3", "wheelchair": "yes"}},
    "node/5284191284": {"toilets": {"attributes": {"unisex": "yes"}}},
    "node/603743745": {
        "toilets": {"operator": "Helsingin kaupunki", "opening_hours": "09:30-16:00"}
    },
    "way/464733009": {"toilets": {"wheelchair": "yes"}},
    # What a place has, and what is said to be missing
    "node/4371604494": {"toilets": {"derived_from": "toilets=yes"}},  # wheelchair: the place
    "node/606996919": {
        "toilets": {
            "derived_from": "toilets:wheelchair=yes",
            "wheelchair": "yes",
            "attributes": {"toilets:wheelchair": "yes"},
        }
    },
    "node/324164750": {},  # no toilet for wheelchairs, and perhaps none at all
    "relation/5608": {
        "toilets": {
            "derived_from": "toilets:wheelchair=yes",
            "wheelchair": "yes",
            "attributes": {"toilets:wheelchair": "yes"},
        },
        "internet_access": {"derived_from": "internet_access=yes"},
    },
    "node/464729830": {
        "bank": {"operator": "Aktia", "wheelchair": "yes"},
        "atm": {"derived_from": "atm=yes"},
    },
    "node/603767088": {"bank": {"operator": "Ålandsbanken", "wheelchair": "no"}},  # atm=no
    "node/1381017801": {
        "internet_access": {
            "derived_from": "internet_access=wlan",
            "fee": "no",
            "opening_hours": "Mo-Fr 08:00-20:00; Sa 09:00-20:00; Su 11:00-18:00",
            "attributes": {"internet_access:fee": "no"},
        }
    },
    "node/2417940823": {
        "internet_access": {
            "derived_from": "internet_access=wlan",
            "fee": "yes",
            "opening_hours": "Mo-Th 11:00-01:00; Fr-Sa 11:00-02:00; Su 12:00-23:00",
            "attributes": {"internet_access:fee": "yes"},
        }
    },
    "node/5124452326": {
        "internet_access": {
            "derived_from": "internet_access=wlan",
            "level": "1",
            "opening_hours": "Mo-Fr 07:30-21:00; Sa 09:00-21:30; Su 09:00-19:30",
        }
    },
    "node/1613725221": {},  # a café with wifi=no
    "node/1012323471": {},  # a fountain, of which nothing says that one may drink
    "node/1369465695": {},  # a nightclub and restaurant
    # What is gone
    "node/60062438": {
        "internet_access": {
            "derived_from": "internet_access=yes",
            "status": "disused",
            "attributes": {"internet_access:fee": "no (wifi); yes (cafe computers)"},
        }
    },
    "node/1381017828": {},
    "node/311115297": {"shelter": {"derived_from": "shelter=yes", "status": "disused"}},
    "node/462670930": {
        "public_transport_stop": {
            "status": "disused",
            "attributes": {"ref": "1910", "shelter": "no"},
        }
    },
    # Stops, and what is none
    "node/175881540": {
        "public_transport_stop": {"attributes": {"ref": "1905", "shelter": "yes"}},
        "shelter": {"derived_from": "shelter=yes"},
    },
    "node/1793746150": {
        "public_transport_stop": {
            "wheelchair": "yes",
            "attributes": {"bench": "no", "ref": "2139", "shelter": "no"},
        }
    },
    "node/25502063": {
        "public_transport_stop": {
            "wheelchair": "yes",
            "attributes": {"ref": "0252", "shelter": "yes"},
        },
        "shelter": {"derived_from": "shelter=yes"},
    },
    "way/8137136": {"public_transport_stop": {"attributes": {"ref": "12"}}},
    "node/1815986142": {"public_transport_stop": {"operator": "JT-LINES", "wheelchair": "yes"}},
    "node/25473244": {},  # where a train stops on its track
    "node/302554209": {},  # a building's private entrance
    "node/189437356": {
        "station_entrance": {
            "wheelchair": "yes",
            "attributes": {"entrance": "main", "ref": "A"},
        }
    },
    "node/173248867": {"elevator": {"wheelchair": "yes"}},
    # Machines
    "node/1020608411": {"ticket_machine": {"operator": "HSL"}},
    "node/438623938": {},  # tickets for parking
    "node/6049453011": {},  # parcels
    "node/5155503077": {"luggage_storage": {"level": "-1"}},
    "node/1831955269": {"charging_station": {}},  # fuel:electricity=yes says no more
    # Vehicles
    "way/28890906": {"parking": {"access": "private"}},
    "node/277398828": {"parking": {"fee": "yes"}},
    "node/5047535966": {
        "bicycle_parking": {
            "access": "private",
            "attributes": {"bicycle_parking": "wall_loops", "covered": "no"},
        }
    },
    "node/4368865656": {
        "bicycle_rental": {
            "operator": "City Bike Finland",
            "opening_hours": "24/7",
            "attributes": {"capacity": "24", "seasonal": "spring;summer;autumn"},
        }
    },
    "node/1208596656": {"car_rental": {}},
    # People
    "node/6049453041": {
        "tourist_information": {
            "level": "0",
            "opening_hours": "Mo-Fr 09:00-21:00; Sa 09:00-19:00; Su 11:00-18:00",
        }
    },
    "node/1876321727": {"tourist_map": {"attributes": {"board_type": "public_transport"}}},
    "node/1798012663": {
        "pharmacy": {
            "wheelchair": "yes",
            "opening_hours": "07:00-24:00",
            "attributes": {"dispensing": "yes"},
        }
    },
    "node/5992298306": {"clinic": {"attributes": {"emergency": "no"}}},
    "node/323318642": {
        "embassy": {"attributes": {"country": "IL", "diplomatic": "embassy", "target": "FI"}}
    },
    "node/4751244125": {
        "bureau_de_change": {
            "level": "1",
            "opening_hours": "Mo-Fr 09:00-20:00; Sa 09:00-18:00; Su 10:00-18:00",
        }
    },
    "node/151006411": {"post_box": {"attributes": {"collection_times": "Mo-Fr 14:00"}}},
    "node/6138893758": {"bench": {"level": "0", "attributes": {"backrest": "yes"}}},
    "node/945672221": {},  # a life buoy
}

NOT_NAMED: dict[str, Any] = {
    **dict.fromkeys(("derived_from", "access", "fee", "wheelchair", "level", "operator")),
    "opening_hours": None,
    "status": "operating",
    "attributes": {},
}


def test_objects_of_the_sample_give_what_somebody_judged_by_hand(
    tmp_path: Path, geopackage: str, helsinki_pbf: Path
) -> None:
    city = city_of(WHOLE_SAMPLE, "sample:helsinki")
    with installed(tmp_path, geopackage, cities=[city]) as here:
        rows = helpers_staged(here, HELSINKI_DAY)
    assert len(raw_tags(helsinki_pbf, set(JUDGED))) == len(JUDGED)
    found: dict[str, dict[str, Row]] = {ref: {} for ref in JUDGED}
    for row in rows:
        ref = row["source_ref"].partition("#")[0]
        if ref in found:
            found[ref][row["kind"]] = {name: row[name] for name in NOT_NAMED}
    expected = {
        ref: {kind: NOT_NAMED | said for kind, said in kinds.items()}
        for ref, kinds in JUDGED.items()
    }
    assert {ref: found[ref] for ref in found if found[ref] != expected[ref]} == {}
