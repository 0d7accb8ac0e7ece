"""Which new feature is a place that is gone: invented places around one point."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import shapely

from ingestion_pipeline.osm.taxonomy import Taxonomy
from ingestion_pipeline.promotion.identity import Matching, Place, match
from ingestion_pipeline.text.contacts import contacts
from ingestion_pipeline.text.names import names_by_language

LON, LAT = 9.52, 47.14
METRES_OF_A_DEGREE = 111_195  # of latitude, on the sphere


def at(east: float, north: float, *, lon: float = LON, lat: float = LAT) -> tuple[float, float]:
    """Return the longitude and latitude of a point some metres east and north of another."""
    wide = METRES_OF_A_DEGREE * np.cos(np.radians(lat))
    return (lon + east / wide + 180) % 360 - 180, lat + north / METRES_OF_A_DEGREE


def place(
    ref: str,
    tags: str,
    east: float = 0.0,
    north: float = 0.0,
    *,
    size: float = 0.0,
    lon: float = LON,
    lat: float = LAT,
) -> Place:
    """Return a feature with tags (`amenity=cafe|name=Sun`).

    Args:
        ref: Its `source_ref`.
        tags: Its tags.
        east: Metres east of the point.
        north: Metres north of it.
        size: 0 for a node; the side of the square of an area in metres, with its middle there.
        lon: The point.
        lat: The point.
    """
    tagged = dict(tag.split("=", 1) for tag in tags.split("|"))
    found = Taxonomy.load().classify(tagged)
    assert found is not None
    x, y = at(east, north, lon=lon, lat=lat)
    half = size / 2
    corners = [
        at(east + dx, north + dy, lon=lon, lat=lat) for dx in (-half, half) for dy in (-half, half)
    ]
    return Place(
        ref=ref,
        category=found.category,
        categories=found.categories,
        name=tagged.get("name"),
        names=names_by_language(tagged),
        tags=tagged,
        contact=contacts(tagged, country="LI"),
        wikidata=tagged.get("wikidata"),
        geometry=shapely.convex_hull(shapely.MultiPoint(corners)) if size else shapely.Point(x, y),
        lon=x,
        lat=y,
        geom_quality="ok",
    )


def linked(gone: list[Place], new: list[Place]) -> dict[str, str]:
    """Return the refs that are linked; all else is neither linked nor ambiguous."""
    found = match(gone, new)
    assert found.ambiguous == ()
    return {link.gone: link.new for link in found.links}


def in_doubt(found: Matching) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    assert found.links == ()
    return [(each.gone, each.new) for each in found.ambiguous]


def test_a_node_that_is_replaced_by_its_building_is_the_same_place_with_evidence() -> None:
    node = place("node/1", "amenity=cafe|name=Café Sonne|website=https://www.sonne.example/")
    building = place(
        "way/1",
        "amenity=cafe|name=Cafe Sonne|building=yes|website=http://sonne.example",
        4,
        size=20,
    )
    (link,) = match([node], [building]).links
    assert (link.gone, link.new) == ("node/1", "way/1")
    assert link.score > 0.99
    evidence: dict[str, Any] = json.loads(json.dumps(link.evidence))
    assert evidence == {
        "metres": 0.0,
        "category": "equal",
        "name_similarity": 1.0,
        "bits": 18.0,
        "inside": True,
        "same": ["website"],
    }
