"""The endpoints that list, read and cancel jobs, and the format of a cursor."""

import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ingestion_pipeline.admin_api.auth import Authorized
from ingestion_pipeline.admin_api.models import CURSOR, AnyJobType, Day, Job, JobPage, Slug
from ingestion_pipeline.admin_api.problems import (
    AUTHORIZATION,
    DATABASE,
    INVALID_REQUEST,
    JOB_ENDED,
    NOT_FOUND,
    UNKNOWN_JOB,
    Mistake,
    ProblemError,
    Responses,
    invalid,
    responses,
)
from ingestion_pipeline.admin_api.service import ServiceDep
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.runs import Position, Run, Status

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Authorized])

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TIME_DIGITS = 12


class JobQuery(BaseModel):
    """Filters of the list of jobs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job_type: AnyJobType | None = Field(None, description="Only this type of job")
    city_slug: Slug | None = Field(None, description="Only this city")
    day: Day | None = Field(None, description="Only this UTC day")
    status: Status | None = Field(None, description="Only this status")
    limit: int = Field(20, ge=1, le=100, description="The maximum number of jobs")
    cursor: str | None = Field(
        None, pattern=CURSOR, description="`next_cursor` of the previous page"
    )


async def each_parameter_once(request: Request) -> None:
    """Reject a query with a repeated parameter.

    Raises:
        ProblemError: A parameter is repeated.
    """
    times = Counter(name for name, _ in request.query_params.multi_items())
    twice = [name for name, count in times.items() if count > 1]
    if twice:
        raise invalid(Mistake(field=name, message="Use it only once.") for name in twice)


@router.get(
    "",
    operation_id="list_jobs",
    summary="List jobs, the newest first",
    dependencies=[Depends(each_parameter_once)],
    responses=responses(*AUTHORIZATION, INVALID_REQUEST, *DATABASE),
)
def list_jobs(query: Annotated[JobQuery, Query()], service: ServiceDep) -> JobPage:
    """Return one page; `next_cursor` leads to the next one.

    New jobs do not shift the pages that follow.
    """
    found = runs.page(
        service.database(),
        job_type=query.job_type,
        city_slug=query.city_slug,
        day=query.day,
        status=query.status,
        before=None if query.cursor is None else position_of(query.cursor),
        limit=query.limit + 1,
    )
    shown = found[: query.limit]
    return JobPage(
        jobs=[Job.of(run) for run in shown],
        next_cursor=cursor_after(shown[-1]) if len(found) > len(shown) else None,
    )


@router.get(
    "/{job_id:uuid}",
    operation_id="get_job",
    summary="Get a job",
    responses=responses(*AUTHORIZATION, NOT_FOUND, UNKNOWN_JOB, INVALID_REQUEST, *DATABASE),
)
def get_job(job_id: uuid.UUID, service: ServiceDep) -> Job:
    """Return a job as it is in the ledger."""
    return Job.of(_existing(runs.get(service.database(), str(job_id)), job_id))


_CANCELED: Responses = {
    200: {"description": "It is CANCELED"},
    202: {
        "model": Job,
        "description": "It is RUNNING; it can no longer stage anything, and is CANCELED once its "
        "process has stopped",
    },
}


@router.post(
    "/{job_id:uuid}/cancel",
    operation_id="cancel_job",
    summary="Cancel a job",
    responses=_CANCELED
    | responses(*AUTHORIZATION, NOT_FOUND, UNKNOWN_JOB, JOB_ENDED, INVALID_REQUEST, *DATABASE),
)
def cancel_job(job_id: uuid.UUID, service: ServiceDep, response: Response) -> Job:
    """Cancel a job that has not ended. Idempotent."""
    run = _existing(
        runs.request_cancel(service.database(), str(job_id), now=service.clock.now()), job_id
    )
    if run.status in ("SUCCEEDED", "FAILED"):
        raise ProblemError(JOB_ENDED, f"Job {run.id} has ended as {run.status}.")
    response.status_code = 202 if run.status == "RUNNING" else 200
    return Job.of(run)


def _existing(run: Run | None, job_id: uuid.UUID) -> Run:
    if run is None:
        raise ProblemError(
            UNKNOWN_JOB, f"Job {job_id} does not exist. GET /v1/jobs lists the jobs."
        )
    return run


def cursor_after(run: Run) -> str:
    """Return the cursor of a run."""
    return cursor_at(run.requested_at, run.id)


def cursor_at(moment: datetime, row_id: str) -> str:
    """Return the cursor of a row: its time in milliseconds, and its id."""
    milliseconds = (moment - _EPOCH) // _MILLISECOND
    return f"{milliseconds:0{_TIME_DIGITS}x}{uuid.UUID(row_id).hex}"


def position_of(cursor: str) -> Position:
    """Parse a cursor; every cursor of valid format is a position."""
    milliseconds, run_id = cursor[:_TIME_DIGITS], cursor[_TIME_DIGITS:]
    return Position(_EPOCH + int(milliseconds, 16) * _MILLISECOND, str(uuid.UUID(run_id)))
