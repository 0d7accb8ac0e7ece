"""The endpoints of promotions: propose, look, decide, revert; and where a place comes from."""

import uuid
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ingestion_pipeline.admin_api.auth import Authorized
from ingestion_pipeline.admin_api.bodies import parse, read
from ingestion_pipeline.admin_api.enqueue import ENQUEUED, enqueued, key_of
from ingestion_pipeline.admin_api.jobs import cursor_at, each_parameter_once, position_of
from ingestion_pipeline.admin_api.models import CURSOR, Job, Slug
from ingestion_pipeline.admin_api.problems import (
    AUTHORIZATION,
    BODY_TOO_LARGE,
    DATABASE,
    DECISION_REFUSED,
    INVALID_REQUEST,
    NOT_FOUND,
    PROMOTION_OFF,
    UNKNOWN_CITY,
    UNKNOWN_PLACE,
    UNKNOWN_PROMOTION,
    ProblemError,
    Responses,
    responses,
)
from ingestion_pipeline.admin_api.promotion_models import (
    Decided,
    DecisionRequest,
    Explanation,
    Promotion,
    PromotionDetail,
    PromotionPage,
    PromotionRequest,
    PublicEvent,
)
from ingestion_pipeline.admin_api.service import Service, ServiceDep
from ingestion_pipeline.promotion import ledger, table
from ingestion_pipeline.promotion.errors import DecisionRefused, UnknownPlace, UnknownPromotion
from ingestion_pipeline.promotion.events import Kind
from ingestion_pipeline.promotion.ledger import Decision, Position, Status
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.database import read_transaction

router = APIRouter(prefix="/v1/admin", tags=["promotions"], dependencies=[Authorized])

Result = TypeVar("Result")

_PATH = "/promotions/{promotion_id:uuid}"

_ONE = responses(*AUTHORIZATION, NOT_FOUND, UNKNOWN_PROMOTION, INVALID_REQUEST, *DATABASE)

_DECIDED: Responses = {
    200: {"model": Decided, "description": "Decided; nothing is left to do"},
    202: {"model": Decided, "description": "Decided; a job makes it public"},
}

_REFUSALS = responses(
    *AUTHORIZATION,
    NOT_FOUND,
    UNKNOWN_PROMOTION,
    DECISION_REFUSED,
    BODY_TOO_LARGE,
    INVALID_REQUEST,
    *DATABASE,
)


class PromotionQuery(BaseModel):
    """Filters of the list of promotions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    city_slug: Slug | None = Field(None, description="Only this city")
    status: Status | None = Field(None, description="Only this status")
    limit: int = Field(20, ge=1, le=100, description="The maximum number of promotions")
    cursor: str | None = Field(
        None, pattern=CURSOR, description="`next_cursor` of the previous page"
    )


class DifferenceQuery(BaseModel):
    """The page of a promotion's events."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind | None = Field(None, description="Only events of this kind")
    after: int = Field(-1, ge=-1, le=2**31 - 1, description="`next_after` of the previous page")
    limit: int = Field(100, ge=0, le=1000, description="The maximum number of events")


async def _promotion_body(request: Request) -> PromotionRequest:
    return parse(PromotionRequest, await read(request))


async def _decision_body(request: Request) -> DecisionRequest:
    return parse(DecisionRequest, await read(request))


DecisionBody = Annotated[DecisionRequest, Depends(_decision_body)]


@router.post(
    "/promotions",
    operation_id="enqueue_promotion",
    summary="Enqueue the promotion of a staged day",
    status_code=202,
    responses=ENQUEUED
    | responses(
        *AUTHORIZATION, UNKNOWN_CITY, PROMOTION_OFF, BODY_TOO_LARGE, INVALID_REQUEST, *DATABASE
    ),
)
def enqueue_promotion(
    asked: Annotated[PromotionRequest, Depends(_promotion_body)],
    service: ServiceDep,
    response: Response,
) -> Job:
    """Start a job of type `poi_promotion`, or return the active one of the same key.

    The job proposes the day, and makes it public if its gates and the city's policy allow.
    """
    key = key_of(ledger.JOB_TYPE, asked, service)
    if service.cities.get(key.city_slug).promotion == "off":
        raise ProblemError(PROMOTION_OFF, f"City {key.city_slug!r} is not promoted.")
    run, made = runs.enqueue(
        service.database(), key, trigger="admin", now=service.clock.now(), refetch=asked.again
    )
    return enqueued(run, made=made, response=response)


@router.get(
    "/promotions",
    operation_id="list_promotions",
    summary="List promotions, the newest first",
    dependencies=[Depends(each_parameter_once)],
    responses=responses(*AUTHORIZATION, INVALID_REQUEST, *DATABASE),
)
def list_promotions(
    query: Annotated[PromotionQuery, Query()], service: ServiceDep
) -> PromotionPage:
    """Return one page; `next_cursor` leads to the next one."""
    found = ledger.page(
        service.database(),
        city_slug=query.city_slug,
        status=query.status,
        before=None if query.cursor is None else Position(*position_of(query.cursor)),
        limit=query.limit + 1,
    )
    shown = found[: query.limit]
    more = len(found) > len(shown)
    return PromotionPage(
        promotions=[Promotion.of(each) for each in shown],
        next_cursor=cursor_at(shown[-1].proposed_at, shown[-1].id) if more else None,
    )


@router.get(
    _PATH,
    operation_id="get_promotion",
    summary="Get a promotion with its gates and changes",
    dependencies=[Depends(each_parameter_once)],
    responses=_ONE,
)
def get_promotion(
    promotion_id: uuid.UUID, query: Annotated[DifferenceQuery, Query()], service: ServiceDep
) -> PromotionDetail:
    """Return a promotion, and one page of its events; `next_after` leads to the next one.

    The events of a SUPERSEDED promotion are deleted.
    """
    found = known(lambda: ledger.get(service.database(), str(promotion_id)))
    with read_transaction(service.database()) as connection:
        events = table.numbered_events(
            connection, found.id, kind=query.kind, after=query.after, limit=query.limit + 1
        )
    shown = events[: query.limit]
    return PromotionDetail(
        promotion=Promotion.of(found),
        findings=dict(found.findings),
        evidence=dict(found.evidence),
        totals=dict(found.totals),
        events=[PublicEvent(number=number, **event._asdict()) for number, event in shown],
        next_after=shown[-1][0] if shown and len(events) > len(shown) else None,
    )


@router.post(
    f"{_PATH}/approve",
    operation_id="approve_promotion",
    summary="Approve a proposed promotion",
    responses=_DECIDED | _REFUSALS,
)
def approve_promotion(
    promotion_id: uuid.UUID, asked: DecisionBody, service: ServiceDep, response: Response
) -> Decided:
    """Approve it, and enqueue the job that makes it public. Idempotent."""
    found, job = known(
        lambda: ledger.approve(
            service.database(), str(promotion_id), _decision(asked, service), enqueue="admin"
        )
    )
    return _decided(found, job, response)


@router.post(
    f"{_PATH}/reject",
    operation_id="reject_promotion",
    summary="Reject a proposed promotion",
    responses={200: _DECIDED[200], **_REFUSALS},
)
def reject_promotion(
    promotion_id: uuid.UUID, asked: DecisionBody, service: ServiceDep, response: Response
) -> Decided:
    """Reject it; nothing becomes public. Idempotent."""
    found = known(
        lambda: ledger.reject(service.database(), str(promotion_id), _decision(asked, service))
    )
    return _decided(found, None, response)


@router.post(
    f"{_PATH}/revert",
    operation_id="revert_promotion",
    summary="Restore the public table as it was before a promotion",
    responses=_DECIDED | _REFUSALS,
)
def revert_promotion(
    promotion_id: uuid.UUID, asked: DecisionBody, service: ServiceDep, response: Response
) -> Decided:
    """Approve a promotion that undoes this one and all after it, and enqueue its job.

    Idempotent, while that is the last promotion.
    """
    from ingestion_pipeline.promotion.promote import revert

    found, job = known(
        lambda: revert(
            service.database(), str(promotion_id), _decision(asked, service), enqueue="admin"
        )
    )
    return _decided(found, job, response)


@router.get(
    "/pois/{poi_id:uuid}/explain",
    operation_id="explain_place",
    summary="Explain where a public place comes from",
    responses=responses(*AUTHORIZATION, NOT_FOUND, UNKNOWN_PLACE, INVALID_REQUEST, *DATABASE),
)
def explain_place(poi_id: uuid.UUID, service: ServiceDep) -> Explanation:
    """Return what is stored of a place: bytes, rules, links, overrides, gates, events."""
    from ingestion_pipeline.promotion.explain import explain

    return Explanation(**known(lambda: explain(service.database(), str(poi_id))))


def _decision(asked: DecisionRequest, service: Service) -> Decision:
    return Decision(asked.who, asked.reason, service.clock.now())


def _decided(found: ledger.Promotion, job: runs.Run | None, response: Response) -> Decided:
    response.status_code = 200 if job is None else 202
    return Decided(promotion=Promotion.of(found), job=None if job is None else Job.of(job))


def known(get: Callable[[], Result]) -> Result:
    """Return a result; errors of promotion become problems.

    Raises:
        ProblemError: The promotion or place does not exist, or the decision is refused.
    """
    try:
        return get()
    except UnknownPromotion as error:
        raise ProblemError(UNKNOWN_PROMOTION, str(error)) from None
    except UnknownPlace as error:
        raise ProblemError(UNKNOWN_PLACE, str(error)) from None
    except DecisionRefused as error:
        raise ProblemError(DECISION_REFUSED, str(error)) from None
