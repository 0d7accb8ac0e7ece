"""What must hold of every row."""

from __future__ import annotations

from typing import Any

import pytest
import shapely

from ingestion_pipeline.quality.frames import (
    check_geometry,
    check_licence,
    check_position,
    check_unique_refs,
)
from ingestion_pipeline_tests.support.invented_days import BOUNDARY, frame

POINT = shapely.to_wkb(shapely.Point(0.003, 0.5))
BOW_TIE = shapely.to_wkb(shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)]))


def test_good_rows_pass_every_check() -> None:
    rows = frame()
    for found in (
        check_geometry(rows),
        check_position(rows, boundary=BOUNDARY),
        check_unique_refs(rows),
        check_licence(rows),
    ):
        assert (found.verdict, found.message) == ("good", "3 rows, all good")


@pytest.mark.parametrize(
    ("geometry", "fault"),
    [
        (b"\x01\x02", "cannot be read"),
        (None, "cannot be read"),
        (shapely.to_wkb(shapely.Polygon()), "empty"),
        (BOW_TIE, "not valid"),
    ],
)
def test_a_bad_geometry_stops_the_day_and_is_named(geometry: bytes | None, fault: str) -> None:
    found = check_geometry(frame(geometry=[POINT, geometry, POINT]))
    assert found.verdict == "stop"
    assert found.message == f"of 3 rows, {fault}: 1 (way/2)"
    assert found.rows == [(fault, "1", "way/2")]
    assert found.numbers == {"faults": 1}


@pytest.mark.parametrize(
    ("lon", "lat", "fault"),
    [
        (float("nan"), 0.5, "no point"),
        (None, 0.5, "no point"),
        (2.5, 0.5, "outside of the city's boundary"),
        (0.5, -0.1, "outside of the city's boundary"),
        (0.5, 1.5, "outside of the city's boundary"),
        (1.5, 0.5, "not on the geometry"),
    ],
)
def test_a_point_that_cannot_be_the_features_stops_the_day(
    lon: float | None, lat: float, fault: str
) -> None:
    found = check_position(frame(lon=[0.001, lon, 0.003], lat=[0.5, lat, 0.5]), boundary=BOUNDARY)
    assert found.verdict == "stop"
    assert f"{fault}: 1 (way/2)" in found.message


def test_a_point_that_was_rounded_is_on_its_geometry() -> None:
    found = check_position(frame(lon=[0.0010000001, 0.5, 0.003]), boundary=BOUNDARY)
    assert found.verdict == "good"


def test_a_feature_that_occurs_twice_stops_the_day() -> None:
    found = check_unique_refs(frame(["node/1", "node/2", "node/1"]))
    assert found.verdict == "stop"
    assert found.message == "of 3 rows, more than once: 2 (node/1, node/1)"


@pytest.mark.parametrize("column", ["licence", "attribution"])
@pytest.mark.parametrize("nothing", [None, " "])
def test_a_row_without_licence_or_attribution_stops_the_day(
    column: str, nothing: str | None
) -> None:
    columns: dict[str, Any] = {column: ["ODbL-1.0", nothing, "ODbL-1.0"]}
    found = check_licence(frame(**columns))
    assert found.verdict == "stop"
    assert found.message == f"of 3 rows, no {column}: 1 (way/2)"


def test_of_many_faults_some_are_named_and_all_are_counted() -> None:
    refs = [f"node/{number}" for number in range(1, 31)]
    found = check_licence(frame(refs, licence=[""] * 30))
    assert "no licence: 30 (node/1, " in found.message
    assert "node/10 and 20 more)" in found.message
