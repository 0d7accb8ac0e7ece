"""The endpoints that enqueue a city-day: they insert a row in the ledger, and return."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from ingestion_pipeline.admin_api.auth import Authorized
from ingestion_pipeline.admin_api.bodies import parse, read
from ingestion_pipeline.admin_api.models import EnqueueRequest, Job, job_path
from ingestion_pipeline.admin_api.problems import (
    AUTHORIZATION,
    BODY_TOO_LARGE,
    DATABASE,
    INVALID_REQUEST,
    UNKNOWN_CITY,
    Mistake,
    ProblemError,
    Responses,
    invalid,
    responses,
)
from ingestion_pipeline.admin_api.promotion_models import PromotionRequest
from ingestion_pipeline.admin_api.service import Service, ServiceDep
from ingestion_pipeline.core.identity import JobKey, JobType
from ingestion_pipeline.staging import runs

router = APIRouter(tags=["jobs"])

_LOCATION = {"Location": {"description": "The job's path", "schema": {"type": "string"}}}

ENQUEUED: Responses = {
    200: {"model": Job, "description": "The existing job", "headers": _LOCATION},
    202: {"model": Job, "description": "A new job, PENDING", "headers": _LOCATION},
}
"""The successful responses."""

PROBLEMS = (UNKNOWN_CITY, BODY_TOO_LARGE, INVALID_REQUEST, *DATABASE)

_RESPONSES = ENQUEUED | responses(*AUTHORIZATION, *PROBLEMS)


async def _body(request: Request) -> EnqueueRequest:
    return parse(EnqueueRequest, await read(request))


EnqueueBody = Annotated[EnqueueRequest, Depends(_body)]


@router.post(
    "/v1/admin/ingestion/osm/enqueue",
    operation_id="enqueue_osm_import",
    summary="Enqueue a city's POIs of one day",
    status_code=202,
    dependencies=[Authorized],
    responses=_RESPONSES,
)
def enqueue_osm_import(asked: EnqueueBody, service: ServiceDep, response: Response) -> Job:
    """Start a job of type `osm_import`, or return the active one of the same key.

    The reply does not wait for the run. If the last job has ended, a new one starts; it leads to
    the same rows.
    """
    return _enqueue("osm_import", asked, service, response)


@router.post(
    "/v1/admin/ingestion/helpers/enqueue",
    operation_id="enqueue_helpers_import",
    summary="Enqueue a city's helper places of one day",
    status_code=202,
    dependencies=[Authorized],
    responses=_RESPONSES,
)
def enqueue_helpers_import(asked: EnqueueBody, service: ServiceDep, response: Response) -> Job:
    """Start a job of type `helpers_import`; see `enqueue_osm_import`."""
    return _enqueue("helpers_import", asked, service, response)


def _enqueue(job_type: JobType, asked: EnqueueRequest, service: Service, response: Response) -> Job:
    key = key_of(job_type, asked, service)
    run, made = runs.enqueue(
        service.database(), key, trigger="admin", now=service.clock.now(), refetch=asked.refetch
    )
    return enqueued(run, made=made, response=response)


def key_of(job_type: JobType, asked: EnqueueRequest | PromotionRequest, service: Service) -> JobKey:
    """Return the idempotency key of a request.

    Raises:
        ProblemError: The day has no partition, or the city is unknown.
    """
    start, today = service.settings.partitions_start, service.today()
    day = asked.day or today
    if not start <= day <= today:
        raise invalid(
            [Mistake(field="day", message=f"Use a UTC day from {start} to today, {today}.")]
        )
    city = next((city for city in service.cities if city.slug == asked.city_slug), None)
    if city is None:
        raise ProblemError(
            UNKNOWN_CITY,
            f"City {asked.city_slug!r} does not exist. 'poi-ingest cities' lists the cities.",
        )
    return JobKey(job_type, city.slug, city.boundary_key, day)


def enqueued(run: runs.Run, *, made: bool, response: Response) -> Job:
    """Respond with a job: 202 if it is new, else 200."""
    response.status_code = 202 if made else 200
    response.headers["Location"] = job_path(run)
    return Job.of(run)
