"""The one place where a domain error becomes what Dagster acts on.

Belongs here: retry or failure, and what the reader of the run page sees. Does not belong here: the
errors themselves (one file per area).
"""

import random
from dataclasses import dataclass

import dagster as dg

from ingestion_pipeline.core.errors import IngestionError, shortened
from ingestion_pipeline.core.manual import codes, manual_url


@dataclass(frozen=True)
class Retrying:
    """How a step is tried again whose error may pass by itself.

    It is raised and not set as a policy of the asset, because a blanket policy also retries what
    cannot succeed, and a run that a person has terminated.

    Attributes:
        maximum: How many times.
        first_wait_s: How long Dagster waits before the first time; each next wait is twice as long.
    """

    maximum: int = 3
    first_wait_s: float = 60.0

    def of(self, error: IngestionError, *, retry_number: int) -> dg.RetryRequested | None:
        """Ask Dagster to try the step again, later each time, not all cities at the same moment.

        Args:
            error: Why the step failed.
            retry_number: How many times it was tried again already.

        Returns:
            What to raise; None where trying again does not help, or has not helped often enough.
        """
        if not error.should_retry or retry_number >= self.maximum:
            return None
        wait = self.first_wait_s * 2**retry_number
        jitter = random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, keeps no secret
        return dg.RetryRequested(max_retries=self.maximum, seconds_to_wait=wait * jitter)


def failure_of(error: IngestionError) -> dg.Failure:
    """Describe the error for the run's page."""
    return dg.Failure(
        description=shortened(str(error)),
        metadata={
            "error_code": error.code,
            "may_succeed_later": error.should_retry,
            "what_to_do": dg.MetadataValue.text(_what_to_do(error)),
        },
        allow_retries=False,
    )


def _what_to_do(error: IngestionError) -> str:
    """Return the manual's advice for an error."""
    entry = codes().get(error.code)
    return entry.what_to_do if entry else f"See {manual_url('errors')}"
