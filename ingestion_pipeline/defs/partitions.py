"""Partitions: one city on one UTC day.

Belongs here: Dagster's definition of them, and reading a run's key. Does not belong here: what a
city-day is (`core/identity.py`).
"""

from datetime import date

import dagster as dg

from ingestion_pipeline.config.cities import Cities
from ingestion_pipeline.core.identity import CityDay, PartitionKeyError

CITY = "city"
DAY = "day"
"""Names of the dimensions. Dagster sorts them, so that a key is `<city>|<day>`."""


def build_partitions(cities: Cities, start: date) -> dg.MultiPartitionsDefinition:
    """Define city x day, from `start` up to and including the current UTC day."""
    return dg.MultiPartitionsDefinition(
        {
            CITY: dg.StaticPartitionsDefinition([city.slug for city in cities]),
            DAY: dg.DailyPartitionsDefinition(
                start_date=start.isoformat(), timezone="UTC", end_offset=1
            ),
        }
    )


def city_day(context: dg.AssetExecutionContext) -> CityDay:
    """Read the run's partition; it may be anything, because GraphQL does not validate it.

    Raises:
        PartitionKeyError: It is not a city and a day, or the run has none or a range of them.
    """
    if not context.has_partition_key:
        raise PartitionKeyError(
            "the run is not of a single partition; launch it again with a key such as "
            "'kazan|2026-11-20', and many days as a backfill of one run each"
        )
    return CityDay.parse(str(context.partition_key))
