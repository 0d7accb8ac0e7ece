"""The callback endpoint for queues that deliver each message at least once."""

import hashlib
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response, Security
from fastapi.security import APIKeyHeader

from ingestion_pipeline.admin_api import signature
from ingestion_pipeline.admin_api.bodies import parse, read
from ingestion_pipeline.admin_api.enqueue import ENQUEUED, PROBLEMS, enqueued, key_of
from ingestion_pipeline.admin_api.models import CallbackRequest, Job
from ingestion_pipeline.admin_api.problems import (
    NOT_CONFIGURED,
    SIGNATURE_INVALID,
    ProblemError,
    responses,
)
from ingestion_pipeline.admin_api.service import ServiceDep, secrets_in
from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.staging import runs

HEADER = "Upstash-Signature"
MESSAGE_HEADER = "Upstash-Message-Id"

router = APIRouter(tags=["jobs"])

_header = APIKeyHeader(
    name=HEADER,
    scheme_name="DeliverySignature",
    description="A JWT, HS256, signed with one of `CALLBACK_SIGNING_KEYS`: `iss` is `Upstash`, "
    "`sub` the URL of this endpoint (`CALLBACK_URL`), `exp` and `nbf` as usual, and `body` the "
    "base64url SHA-256 digest of the raw body.",
    auto_error=False,
)


@dataclass(frozen=True)
class Delivery:
    """A delivery with a valid signature.

    Attributes:
        raw: The raw body.
        body: The parsed body.
    """

    raw: bytes
    body: CallbackRequest


async def _verified_delivery(
    request: Request, service: ServiceDep, token: Annotated[str | None, Security(_header)]
) -> Delivery:
    keys = secrets_in(service.settings.callback_signing_keys)
    if not keys:
        raise ProblemError(
            NOT_CONFIGURED, "CALLBACK_SIGNING_KEYS is not set, so the callback is disabled."
        )
    raw = await read(request)
    url = service.settings.callback_url or str(request.url)
    if token is None or not signature.is_valid(token, keys=keys, url=url, body=raw):
        raise ProblemError(
            SIGNATURE_INVALID,
            SIGNATURE_INVALID.example,
            headers={"WWW-Authenticate": f'Signature header="{HEADER}"'},
        )
    return Delivery(raw, parse(CallbackRequest, raw))


@router.post(
    "/v1/jobs/callback",
    operation_id="receive_delivery",
    summary="Receive a delivery of a queue that delivers at least once",
    status_code=202,
    responses=ENQUEUED | responses(NOT_CONFIGURED, SIGNATURE_INVALID, *PROBLEMS),
)
def receive_delivery(
    delivery: Annotated[Delivery, Depends(_verified_delivery)],
    service: ServiceDep,
    response: Response,
    message_id: Annotated[
        str,
        Header(
            alias=MESSAGE_HEADER,
            max_length=200,
            description="The message's id; all its deliveries return the job of the first one. "
            "Without it, deliveries of the same body for the same day are one message.",
        ),
    ] = "",
) -> Job:
    """Enqueue a city-day, once for each message.

    Further deliveries of a message return 200 with the job of the first one, even if it has ended,
    so that the queue stops retrying.
    """
    key = key_of(delivery.body.job_type, delivery.body, service)
    run, made = runs.enqueue_message(
        service.database(),
        key,
        message_id=identity_of(delivery.raw, key, message_id),
        now=service.clock.now(),
        refetch=delivery.body.refetch,
    )
    return enqueued(run, made=made, response=response)


def identity_of(raw: bytes, key: JobKey, message_id: str) -> str:
    """Return the id of a delivery's message.

    Without a header it contains the day: a body without a day requests another day tomorrow.
    """
    if message_id:
        return f"message:{message_id}"
    return f"body:{key.day}:{hashlib.sha256(raw).hexdigest()}"
