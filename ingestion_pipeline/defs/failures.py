"""The one place where a domain error becomes what Dagster acts on.

Belongs here: retry or failure, and what the reader of the run page sees. Does not belong here: the
errors themselves (one file per area).
"""

import random

import dagster as dg

from ingestion_pipeline.errors import IngestionError

MAXIMUM_RETRIES = 3
FIRST_WAIT_SECONDS = 60
"""The first wait before a step is tried again; each next one is twice as long."""


def may_retry(error: IngestionError, *, retry_number: int) -> bool:
    """Tell whether Dagster is to try the step again."""
    return error.should_retry and retry_number < MAXIMUM_RETRIES


def retry_of(*, retry_number: int) -> dg.RetryRequested:
    """Ask Dagster to try the step again, later each time, and not all cities at the same moment.

    It is raised and not set as a policy of the asset, because a blanket policy also retries what
    cannot succeed, and a run that a person has terminated.
    """
    wait = FIRST_WAIT_SECONDS * 2**retry_number
    jitter = random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, keeps no secret
    return dg.RetryRequested(max_retries=MAXIMUM_RETRIES, seconds_to_wait=wait * jitter)


def failure_of(error: IngestionError) -> dg.Failure:
    """Describe the error for the run's page."""
    return dg.Failure(
        description=str(error),
        metadata={
            "error_code": error.code,
            "may_succeed_later": error.should_retry,
            "what_to_do": dg.MetadataValue.path("docs/operations.md"),
        },
        allow_retries=False,
    )
