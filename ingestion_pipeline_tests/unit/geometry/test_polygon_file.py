"""Polygons in files: both forms, and what is no polygon of the Earth."""

from __future__ import annotations

import json
from typing import Any

import pytest
import shapely

from ingestion_pipeline.geometry.polygon_file import outline_of, polygon_of

SQUARE = [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]
HOLE = [[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]]

ISLANDS = """\
two islands, the first with a lake
1
   0.0   0.0
   4.000000E+00   0.0
   4.0   4.0
   0.0   4.0
END
!2
   1.0   1.0
   2.0   1.0
   2.0   2.0
   1.0   2.0
END
3
   6.0   0.0
   7.0   0.0
   7.0   1.0
END
END
"""


def polygon(content: Any) -> Any:
    text = content if isinstance(content, str) else json.dumps(content)
    return polygon_of(outline_of(text.encode()))


def test_a_poly_file_is_its_sections_without_the_holes() -> None:
    found = polygon(ISLANDS)
    assert found.area == 16 - 1 + 0.5
    assert [found.intersects(shapely.Point(at)) for at in ((1.5, 1.5), (3, 3), (6.9, 0.5))] == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda geometry: geometry,
        lambda geometry: {"type": "Feature", "properties": None, "geometry": geometry},
        lambda geometry: {
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "properties": {}, "geometry": geometry}],
        },
    ],
    ids=["geometry", "feature", "collection"],
)
def test_geojson_is_read_however_it_is_wrapped(wrapped: Any) -> None:
    raised = [[*point, 12.5] for point in SQUARE]  # a height is legal, and of no use
    assert polygon(wrapped({"type": "Polygon", "coordinates": [raised, HOLE]})).equals(
        shapely.Polygon(SQUARE, [HOLE])
    )


def test_an_island_in_a_lake_of_another_polygon_stays() -> None:
    island = [[1.4, 1.4], [1.6, 1.4], [1.6, 1.6], [1.4, 1.4]]
    found = polygon({"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE], [island]]})
    assert found.intersects(shapely.Point(1.59, 1.5))
    assert not found.intersects(shapely.Point(1.2, 1.5))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("<html>gone</html>", "neither GeoJSON nor a complete .poly file"),
        ("", "neither GeoJSON nor a complete .poly file"),
        (ISLANDS[:-4], "which ends with END twice"),
        ("nothing\nEND\n", "no polygon"),
        (ISLANDS.replace("6.0   0.0", "north"), "not a position"),
        (ISLANDS.replace("6.0", "6000000"), "not a longitude and latitude in degrees"),
        (ISLANDS.replace("   7.0   1.0\n", ""), "2 corners"),
        ("{", "not GeoJSON"),
        ('{"a":' * 100_000, "not GeoJSON"),
        ({"type": "Point", "coordinates": [1, 1]}, "contains Point"),
        ({"type": "Feature", "geometry": None}, "an object without a geometry"),
        ({"type": "FeatureCollection", "features": []}, "no polygon"),
        ({"type": "Polygon", "coordinates": [[[float("nan"), 1]] * 4]}, "degrees"),
        ({"type": "Polygon", "coordinates": [5]}, "not a list of positions"),
        ({"type": "Polygon", "coordinates": []}, "no coordinates"),
        (
            {
                "type": "Polygon",
                "crs": {"type": "name", "properties": {"name": "EPSG:3857"}},
                "coordinates": [SQUARE],
            },
            "EPSG:4326",
        ),
        (
            {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]},
            r"Self-intersection\[0\.5 0\.5\]",
        ),
    ],
)
def test_what_is_no_polygon_is_refused_with_the_reason(content: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        polygon(content)


def test_a_file_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(ValueError, match="not UTF-8"):
        outline_of("контур\n".encode("cp1251"))
