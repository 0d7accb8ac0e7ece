"""The pipeline's own work on city-days: what the three assets do, without a run of Dagster's.

Usage: python -m benchmarks.programs.work CITY DAY [DAY ...]

The settings are those of the environment. The last line is about the last day alone.
"""

from __future__ import annotations

import json
import sys
from datetime import date
from functools import partial
from time import perf_counter, process_time
from typing import TYPE_CHECKING

from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import load_settings
from ingestion_pipeline.datasets.registry import POI
from ingestion_pipeline.defs.assets.osm import shape_pois, stage_pois
from ingestion_pipeline.defs.resources import Workshop
from ingestion_pipeline.defs.snapshots import take_snapshot
from ingestion_pipeline.defs.work import Work
from ingestion_pipeline_tests.support.staged import claim_key

if TYPE_CHECKING:
    from benchmarks.harness import Values


def work(workshop: Workshop, slug: str, day: date) -> Values:
    """Fetch, shape and stage a city-day; tell what that took."""
    city = workshop.cities.get(slug)
    now = workshop.clock.now()
    claim = claim_key(workshop.engine, slug, day, boundary_ref=city.boundary_key, now=now)
    start, cpu = perf_counter(), process_time()
    for do in (partial(take_snapshot, dataset=POI), shape_pois, stage_pois):
        do(workshop, Work(city, day, claim))
    return {"work s": perf_counter() - start, "work's CPU s": process_time() - cpu}


if __name__ == "__main__":
    settings = load_settings()
    workshop = Workshop(settings, load_cities(settings.cities_file))
    for each in sys.argv[2:]:
        took = work(workshop, sys.argv[1], date.fromisoformat(each))
    print(json.dumps(took))
