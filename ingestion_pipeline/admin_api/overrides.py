"""The endpoints of overrides: list those of a public place, set one, retire one."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from ingestion_pipeline.admin_api.auth import Authorized
from ingestion_pipeline.admin_api.bodies import parse, read
from ingestion_pipeline.admin_api.override_models import Override, OverrideRequest, Overrides
from ingestion_pipeline.admin_api.problems import (
    AUTHORIZATION,
    BODY_TOO_LARGE,
    DATABASE,
    INVALID_REQUEST,
    NOT_FOUND,
    UNKNOWN_OVERRIDE,
    UNKNOWN_PLACE,
    Mistake,
    ProblemError,
    Responses,
    invalid,
    responses,
)
from ingestion_pipeline.admin_api.promotions import DecisionBody, known
from ingestion_pipeline.admin_api.service import ServiceDep
from ingestion_pipeline.promotion import overrides
from ingestion_pipeline.promotion.errors import BadOverride, UnknownOverride

router = APIRouter(prefix="/v1/admin", tags=["promotions"], dependencies=[Authorized])

_PATH = "/pois/{poi_id:uuid}/overrides"

_SET: Responses = {
    200: {"model": Override, "description": "The same override is in force already"},
    201: {"model": Override, "description": "In force; the next promotion applies it"},
}


async def _override_body(request: Request) -> OverrideRequest:
    return parse(OverrideRequest, await read(request))


@router.get(
    _PATH,
    operation_id="list_overrides",
    summary="List the overrides of a public place",
    responses=responses(*AUTHORIZATION, NOT_FOUND, UNKNOWN_PLACE, INVALID_REQUEST, *DATABASE),
)
def list_overrides(poi_id: uuid.UUID, service: ServiceDep) -> Overrides:
    """Return all overrides of the place: those in force first, then the newest."""
    found = known(lambda: overrides.overrides_of(service.database(), str(poi_id)))
    return Overrides(overrides=[Override.of(each) for each in found])


@router.post(
    _PATH,
    operation_id="set_override",
    summary="Give a column of a public place a value",
    status_code=201,
    responses=_SET
    | responses(
        *AUTHORIZATION, NOT_FOUND, UNKNOWN_PLACE, BODY_TOO_LARGE, INVALID_REQUEST, *DATABASE
    ),
)
def set_override(
    poi_id: uuid.UUID,
    asked: Annotated[OverrideRequest, Depends(_override_body)],
    service: ServiceDep,
    response: Response,
) -> Override:
    """Store an override. It replaces one of the same column; an equal request changes nothing."""
    try:
        found, made = known(
            lambda: overrides.set_override(
                service.database(),
                str(poi_id),
                asked.column,
                asked.value,
                reason=asked.reason,
                who=asked.who,
                until=asked.until,
                now=service.clock.now(),
            )
        )
    except BadOverride as error:
        raise invalid([Mistake(field=error.field, message=str(error))]) from None
    response.status_code = 201 if made else 200
    return Override.of(found)


@router.post(
    _PATH + "/{override_id:uuid}/retire",
    operation_id="retire_override",
    summary="Retire an override",
    responses=responses(
        *AUTHORIZATION,
        NOT_FOUND,
        UNKNOWN_PLACE,
        UNKNOWN_OVERRIDE,
        BODY_TOO_LARGE,
        INVALID_REQUEST,
        *DATABASE,
    ),
)
def retire_override(
    poi_id: uuid.UUID, override_id: uuid.UUID, asked: DecisionBody, service: ServiceDep
) -> Override:
    """End an override; the next promotion shows what upstream says. Idempotent."""
    try:
        found = known(
            lambda: overrides.retire_override(
                service.database(),
                str(poi_id),
                str(override_id),
                reason=asked.reason,
                who=asked.who,
                now=service.clock.now(),
            )
        )
    except UnknownOverride as error:
        raise ProblemError(UNKNOWN_OVERRIDE, str(error)) from None
    return Override.of(found)
