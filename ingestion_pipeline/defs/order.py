"""The order of runs that are due together: the city that lags most comes first.

Dagster's queue starts runs of the highest priority first, and runs of one priority in the order in
which they were created. A priority is fixed when a run is requested, so a sensor requests no more
than what can start soon. The others keep their order here.
"""

from collections.abc import Collection, Mapping
from datetime import date, timedelta
from typing import Final

import dagster as dg

from ingestion_pipeline.core.identity import CityDay
from ingestion_pipeline.dagster_runtime.private import SENSOR_NAME_TAG
from ingestion_pipeline.datasets.base import SOURCE, Dataset
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.staging.history import newest_days

BATCH = 50
"""Run requests per tick: Dagster takes up to half a second to create a run."""

AHEAD = 100
"""The number of runs of a sensor that may wait in Dagster's queue."""

MOST = 9
"""The highest priority that lagging gives: less than what a job of the ledger has."""

LONGEST = timedelta(days=60)
"""A city that has no day for so long counts as one that has none, so that its past is not read."""

NEVER: Final = date(1, 1, 1)
"""The newest staged day of a city that has none, so that it lags most."""


def days_behind(
    pipeline: PipelineResources, dataset: Dataset, partitions: Collection[CityDay]
) -> Mapping[CityDay, int]:
    """Return by how many days each city-day is after the newest staged day of its city.

    It is 1 for a city that has the day before, and thousands for one that has none.

    Args:
        pipeline: The resources.
        dataset: The dataset.
        partitions: City-days of known cities.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    if not partitions:
        return {}
    slugs = {partition.city for partition in partitions}
    newest = newest_days(
        pipeline.engine,
        dataset=dataset.name,
        source=SOURCE,
        slugs=slugs,
        since=min(partition.day for partition in partitions) - LONGEST,
    )
    boundaries = {slug: pipeline.cities.get(slug).boundary_key for slug in slugs}
    return {
        each: (each.day - newest.get((each.city, boundaries[each.city]), NEVER)).days
        for each in partitions
    }


def priority_of(behind: int) -> int:
    """Return the priority that lagging gives a run: 0 for a city that lacks no earlier day."""
    return min(max(behind - 1, 0), MOST)


def room_for(instance: dg.DagsterInstance, sensor: str) -> int:
    """Return how many runs a tick of a sensor may request."""
    queued = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED], tags={SENSOR_NAME_TAG: sensor})
    return max(0, min(BATCH, AHEAD - instance.get_runs_count(queued)))
