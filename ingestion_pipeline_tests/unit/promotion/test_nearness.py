"""Which places are near each other, compared with geodesic distances of all pairs."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from pyproj import Geod

from ingestion_pipeline.promotion.nearness import Map, distance_m, mapped, near

GEOD = Geod(ellps="WGS84")
REACH_M = 200.0


def points(lon: list[float], lat: list[float]) -> Map:
    return mapped(list(shapely.points(lon, lat)), np.array(lon), np.array(lat))


def areas(*polygons: shapely.Geometry) -> Map:
    inner = list(shapely.point_on_surface(list(polygons)))
    return mapped(polygons, shapely.get_x(inner), shapely.get_y(inner))


def scattered(
    seed: int, lon: float, lat: float, count: int = 40
) -> tuple[list[float], list[float]]:
    """Return points within 300 m of another, to all sides."""
    chance = np.random.default_rng(seed)
    there = GEOD.fwd(
        [lon] * count, [lat] * count, chance.uniform(0, 360, count), chance.uniform(0, 300, count)
    )
    return list(there[0]), list(there[1])


@pytest.mark.parametrize("lat", [0.0, 47.0, -54.8, 78.2, -89.5])
@pytest.mark.parametrize("lon", [9.5, 180.0, -179.9995])
def test_pairs_within_reach_are_found_everywhere_on_earth(lon: float, lat: float) -> None:
    ones, others = scattered(1, lon, lat), scattered(2, lon, lat)
    found = near(points(*ones), points(*others), REACH_M)
    i, j = (index.ravel() for index in np.meshgrid(range(40), range(40), indexing="ij"))
    _, _, metres = GEOD.inv(
        np.take(ones[0], i), np.take(ones[1], i), np.take(others[0], j), np.take(others[1], j)
    )
    exact = dict(zip(zip(i.tolist(), j.tolist(), strict=True), metres, strict=True))
    pairs = list(zip(found.left.tolist(), found.right.tolist(), strict=True))
    assert len(pairs) == len(set(pairs)) > 100
    assert pairs == sorted(pairs)
    assert {pair for pair, m in exact.items() if m < 0.99 * REACH_M} <= set(pairs)
    assert not [pair for pair in pairs if exact[pair] > 1.01 * REACH_M]
    assert found.metres == pytest.approx([exact[pair] for pair in pairs], rel=0.01, abs=0.2)
    assert np.isnan(found.overlap).all()
    assert not found.inside.any()


def test_overlap_is_the_share_of_what_two_areas_cover_together() -> None:
    square = shapely.box(9.0, 47.0, 9.001, 47.001)
    half = shapely.box(9.0, 47.0, 9.0005, 47.001)
    beside = shapely.box(9.001, 47.0, 9.002, 47.001)
    found = near(areas(square), areas(square, half, beside), REACH_M)
    assert found.overlap.tolist() == [1.0, 0.5, 0.0]
    assert found.metres.tolist() == [0.0, 0.0, 0.0]
    assert found.inside.tolist() == [True, True, False]


def test_a_point_in_an_area_is_inside_from_either_side() -> None:
    area, point = (
        areas(shapely.box(9.0, 47.0, 9.001, 47.001)),
        points([9.0001, 9.5], [47.0001, 47.5]),
    )
    for left, right in ((area, point), (point, area)):
        found = near(left, right, REACH_M)
        assert found.inside.tolist() == [True]
        assert found.metres.tolist() == [0.0]


def test_an_area_on_both_sides_of_the_antimeridian_is_one_pair() -> None:
    parts = [shapely.box(179.999, 60, 180, 60.001), shapely.box(-180, 60, -179.999, 60.001)]
    area = mapped([shapely.MultiPolygon(parts)], np.array([179.9995]), np.array([60.0005]))
    for left, right in ((area, area), (area, points([-179.9995], [60.0005]))):
        found = near(left, right, REACH_M)
        assert found.metres.tolist() == [0.0]
        assert found.inside.tolist() == [True]


def test_a_broken_ring_is_compared_by_what_it_covers() -> None:
    bow = shapely.Polygon([(9, 47), (9.001, 47.001), (9.001, 47), (9, 47.001)])
    found = near(areas(bow), areas(shapely.box(9, 47, 9.001, 47.001)), REACH_M)
    assert found.overlap.tolist() == [0.5]


def test_the_distance_of_two_single_places() -> None:
    one, other = points([179.999], [0.0]), points([-179.999], [0.0])
    assert distance_m(one, other) == pytest.approx(222.6, rel=0.01)
