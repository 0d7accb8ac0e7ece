"""The models of requests and responses, except problems and health."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ingestion_pipeline.datasets.registry import job_types
from ingestion_pipeline.promotion.ledger import JOB_TYPE as PROMOTION
from ingestion_pipeline.staging.outcomes import Outcome, State, outcome_of, sources_of
from ingestion_pipeline.staging.runs import ACTIVE, Run, Status, Trigger

if TYPE_CHECKING:
    JobType = str
    AnyJobType = str
else:
    JobType = Literal[job_types()]
    AnyJobType = Literal[(*job_types(), PROMOTION)]

# With another first digit, the time would exceed Python's maximum.
CURSOR = "^0[0-9a-f]{43}$"
"""The form of a cursor."""


def _day(value: object) -> object:
    # Pydantic would also accept a Unix time.
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        raise ValueError("use YYYY-MM-DD")
    return date.fromisoformat(value) if isinstance(value, str) else value


Day = Annotated[date, BeforeValidator(_day), Field(examples=["2026-11-20"])]
"""A UTC day, only as `YYYY-MM-DD`."""

Slug = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]*$", max_length=100, examples=["kazan"])]
"""A city's slug; the city may not exist."""

_EXAMPLE_ID = "0d5b1b0e-6a3c-4a55-9f0e-5d3f2b7f6a11"
_EXAMPLE_KEY = "osm_import|kazan|relation/27504067|2026-11-20"


class EnqueueRequest(BaseModel):
    """A request to stage a city-day."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={"examples": [{"city_slug": "kazan", "day": "2026-11-20"}]},
    )

    city_slug: Slug
    day: Day | None = Field(None, description="The UTC day; today by default")
    refetch: bool = Field(
        default=False, description="Fetch from upstream even if a snapshot of the day is stored"
    )


class CallbackRequest(EnqueueRequest):
    """A request of a queue to stage a city-day."""

    job_type: JobType = Field("osm_import", description="The type of job")


class JobError(BaseModel):
    """Why a job did not succeed."""

    code: str = Field(description="An error code; see /manual/errors/", examples=["stale_upstream"])
    message: str = Field(description="What is wrong, where, and what to do")


class SliceCounts(BaseModel):
    """Counts of a staged slice."""

    rows: int = Field(description="Places of the day", examples=[4533])
    added: int = Field(description="Places that the previous staged day did not have")
    changed: int = Field(description="Places that it had with other content")
    removed: int = Field(description="Places that only the previous staged day had")
    rejected: int = Field(description="Objects that could not be parsed")
    written: int = Field(description="Rows inserted, changed or deleted")


class SourceCounts(SliceCounts):
    """Counts of a source, and what it has on the day."""

    state: State = Field(
        description=(
            "`good`: the rows of the day; `kept`: those that an earlier run had fetched, because "
            "this one could not; `stale`: those of an earlier day; `missing`: none"
        )
    )
    reason: str | None = Field(
        description="Why the source failed: an error code and a message; null if it is good"
    )


class JobCounts(SliceCounts):
    """Counts of everything that a job staged."""

    sources: dict[str, SourceCounts] = Field(
        default_factory=dict,
        description="Counts by source, where there are several; failed ones included",
    )
    failed: dict[str, str] = Field(
        default_factory=dict, description="Failed feeds, with the reason of each"
    )


class JobLinks(BaseModel):
    """Links of a job."""

    self: str = Field(description="The job", examples=[f"/v1/jobs/{_EXAMPLE_ID}"])
    cancel: str | None = Field(
        description="POST here to cancel it; null once it has ended",
        examples=[f"/v1/jobs/{_EXAMPLE_ID}/cancel"],
    )


class Job(BaseModel):
    """A job on one city-day, from the ledger."""

    job_id: str = Field(json_schema_extra={"format": "uuid"}, examples=[_EXAMPLE_ID])
    job_type: AnyJobType
    city_slug: str
    day: date
    boundary_ref: str = Field(
        description="The city's boundary, part of the key", examples=["relation/27504067"]
    )
    idempotency_key: str = Field(
        description="At most one job per key is PENDING or RUNNING", examples=[_EXAMPLE_KEY]
    )
    status: Status
    trigger: Trigger = Field(description="What requested the job")
    attempt: int = Field(description="The number of runs that started on it")
    refetch: bool
    outcome: Outcome | None = Field(
        description=(
            "How complete a job is that SUCCEEDED: `complete`, `partial` (some of the city's feeds "
            "failed) or `feeds_failed` (all of them did); null before"
        )
    )
    counts: JobCounts | None = Field(description="Counts of staged rows; null before SUCCEEDED")
    as_of: datetime | None = Field(description="The time that the data itself reports")
    error: JobError | None = Field(description="Why it FAILED or was CANCELED")
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    dagster_run_id: str | None
    links: JobLinks

    @classmethod
    def of(cls, run: Run) -> Self:
        """Return the job of a row of the ledger."""
        return cls(
            job_id=run.id,
            job_type=run.job_type,
            city_slug=run.city_slug,
            day=run.day,
            boundary_ref=run.boundary_ref,
            idempotency_key=run.idempotency_key,
            status=run.status,
            trigger=run.trigger,
            attempt=run.attempt,
            refetch=run.refetch,
            outcome=None if run.counts is None else outcome_of(run.counts),
            counts=None if run.counts is None else _counts(run.counts),
            as_of=run.as_of,
            error=_error(run),
            requested_at=run.requested_at,
            started_at=run.started_at,
            finished_at=run.finished_at,
            cancel_requested_at=run.cancel_requested_at,
            dagster_run_id=run.dagster_run_id,
            links=JobLinks(
                self=job_path(run),
                cancel=f"{job_path(run)}/cancel" if run.status in ACTIVE else None,
            ),
        )


class JobPage(BaseModel):
    """Some jobs, the newest first."""

    jobs: list[Job]
    next_cursor: str | None = Field(
        description="The `cursor` of the next page; null on the last page"
    )


def job_path(run: Run) -> str:
    """Return the path of a job."""
    return f"/v1/jobs/{run.id}"


def _counts(counts: Mapping[str, Any]) -> JobCounts:
    sources = {
        source: {**each.counts, "state": each.state, "reason": each.reason}
        for source, each in sources_of(counts).items()
    }
    return JobCounts.model_validate({**counts, "sources": sources})


def _error(run: Run) -> JobError | None:
    if run.error_code is None:
        return None
    return JobError(code=run.error_code, message=run.error_message or "")
