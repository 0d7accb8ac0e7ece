"""Helper places out of OpenStreetMap, from end to end: counts, parents, positions, and by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
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
from ingestion_pipeline_tests import independent
from ingestion_pipeline_tests.independent import things_of
from ingestion_pipeline_tests.independent_helpers import kinds_of
from ingestion_pipeline_tests.installation import TOWN, contents, installed, metadata, why

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ingestion_pipeline_tests.independent import Thing
    from ingestion_pipeline_tests.installation import Installation

Box = tuple[float, float, float, float]
Row = dict[str, Any]

HELSINKI_DAY = "2019-04-21"
# Boxes that lie within the data and cut streets, buildings and parks.
HELSINKI_BOX = (24.935, 60.163, 24.95, 60.175)
MONACO_BOX = (7.412, 43.725, 7.43, 43.743)
ANDORRA_BOX = (1.48, 42.45, 1.6, 42.56)
WIDER_THAN_HELSINKI = (24.9, 60.14, 25.0, 60.2)

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


def extract_of(folder: Path, name: str, day: str = "{day}") -> str:
    return str(folder / "extracts" / f"{name}-{day}.osm.pbf")


def helpers_staged(here: Installation, day: str) -> list[Row]:
    """Import the helpers of a day, and read them back."""
    result = here.run(f"town|{day}", job_type="helpers_import")
    assert result.success, why(result)
    return rows_of(here, "helper", day, COLUMNS)


def rows_of(here: Installation, dataset: str, day: str, columns: Sequence[str]) -> list[Row]:
    rows = read_day(here.engine, Slice("town", dataset, "osm", date.fromisoformat(day)), columns)
    assert rows is not None
    return list(rows)


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
    for item in osmium.FileProcessor(str(path)):
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
        are_pois = {
            ref for ref, row in parents.items() if independent.is_selected(row["tags"])
        }
        assert are_pois == parents.keys() & pois.keys()
        assert len(are_pois) > 50
        for ref in are_pois:
            assert {name: parents[ref][name] for name in same} == pois[ref]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "day", "box"),
    [
        ("monaco", "2021-04-21", MONACO_BOX),
        ("monaco", "2023-12-26", MONACO_BOX),
        ("andorra", "2025-01-19", ANDORRA_BOX),
    ],
    ids=str,
)
def test_every_helper_of_an_extract_within_the_boundary_is_staged(
    tmp_path: Path, geopackage: str, osm_test_data: Path, name: str, day: str, box: Box
) -> None:
    path = extract_of(osm_test_data, name, day)
    city = city_of(box, path)
    with installed(tmp_path, geopackage, cities=[city]) as here:
        rows = helpers_staged(here, day)
    source = osm_test_data / "extracts" / f"{name}-{day}.osm.pbf"
    assert_helpers_are_those_of_the_file(rows, source, box)
    assert assert_parents_are_in_the_file(rows, source) > 0


# Days


@pytest.mark.real_data
def test_days_staged_twice_or_in_any_order_give_the_same_table(
    tmp_path: Path, database_url: str, another_database_url: str, osm_test_data: Path
) -> None:
    earlier, later = "2021-04-21", "2023-12-26"
    world = (helper_place, staged_partition, ingestion_rejection)
    cities = [city_of(MONACO_BOX, extract_of(osm_test_data, "monaco"))]
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
    for item in osmium.FileProcessor(str(path)).with_areas():
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


@dataclass(frozen=True)
class Judged:
    """What a person who read the tags of an object says of its helpers.

    Attributes:
        kinds: What it is or has, with what is to be known of each: columns, and `attributes` of
            the kind. A column that is not named is null, and `status` is `operating`.
    """

    kinds: dict[str, dict[str, Any]] = field(default_factory=dict)
