"""Locations of upstream data: what of them is shown."""

from __future__ import annotations

import pytest

from ingestion_pipeline.core.locations import redacted


@pytest.mark.parametrize(
    ("location", "safe"),
    [
        ("/data/monaco.osm.pbf", "/data/monaco.osm.pbf"),
        ("https://a:b@example.org/x.pbf?token=c#d", "https://example.org/x.pbf"),
        (
            "filecache::https://a:b@example.org:8080/x.pbf",
            "filecache::https://example.org:8080/x.pbf",
        ),
        ("s3://bucket/monaco.osm.pbf", "s3://bucket/monaco.osm.pbf"),
    ],
)
def test_locations_are_told_without_credentials(location: str, safe: str) -> None:
    assert redacted(location) == safe


def test_nothing_of_a_url_that_cannot_be_split_is_shown() -> None:
    assert redacted("https://u:secret@[half/x") == "***"
