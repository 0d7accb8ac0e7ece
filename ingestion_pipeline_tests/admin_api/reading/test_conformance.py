"""The abstract tests of OGC API - Features, Part 1 (OGC 17-069r4, annex A), on the running service.

Each test names the requirements that it checks. docs/reading.md has what the library does not do.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import shapely
import shapely.geometry

from ingestion_pipeline_tests.admin_api.reading.conftest import BOX, PLACES

if TYPE_CHECKING:
    from ingestion_pipeline_tests.admin_api.reading.conftest import Reading

CONF = "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf"
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
GEOJSON = "application/geo+json"
CURRENT, DAY = "poi_staging_current", "poi_staging_day"
MANUAL = (Path(__file__).parents[3] / "docs" / "reading.md").read_text("utf-8")


def relations(document: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the links of a document by relation; each has an address and a media type."""
    for link in document["links"]:
        assert link["href"]
        assert link["rel"]
        assert link["type"]
    return {link["rel"]: link for link in document["links"]}


def parameters_of(document: dict[str, Any], path: str) -> dict[str, dict[str, Any]]:
    listed = document["paths"][path]["get"]["parameters"]
    return {each["name"]: each for each in listed if each["in"] == "query"}


def test_landing_page_and_contract(reading: Reading) -> None:
    """/req/core/root-op, root-success, api-definition-op, api-definition-success, http."""
    reply = reading.http.get("")
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "application/json")
    links = relations(reply.json())
    assert links.keys() >= {"service-desc", "service-doc", "conformance", "data"}
    contract = reading.http.get(links["service-desc"]["href"])
    assert contract.status_code == 200
    assert contract.headers["Content-Type"].startswith("application/vnd.oai.openapi+json")
    assert contract.json()["openapi"].startswith("3.")
    assert (
        reading.http.get(links["service-doc"]["href"])
        .headers["Content-Type"]
        .startswith("text/html")
    )


def test_conformance_declaration(reading: Reading) -> None:
    """/req/core/conformance-op, conformance-success."""
    listed = reading.get("conformance")["conformsTo"]
    assert {f"{CONF}/{each}" for each in ("core", "geojson", "html")} <= set(listed)
    is_of_3_0 = reading.get("api")["openapi"].startswith("3.0.")
    assert any(each.endswith("/oas30") for each in listed) == is_of_3_0


def test_collections_and_each_collection(reading: Reading) -> None:
    """/req/core/fc-md-op, fc-md-success, fc-md-links, -items, -items-links, -extent, sfc-md-*."""
    document = reading.get("collections")
    relations(document)
    assert document["collections"]
    for each in document["collections"]:
        links = relations(each)
        assert links["items"]["type"] == GEOJSON
        (box,) = each["extent"]["spatial"]["bbox"]
        assert box == BOX
        alone = reading.get(f"collections/{each['id']}")
        for name in ("id", "title", "description", "extent"):
            assert alone.get(name) == each.get(name)
        assert relations(alone).keys() >= {"self", "items"}
        # /req/core/crs84: the default of `crs` is CRS84 alone.
        assert alone.get("crs", [CRS84])[0] == CRS84


def test_a_page_of_items(reading: Reading) -> None:
    """/req/core/fc-op, fc-response, fc-links, fc-timeStamp, fc-number*, /req/geojson/*."""
    before = datetime.now(UTC).replace(microsecond=0)
    reply = reading.http.get(f"collections/{CURRENT}/items", params={"limit": 7})
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, GEOJSON)
    page = reply.json()
    assert page["type"] == "FeatureCollection"
    assert page["numberReturned"] == len(page["features"]) == 7
    assert page["numberMatched"] == reading.staged.count(CURRENT)
    if "timeStamp" in page:
        moment = datetime.fromisoformat(page["timeStamp"])
        assert before <= moment <= datetime.now(UTC)
    links = relations(page)
    assert links.keys() >= {"self", "next"}
    assert links["self"]["type"] == links["next"]["type"] == GEOJSON
    for feature in page["features"]:
        assert feature["type"] == "Feature"
        assert shapely.geometry.shape(feature["geometry"]).is_valid
    following = reading.http.get(links["next"]["href"]).json()
    ids = [{feature["id"] for feature in each["features"]} for each in (page, following)]
    assert not ids[0] & ids[1]
    assert relations(following).keys() >= {"self", "next", "prev"}


def test_one_feature(reading: Reading) -> None:
    """/req/core/f-op, f-success, f-links, and 404 for one that is not there (/req/core/http)."""
    (feature,) = reading.items(CURRENT, limit=1)["features"]
    reply = reading.http.get(f"collections/{CURRENT}/items/{feature['id']}")
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, GEOJSON)
    alone = reply.json()
    assert {name: alone[name] for name in ("type", "id", "geometry", "properties")} == {
        name: feature[name] for name in ("type", "id", "geometry", "properties")
    }
    links = relations(alone)
    assert links["collection"]["href"] == f"{reading.url}/collections/{CURRENT}"
    assert reading.http.get(f"collections/{CURRENT}/items/0").status_code == 404


@pytest.mark.parametrize("limit", [1, 39, 10_000])
def test_limit(reading: Reading, limit: int) -> None:
    """/req/core/fc-limit-definition, fc-limit-response-1."""
    path = "/collections/{collectionId}/items"
    schema = parameters_of(reading.get("api"), path)["limit"]["schema"]
    bounds = schema if "minimum" in schema else schema["anyOf"][0]
    assert (bounds["type"], bounds.get("minimum", bounds.get("exclusiveMinimum"))) in (
        ("integer", 0),
        ("integer", 1),
    )
    page = reading.items(CURRENT, limit=limit)
    assert len(page["features"]) == min(limit, page["numberMatched"])


@pytest.mark.parametrize(
    "box", [(0, 0, 0.012, 1), (0.5, 0.25, 0.75, 0.5), (170, -10, 175, -5), (0, 0, 0, 0.012, 1, 9)]
)
def test_bbox(reading: Reading, box: tuple[float, ...]) -> None:
    """/req/core/fc-bbox-definition, fc-bbox-response: what intersects, with four or six numbers."""
    west, south, east, north = box if len(box) == 4 else (box[0], box[1], box[3], box[4])
    found = reading.items(CURRENT, bbox=",".join(map(str, box)), limit=10_000)["features"]
    everything = reading.items(CURRENT, limit=10_000)["features"]
    window = shapely.box(west, south, east, north)
    expected = {
        feature["id"]
        for feature in everything
        if shapely.geometry.shape(feature["geometry"]).intersects(window)
    }
    assert {feature["id"] for feature in found} == expected


@pytest.mark.parametrize(
    ("interval", "days"),
    [
        ("2024-01-02T00:00:00Z", {1}),
        ("2024-01-01T00:00:00Z/2024-01-02T00:00:00Z", {0, 1}),
        ("../2024-01-01T12:00:00Z", {0}),
        ("2024-01-02T00:00:00Z/..", {1, 2}),
        ("/2024-01-01T00:00:00Z", {0}),
        ("2030-01-01T00:00:00Z/", set()),
    ],
)
def test_datetime(reading: Reading, interval: str, days: set[int]) -> None:
    """/req/core/fc-time-definition, fc-time-response: instants, closed and half-open intervals."""
    page = reading.items(DAY, city_slug="town", datetime=interval, limit=1)
    assert page["numberMatched"] == sum(PLACES - 1 + number for number in days)


@pytest.mark.parametrize(
    "path",
    ["", "conformance", "collections", f"collections/{CURRENT}", f"collections/{CURRENT}/items"],
)
def test_a_parameter_that_is_not_declared(reading: Reading, path: str) -> None:
    """/req/core/query-param-unknown."""
    reply = reading.http.get(path, params={"no_such_parameter": "1"})
    assert reply.status_code == 400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("limit", "-1"), ("limit", "many"), ("bbox", "1,2,3"), ("bbox", "a,b,c,d")),
        *(("datetime", "yesterday"), ("datetime", "2024-01-02/2024-01-01/x")),
    ],
)
def test_a_parameter_with_a_value_that_is_not_valid(
    reading: Reading, name: str, value: str
) -> None:
    """/req/core/query-param-invalid."""
    reply = reading.http.get(f"collections/{CURRENT}/items", params={name: value})
    assert reply.status_code == 400


@pytest.mark.parametrize("path", ["", "collections", f"collections/{CURRENT}/items"])
def test_html(reading: Reading, path: str) -> None:
    """/req/html/definition, /req/html/content."""
    reply = reading.http.get(path, headers={"Accept": "text/html"})
    assert reply.status_code == 200
    assert reply.headers["Content-Type"].startswith("text/html")


def test_what_is_not_done_is_documented(reading: Reading) -> None:
    links = {
        "/req/core/fc-links": relations(reading.items(CURRENT, limit=1)),
        "/req/core/fc-md-links": relations(reading.get("collections")),
    }
    for requirement, found in links.items():
        assert "alternate" not in found, f"the library meets {requirement} now: correct the manual"
        assert f"`{requirement}`" in MANUAL
