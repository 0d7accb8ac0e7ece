"""Conversion of domain errors to Dagster retries and failures.

This is the only place that decides between retry and failure, and what the run page shows. The
errors themselves are defined in one file per area.
"""

import random
from contextlib import suppress
from dataclasses import dataclass

import dagster as dg

from ingestion_pipeline.core.errors import IngestionError, shortened
from ingestion_pipeline.core.manual import codes, manual_url

QUESTIONS = 4
"""Requests of a client in one step. A step that ends in order to wait has made fewer."""


@dataclass(frozen=True)
class Retrying:
    """The retry policy for steps that failed with a transient error.

    The retry is raised and not set as a policy of the asset, because an asset's policy also retries
    errors that cannot succeed later, and runs that a person terminated.

    Attributes:
        maximum: The maximum number of retries. Steps that end before their first long wait get
            `QUESTIONS` times as many attempts.
        first_wait_s: The wait before the first retry in seconds; it doubles with each retry.
        longest_s: The maximum total of the waits that steps leave to retries, in seconds.
    """

    maximum: int = 3
    first_wait_s: float = 60.0
    longest_s: float = 3600.0

    @property
    def waits(self) -> bool:
        """Whether a step may wait by a retry, which holds no slot of a pool while it waits."""
        return self.maximum > 0

    def of(self, error: IngestionError, *, retry_number: int) -> dg.RetryRequested | None:
        """Return the retry for an error, with exponential backoff and jitter.

        Jitter keeps cities from retrying at the same moment.

        Args:
            error: The error of the step.
            retry_number: The number of retries so far.

        Returns:
            The retry to raise; None if the error is permanent or the retries are used up.
        """
        if error.should_retry and error.retry_after_s is not None:
            return self._after(error.retry_after_s, retry_number=retry_number)
        if not error.should_retry or retry_number >= self.maximum:
            return None
        wait = self.first_wait_s * 2**retry_number
        jitter = random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, no cryptography
        return dg.RetryRequested(max_retries=self.maximum, seconds_to_wait=wait * jitter)

    def _after(self, seconds: float, *, retry_number: int) -> dg.RetryRequested | None:
        """Return a retry after the wait that the error asks for, or a longer one."""
        least = self.first_wait_s * (2 if retry_number else 1)
        wait = max(seconds, least) * random.uniform(1.0, 1.25)  # noqa: S311 - as above
        most = (self.maximum + 1) * QUESTIONS - 1 if self.waits else 0
        if retry_number >= most or wait * (retry_number + 1) > self.longest_s:
            return None
        return dg.RetryRequested(max_retries=most, seconds_to_wait=wait)


def failure_of(error: IngestionError) -> dg.Failure:
    """Return the failure that shows an error on the run page."""
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
    entry = None
    with suppress(OSError, ValueError):  # a run reports its error even if the manual is missing
        entry = codes().get(error.code)
    return entry.what_to_do if entry else f"See {manual_url('errors')}"
