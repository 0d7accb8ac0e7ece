"""Looking at jobs and canceling them.

Belongs here: the endpoints below `/v1/jobs`, and the form of a cursor. Does not belong here: asking
for jobs (`enqueue.py`, `callback.py`).
"""

import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ingestion_pipeline.admin_api.auth import Authorized
from ingestion_pipeline.admin_api.models import Day, Job, JobPage, JobType, Slug
from ingestion_pipeline.admin_api.problems import (
    AUTHORIZATION,
    DATABASE,
    INVALID_REQUEST,
    JOB_ENDED,
    NOT_FOUND,
    UNKNOWN_JOB,
    Mistake,
    Refused,
    Responses,
    invalid,
    responses,
)
from ingestion_pipeline.admin_api.service import Here
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.runs import Position, Run, Status

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Authorized])

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TIME_DIGITS = 12

# A first digit other than zero would be a time past the last one that Python knows.
_CURSOR = "^0[0-9a-f]{43}$"


class JobQuery(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job_type: JobType | None = Field(None, description="Only of this job")
    city_slug: Slug | None = Field(None, description="Only of this city")
    day: Day | None = Field(None, description="Only of this UTC day")
    status: Status | None = Field(None, description="Only with this status")
    limit: int = Field(20, ge=1, le=100, description="How many at most")
    cursor: str | None = Field(
        None, pattern=_CURSOR, description="`next_cursor` of the page before"
    )


async def _each_parameter_once(request: Request) -> None:
    """Refuse a query that says one thing twice, instead of choosing for the caller.

    Raises:
        Refused: It does.
    """
    times = Counter(name for name, _ in request.query_params.multi_items())
    twice = [name for name, count in times.items() if count > 1]
    if twice:
        raise invalid(Mistake(field=name, message="give it once") for name in twice)


@router.get(
    "",
    operation_id="list_jobs",
    summary="List jobs, the newest first",
    dependencies=[Depends(_each_parameter_once)],
    responses=responses(*AUTHORIZATION, INVALID_REQUEST, *DATABASE),
)
def list_jobs(query: Annotated[JobQuery, Query()], service: Here) -> JobPage:
    """Give one page; `next_cursor` leads to the next.

    Jobs that are made while somebody reads page after page do not shift what is still to be read.
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
    summary="Look at a job",
    responses=responses(*AUTHORIZATION, NOT_FOUND, UNKNOWN_JOB, INVALID_REQUEST, *DATABASE),
)
def get_job(job_id: uuid.UUID, service: Here) -> Job:
    """Give a job as the ledger has it now."""
    return Job.of(_existing(runs.get(service.database(), str(job_id)), job_id))


_CANCELED: Responses = {
    200: {"description": "It is CANCELED"},
    202: {
        "model": Job,
        "description": "It is RUNNING and asked to stop; it can no longer stage anything, and is "
        "CANCELED once its process has stopped",
    },
}


@router.post(
    "/{job_id:uuid}/cancel",
    operation_id="cancel_job",
    summary="Cancel a job",
    responses=_CANCELED
    | responses(*AUTHORIZATION, NOT_FOUND, UNKNOWN_JOB, JOB_ENDED, INVALID_REQUEST, *DATABASE),
)
def cancel_job(job_id: uuid.UUID, service: Here, response: Response) -> Job:
    """Cancel a job that has not ended; asking again gives the same answer."""
    run = _existing(
        runs.request_cancel(service.database(), str(job_id), now=service.clock.now()), job_id
    )
    if run.status in ("SUCCEEDED", "FAILED"):
        raise Refused(JOB_ENDED, f"job {run.id} is {run.status} and stays so")
    response.status_code = 202 if run.status == "RUNNING" else 200
    return Job.of(run)


def _existing(run: Run | None, job_id: uuid.UUID) -> Run:
    if run is None:
        raise Refused(UNKNOWN_JOB, f"there is no job {job_id}; GET /v1/jobs lists them")
    return run


def cursor_after(run: Run) -> str:
    """Write down the place of a run in the list: its moment in milliseconds, and its id."""
    milliseconds = (run.requested_at - _EPOCH) // _MILLISECOND
    return f"{milliseconds:0{_TIME_DIGITS}x}{uuid.UUID(run.id).hex}"


def position_of(cursor: str) -> Position:
    """Read a cursor; each that has the form is a place, if not that of a run."""
    milliseconds, run_id = cursor[:_TIME_DIGITS], cursor[_TIME_DIGITS:]
    return Position(_EPOCH + int(milliseconds, 16) * _MILLISECOND, str(uuid.UUID(run_id)))
