"""City clips: what is read from a table is what was written to it."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import shapely

from ingestion_pipeline.columns.tag_sets import TagSets
from ingestion_pipeline.osm.features import Features, Reading
from ingestion_pipeline.sources.city_clip import from_table, to_table


@pytest.mark.parametrize("refs", [None, np.array(["cafes/7", "cafes/8"], dtype=object)])
def test_a_reading_comes_back_as_it_was(refs: np.ndarray | None) -> None:
    features = Features(
        osm_type=np.full(2, "node" if refs is None else None, dtype=object),
        osm_id=np.array([1, 2]) if refs is None else np.zeros(2, dtype=np.int64),
        version=np.array([3, 0]),
        timestamp=np.array(["2026-11-19T10:00:00", "NaT"], dtype="datetime64[s]"),
        tags=TagSets.of([{"amenity": "cafe"}, {"amenity": "cafe"}]),
        geometry=np.array([shapely.Point(1, 2), shapely.Point(3, 4)], dtype=object),
        geom_quality=np.full(2, "exact", dtype=object),
        refs=refs,
    )
    reading = from_table(*to_table(Reading(features, [], shapely.box(0, 0, 5, 5), frozenset("a"))))
    assert (reading.boundary, reading.boundary_names) == (shapely.box(0, 0, 5, 5), frozenset("a"))
    for each in fields(Features):
        before, after = getattr(features, each.name), getattr(reading.features, each.name)
        if each.name == "tags":
            assert list(after) == list(before)
        elif before is None:
            assert after is None
        else:
            np.testing.assert_array_equal(after, before)
