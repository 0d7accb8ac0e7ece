"""Partitions: one city on one UTC day.

Belongs here: Dagster's definition of them, and reading a run's key. Does not belong here: what a
city-day is (`identity.py`).
"""

from datetime import date

import dagster as dg

from ingestion_pipeline.cities import Cities
from ingestion_pipeline.identity import CityDay

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
        PartitionKeyError: It is not a city and a day.
    """
    return CityDay.parse(str(context.partition_key))
