"""An Overpass answer and an extract of the same moment are the same features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.sources.overpass import client as overpass
from ingestion_pipeline.sources.pbf import extract

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from ingestion_pipeline.osm.features import Features

MONACO = Area(Bbox(7.409205, 43.72335, 7.448637, 43.75169), boundary_relation=None)
ASKED_KEYS = frozenset(
    {"amenity", "shop", "tourism", "leisure", "office", "craft", "historic", "healthcare"}
)
"""The keys of the recorded query, which are fewer than ours."""


def rows(features: Features) -> dict[str, Any]:
    return {
        f"{kind}/{osm_id}": (geometry.wkb, quality, version, timestamp, tags)
        for kind, osm_id, geometry, quality, version, timestamp, tags in zip(
            features.osm_type,
            features.osm_id,
            features.geometry,
            features.geom_quality,
            features.version,
            features.timestamp,
            features.tags,
            strict=True,
        )
        if not ASKED_KEYS.isdisjoint(tags)
    }


@pytest.mark.real_data
def test_an_answer_and_an_extract_of_the_same_data_agree_byte_for_byte(
    osm_test_data: Path,
) -> None:
    answer = osm_test_data / "overpass" / "05-monaco-count-then-geom.body.json"
    file = osm_test_data / "extracts" / "monaco-2023-12-26.osm.pbf"
    asked = overpass.read([answer], area=MONACO)
    read = extract.read(file, area=MONACO)
    assert len(asked.features) == 1461
    assert rows(asked.features) == rows(read.features)
    assert asked.rejections == read.rejections == []
