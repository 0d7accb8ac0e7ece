"""Dagster partitions: one city on one UTC day."""

from datetime import date

import dagster as dg

from ingestion_pipeline.config.cities import Cities
from ingestion_pipeline.core.identity import CityDay, PartitionKeyError

CITY = "city"
DAY = "day"
"""Names of the dimensions. Dagster sorts them, so a key is `<city>|<day>`."""


def build_partitions(cities: Cities, start: date) -> dg.MultiPartitionsDefinition:
    """Return the partitions city x day, from `start` up to and including the current UTC day."""
    return dg.MultiPartitionsDefinition(
        {
            CITY: dg.StaticPartitionsDefinition([city.slug for city in cities]),
            DAY: dg.DailyPartitionsDefinition(
                start_date=start.isoformat(), timezone="UTC", end_offset=1
            ),
        }
    )


def key_and_tags(partition: CityDay, *, first: date) -> tuple[str | None, dict[str, str]]:
    """Return the partition key and the tags that request a run of a city-day.

    Dagster refuses a request for the key of a day before the first partition. It takes one with the
    tags that a run of the partition would have; see `Settings.first_partition`.
    """
    key = str(partition)
    if partition.day >= first:
        return key, {}
    return None, {
        "dagster/partition": key,
        f"dagster/partition/{CITY}": partition.city,
        f"dagster/partition/{DAY}": partition.day.isoformat(),
    }


def require_partition(partition: CityDay, *, first: date) -> None:
    """Require that a day has a partition in this process.

    Raises:
        PartitionKeyError: It has none, and Dagster would not store the outputs of the steps.
    """
    if partition.day < first:
        raise PartitionKeyError(
            f"{partition.day} has no partition: they begin at {first}. Set PARTITIONS_START to an "
            "earlier day"
        )


def city_day(context: dg.AssetExecutionContext) -> CityDay:
    """Return the city-day of the run. GraphQL does not validate partition keys, so this does.

    Raises:
        PartitionKeyError: The key is not a city and a day, or the run has no single partition.
    """
    if not context.has_partition_key:
        raise PartitionKeyError(
            "the run is not of a single partition; launch it again with a key such as "
            "'kazan|2026-11-20', and many days as a backfill of one run each"
        )
    return CityDay.parse(str(context.partition_key))
