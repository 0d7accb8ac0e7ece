"""The city's boundary: the right one, and what it owns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely

from ingestion_pipeline.columns.tag_sets import TagSets
from ingestion_pipeline.core.boundary import BboxBoundary, Boundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.boundary import boundary_names, boundary_of
from ingestion_pipeline.osm.errors import BoundaryNameMismatch, BoundaryOutsideBbox
from ingestion_pipeline.osm.features import Features, Reading

NOTHING = Features(
    osm_type=np.empty(0, dtype=object),
    osm_id=np.empty(0, dtype=np.int64),
    version=np.empty(0, dtype=np.int64),
    timestamp=np.empty(0, dtype="datetime64[s]"),
    tags=TagSets.of([]),
    geometry=np.empty(0, dtype=object),
    geom_quality=np.empty(0, dtype=object),
)


def owns(boundary: Boundary, *points: tuple[float, float]) -> list[bool]:
    lon, lat = np.array(points, dtype=float).T
    found: list[bool] = boundary.owns(lon, lat).tolist()
    return found


def boundary(polygon: Any, names: frozenset[str], window: Bbox = Bbox(0, 0, 4, 4)) -> Boundary:  # noqa: B008
    return boundary_of(
        Reading(NOTHING, [], polygon, names),
        Area(window, 7),
        city="kazan",
        names_match=lambda names: "Kazan" in names,
    )


def test_two_bboxes_that_touch_share_no_point_and_lose_none() -> None:
    west, east = BboxBoundary(Bbox(0, 0, 1, 1)), BboxBoundary(Bbox(1, 0, 2, 1))
    edge = [(1.0, 0.5), (1.0, 0.0), (0.0, 0.0), (2.0, 0.5), (1.5, 1.0)]
    assert owns(west, *edge) == [False, False, True, False, False]
    assert owns(east, *edge) == [True, True, False, False, False]


def test_a_relation_owns_what_its_polygon_holds_and_not_its_holes() -> None:
    ring = shapely.box(0, 0, 3, 3).difference(shapely.box(1, 1, 2, 2))
    assert owns(boundary(ring, frozenset({"Kazan"})), (0.5, 0.5), (1.5, 1.5), (3.5, 1)) == [
        True,
        False,
        False,
    ]


def test_a_relation_of_another_name_is_refused_with_both_names() -> None:
    with pytest.raises(BoundaryNameMismatch, match=r"relation/7 of kazan is named Samara"):
        boundary(shapely.box(0, 0, 1, 1), frozenset({"Samara"}))


def test_names_without_an_end_are_quoted_in_part() -> None:
    names = frozenset(letter * 100_000 for letter in "abcdefgh")
    with pytest.raises(BoundaryNameMismatch) as caught:
        boundary(shapely.box(0, 0, 3, 3), names)
    assert len(str(caught.value)) < 1_000


def test_a_relation_beyond_the_bbox_is_refused_with_the_numbers_to_set() -> None:
    with pytest.raises(BoundaryOutsideBbox, match=r"spans \[0\.0, 0\.0, 5\.0, 1\.0\], beyond"):
        boundary(shapely.box(0, 0, 5, 1), frozenset({"Kazan"}))


def test_without_a_relation_the_bbox_is_the_boundary() -> None:
    found = boundary_of(
        Reading(NOTHING, [], None, frozenset()),
        Area(Bbox(0, 0, 1, 1), None),
        city="kazan",
        names_match=lambda _: False,
    )
    assert found == BboxBoundary(Bbox(0, 0, 1, 1))


def test_names_of_today_count_and_former_ones_do_not() -> None:
    tags = {"name": "A", "name:ru": "Б", "alt_name": "C; D", "old_name": "E", "name:prefix": "F"}
    assert boundary_names(tags) == {"A", "Б", "C", "D"}


def test_a_name_that_cannot_be_stored_is_none() -> None:
    tags = {"name": "Caf\udce9", "name:de": "Stadt", "int_name": "a\0b"}
    assert boundary_names(tags) == {"Stadt"}
