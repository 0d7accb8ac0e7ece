"""The pipeline's own work on city-days: what the three assets do, without a run of Dagster's.

Usage: python -m benchmarks.programs.work CITY DAY [DAY ...]

The settings are those of the environment. The last line is about the last day alone.
"""

from __future__ import annotations

import json
import sys
from datetime import date
from time import perf_counter, process_time
from typing import TYPE_CHECKING

from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import load_settings
from ingestion_pipeline.datasets.poi import POI
from ingestion_pipeline.defs.frames import store_frame
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.defs.snapshots import take
from ingestion_pipeline.defs.staging import stage
from ingestion_pipeline.defs.work import ClaimedPartition
from testbed.claims import claim_key

if TYPE_CHECKING:
    from benchmarks.harness import Values


def work(pipeline: PipelineResources, slug: str, day: date) -> Values:
    """Fetch, shape and stage a city-day; tell what that took."""
    city = pipeline.cities.get(slug)
    now = pipeline.clock.now()
    claim = claim_key(pipeline.engine, slug, day, boundary_ref=city.boundary_key, now=now)
    start, cpu = perf_counter(), process_time()
    partition = ClaimedPartition(city, day, claim)
    take(pipeline, partition, POI)
    store_frame(pipeline, partition, POI)
    stage(pipeline, partition, POI)
    return {"work s": perf_counter() - start, "work's CPU s": process_time() - cpu}


if __name__ == "__main__":
    settings = load_settings()
    pipeline = PipelineResources(settings, load_cities(settings.cities_file))
    for each in sys.argv[2:]:
        took = work(pipeline, sys.argv[1], date.fromisoformat(each))
    print(json.dumps(took))
