"""The one place where a domain error becomes what Dagster acts on.

Belongs here: retry or failure, and what the reader of the run page sees. Does not belong here: the
errors themselves (one file per area).
"""

import random
from dataclasses import dataclass

import dagster as dg

from ingestion_pipeline.core.errors import IngestionError, shortened
from ingestion_pipeline.core.manual import codes, manual_url

QUESTIONS = 4
"""How many times a client asks in one step. A step that ends in order to wait has asked less."""


@dataclass(frozen=True)
class Retrying:
    """How a step is tried again whose error may pass by itself.

    It is raised and not set as a policy of the asset, because a blanket policy also retries what
    cannot succeed, and a run that a person has terminated.

    Attributes:
        maximum: How many times; `QUESTIONS` times as many tries where each of them ends before its
            first long wait.
        first_wait_s: How long Dagster waits before the first time; each next wait is twice as long.
        longest_s: How long all waits that were left to the step may be together.
    """

    maximum: int = 3
    first_wait_s: float = 60.0
    longest_s: float = 3600.0

    @property
    def waits(self) -> bool:
        """Whether a step may leave its waits to a retry, which has no place in a pool meanwhile."""
        return self.maximum > 0

    def of(self, error: IngestionError, *, retry_number: int) -> dg.RetryRequested | None:
        """Ask Dagster to try the step again, later each time, not all cities at the same moment.

        Args:
            error: Why the step failed.
            retry_number: How many times it was tried again already.

        Returns:
            What to raise; None where trying again does not help, or has not helped often enough.
        """
        if error.should_retry and error.retry_after_s is not None:
            return self._after(error.retry_after_s, retry_number=retry_number)
        if not error.should_retry or retry_number >= self.maximum:
            return None
        wait = self.first_wait_s * 2**retry_number
        jitter = random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, keeps no secret
        return dg.RetryRequested(max_retries=self.maximum, seconds_to_wait=wait * jitter)

    def _after(self, seconds: float, *, retry_number: int) -> dg.RetryRequested | None:
        """Ask Dagster to do the wait that ended the step, or a longer one."""
        least = self.first_wait_s * (2 if retry_number else 1)
        wait = max(seconds, least) * random.uniform(1.0, 1.25)  # noqa: S311 - as above
        most = (self.maximum + 1) * QUESTIONS - 1 if self.waits else 0
        if retry_number >= most or wait * (retry_number + 1) > self.longest_s:
            return None
        return dg.RetryRequested(max_retries=most, seconds_to_wait=wait)


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
