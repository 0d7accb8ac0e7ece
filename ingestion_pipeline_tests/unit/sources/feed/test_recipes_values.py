"""The recipes of docs/feeds.md give the values that publishers mean, with their real files."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.sources.feed.read import FeedPlaces, read_feed
from ingestion_pipeline.text.names import Namer
from ingestion_pipeline_tests.support.feed_server import feed_of
from ingestion_pipeline_tests.support.recipes import REAL_FILES, recipe

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real_data

WORLD = (-180.0, -90.0, 180.0, 90.0)


def read(osm_test_data: Path, slug: str) -> FeedPlaces:
    changes: dict[str, Any] = {"minimum": 1}
    if slug == "stops-of-gtfs":
        changes["member"] = None
    return read_feed(
        osm_test_data / "feeds" / REAL_FILES[slug],
        feed_of(recipe(slug, "https://data.example.org"), **changes),
        bbox=WORLD,
        boundary=BboxBoundary(Bbox(*WORLD)),
        namer=Namer(["en"], "en"),
    )


@pytest.mark.parametrize(
    ("slug", "column", "values"),
    [
        ("geojson-with-states", "status", {"operating": 8, "out_of_order": 12}),
        ("geojson-of-ckan", "status", {"operating": 8, "out_of_order": 12}),
        ("csv-with-decimal-comma", "status", {"operating": 20}),
        ("csv-in-a-national-grid", "fee", {"no": 18, "yes": 2}),
        ("csv-without-ids", "wheelchair", {"yes": 16, "no": 4}),
        (
            "csv-without-ids",
            "opening_hours",
            {"06:00-22:00": 9, "24/7": 5, "06:00-01:00": 2, None: 4},
        ),
        ("csv-with-unknown-values", "wheelchair", {"yes": 11, "no": 8, None: 1}),
        (
            "geojson-of-a-portal",
            "opening_hours",
            {
                "Apr-Sep dawn-dusk, Oct-Mar dawn-dusk": 15,
                "Apr-Sep 10:00-23:00, Oct-Mar 10:00-23:00": 1,
                "Apr-Sep 07:00-dusk, Oct-Mar 10:00-dusk": 1,
                "Apr-Sep dawn-dusk": 1,
                "Apr-Sep Tu-Sa 09:00-20:00, Oct-Mar Tu-Sa 09:00-17:00": 1,
                "Apr-Sep 07:30-21:00, Oct-Mar 07:30-21:00": 1,
            },
        ),
    ],
)
def test_a_recipe_gives_the_values_that_the_publisher_means(
    osm_test_data: Path, slug: str, column: str, values: dict[str | None, int]
) -> None:
    places = read(osm_test_data, slug)
    assert Counter(places.table.column(column).to_pylist()) == values


def test_what_a_recipe_does_not_understand_is_counted(osm_test_data: Path) -> None:
    assert read(osm_test_data, "geojson-of-ckan").unparsed == {"opening_hours": 2}
    assert read(osm_test_data, "csv-in-a-national-grid").unparsed == {"opening_hours": 4}
    assert read(osm_test_data, "array-of-objects").unparsed == {"opening_hours": 3}
    assert read(osm_test_data, "csv-without-ids").unparsed == {"opening_hours": 3}
