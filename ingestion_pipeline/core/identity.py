"""The identity of a piece of work: the city-day partition and its idempotency key."""

import re
from dataclasses import dataclass
from datetime import date
from typing import Self

from ingestion_pipeline.core.errors import IngestionError

JobType = str
"""The type of a job, the first part of its idempotency keys; each dataset has one."""

DEFAULT_DATASET = "poi"
"""The dataset that commands read where none is named."""

DEFAULT_JOB_TYPE: JobType = "osm_import"
"""The job that commands run where none is named."""

SLUG = re.compile(r"[a-z0-9][a-z0-9-]*")
"""The form of a city slug; it excludes the separators of partition keys (`| , [ ]`)."""


class PartitionKeyError(IngestionError):
    """A partition key is not `<city>|<YYYY-MM-DD>`."""

    code = "bad_partition_key"


@dataclass(frozen=True, order=True)
class CityDay:
    """One city on one UTC day: the partition, and the unit of idempotency."""

    city: str
    day: date

    @classmethod
    def parse(cls, key: str) -> Self:
        """Parse a partition key such as `kazan|2026-11-20`.

        Raises:
            PartitionKeyError: The key has another form. GraphQL does not validate keys, so a run
                does this first.
        """
        city, separator, text = key.partition("|")
        day = None
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            try:
                day = date.fromisoformat(text)
            except ValueError:
                day = None
        if not separator or not SLUG.fullmatch(city) or day is None:
            raise PartitionKeyError(
                f"partition key {key!r} is not '<city>|<YYYY-MM-DD>', such as 'kazan|2026-11-20'; "
                "launch the run again with a key of that form"
            )
        return cls(city, day)

    def __str__(self) -> str:
        """Return the partition key."""
        return f"{self.city}|{self.day.isoformat()}"


@dataclass(frozen=True)
class JobKey:
    """The parts of an idempotency key."""

    job_type: JobType
    city_slug: str
    boundary_ref: str
    day: date

    def __str__(self) -> str:
        """Return the key in clear text: `{job_type}|{city_slug}|{boundary_ref}|{YYYY-MM-DD}`."""
        return f"{self.job_type}|{self.city_slug}|{self.boundary_ref}|{self.day.isoformat()}"
