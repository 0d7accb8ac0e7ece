"""Real files of publishers are staged by configuration alone, over HTTP, through the whole job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ingestion_pipeline.staging.days import Slice, read_day
from ingestion_pipeline_tests.support.feed_server import FeedServer
from ingestion_pipeline_tests.support.installation import ScriptedClock, installed, why
from ingestion_pipeline_tests.support.recipes import recipe
from ingestion_pipeline_tests.unit.sources.feed.test_recipes import REAL, portal, published
from testbed.towns import TOWN, write_nodes

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.server, pytest.mark.real_data]


@pytest.mark.parametrize("slug", REAL)
def test_a_real_file_is_staged_as_it_is_published(
    slug: str, osm_test_data: Path, tmp_path: Path
) -> None:
    expected = REAL[slug]
    west, south, east, north = expected.bbox
    now = expected.now
    osm = tmp_path / f"osm-{now.date()}.osm.pbf"
    toilet = ((west + east) / 2, (south + north) / 2, {"amenity": "toilets"})
    write_nodes(osm, {1: toilet}, at=now, covers=expected.bbox)
    with FeedServer(portal(published(slug, osm_test_data))) as server:
        city = TOWN | {
            "bbox": list(expected.bbox),
            "osm_source": "extract",
            "osm_extract": f"{tmp_path}/osm-{{day}}.osm.pbf",
            "feed": [recipe(slug, server.address("").rstrip("/"))],
        }
        database = f"sqlite:///{tmp_path}/staging.gpkg"
        with installed(tmp_path, database, cities=[city], clock=ScriptedClock(now)) as here:
            result = here.run(f"town|{now.date()}", job_type="helpers_import")
            assert result.success, why(result)
            counts = here.ledger()[-1].counts
            assert counts is not None
            assert "failed" not in counts
            rows = read_day(here.engine, Slice("town", "helper", f"feed:{slug}", now.date())) or []
    assert len(rows) == expected.places
    assert expected.name in {row["name"] for row in rows if row["source_ref"] == expected.ref}
