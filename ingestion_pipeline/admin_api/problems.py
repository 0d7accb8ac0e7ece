"""Everything that the admin API says when it cannot do what it was asked: RFC 9457 problem details.

Belongs here: the kinds of problems, their body, and turning errors into them. Does not belong here:
when a problem arises. A reply never tells the cause of a failure of ours; the log does, in one line
without SQL.
"""

import logging
import traceback
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingestion_pipeline.staging.errors import (
    DatabaseForbidden,
    DatabaseNotMigrated,
    DatabaseReadOnly,
    DatabaseUnavailable,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

MISTAKES_SHOWN = 20
"""A body may hold thousands of unknown fields; a person needs the first ones."""

RETRY_AFTER_S = 5

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Kind:
    """A kind of problem.

    Attributes:
        code: What programs look at; stable.
        status: The HTTP status that it comes with.
        title: What it is, in the same words each time.
        example: A detail that it comes with, for the contract; the only one where it never varies.
    """

    code: str
    status: HTTPStatus
    title: str
    example: str


NOT_CONFIGURED = Kind(
    "not_configured",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "This way in is closed by its settings",
    "ADMIN_API_TOKEN is not set, so the admin API is closed",
)
DATABASE_UNAVAILABLE = Kind(
    "database_unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The database does not answer",
    "nothing was changed; try again",
)
DATABASE_READ_ONLY = Kind(
    "database_read_only",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The database takes no writes",
    "nothing was changed; try again. If it lasts, the service's DATABASE_URL must lead to the "
    "primary server",
)
DATABASE_FORBIDDEN = Kind(
    "database_forbidden",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The service's database role lacks a right",
    "nothing was changed; an administrator must run deploy/roles.sql",
)
DATABASE_NOT_MIGRATED = Kind(
    "database_not_migrated",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The database has another schema than this version needs",
    "nothing was changed; run 'poi-ingest migrate'",
)
TOKEN_MISSING = Kind(
    "token_missing",
    HTTPStatus.UNAUTHORIZED,
    "A token is needed",
    "send a token in the header X-Admin-Token, or as Authorization: Bearer",
)
TOKEN_WRONG = Kind(
    "token_wrong",
    HTTPStatus.FORBIDDEN,
    "The token is not accepted",
    "X-Admin-Token holds no token that is accepted",
)
SIGNATURE_INVALID = Kind(
    "signature_invalid",
    HTTPStatus.UNAUTHORIZED,
    "The delivery's signature is not accepted",
    "the header Upstash-Signature must hold a JWT that is signed for this URL and this body and "
    "has not expired; see /manual/api/#callback",
)
NOT_FOUND = Kind(
    "not_found",
    HTTPStatus.NOT_FOUND,
    "There is nothing at this address",
    "see /docs for all addresses",
)
UNKNOWN_CITY = Kind(
    "unknown_city",
    HTTPStatus.NOT_FOUND,
    "There is no such city",
    "there is no city 'kasan'; 'poi-ingest cities' lists those that there are",
)
UNKNOWN_JOB = Kind(
    "unknown_job",
    HTTPStatus.NOT_FOUND,
    "There is no such job",
    "there is no job 0d5b1b0e-6a3c-4a55-9f0e-5d3f2b7f6a11; GET /v1/jobs lists them",
)
METHOD_NOT_ALLOWED = Kind(
    "method_not_allowed",
    HTTPStatus.METHOD_NOT_ALLOWED,
    "This address does not take this method",
    "see /docs for all addresses",
)
JOB_ENDED = Kind(
    "job_ended",
    HTTPStatus.CONFLICT,
    "The job has ended",
    "job 0d5b1b0e-6a3c-4a55-9f0e-5d3f2b7f6a11 is SUCCEEDED and stays so",
)
BODY_TOO_LARGE = Kind(
    "body_too_large",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "The body is too large",
    "a body may have 65536 bytes",
)
INVALID_REQUEST = Kind(
    "invalid_request",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "The request is not what is accepted",
    "not accepted: day; correct this",
)
INTERNAL_ERROR = Kind(
    "internal_error",
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "Something went wrong",
    "this is a fault of ours; the service's log has a line about it",
)

KINDS = (
    TOKEN_MISSING,
    SIGNATURE_INVALID,
    TOKEN_WRONG,
    NOT_FOUND,
    UNKNOWN_CITY,
    UNKNOWN_JOB,
    METHOD_NOT_ALLOWED,
    JOB_ENDED,
    BODY_TOO_LARGE,
    INVALID_REQUEST,
    INTERNAL_ERROR,
    NOT_CONFIGURED,
    DATABASE_UNAVAILABLE,
    DATABASE_READ_ONLY,
    DATABASE_FORBIDDEN,
    DATABASE_NOT_MIGRATED,
)
"""All of them, in the order of the documentation."""

AUTHORIZATION = (NOT_CONFIGURED, TOKEN_MISSING, TOKEN_WRONG)
"""What whoever has no token meets."""

DATABASE = (
    DATABASE_UNAVAILABLE,
    DATABASE_READ_ONLY,
    DATABASE_FORBIDDEN,
    DATABASE_NOT_MIGRATED,
)
"""What every endpoint that needs the database may answer."""

_BY_STATUS = {
    HTTPStatus.NOT_FOUND: NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: METHOD_NOT_ALLOWED,
}
"""What the framework itself refuses."""


class Mistake(BaseModel):
    """What is wrong with one field of a request."""

    field: str = Field(description="The field, parameter or header; `body` for the body as a whole")
    message: str


class Problem(BaseModel):
    """Problem details as of RFC 9457, with a code for programs and the fields that are wrong."""

    type: str = Field(description="A URN that ends in the code")
    title: str = Field(description="What kind of problem it is, in the same words each time")
    status: int = Field(description="The HTTP status")
    code: str = Field(description="What kind of problem it is, for programs")
    detail: str = Field(description="What happened, and what to do")
    errors: list[Mistake] = Field(description="The fields that are wrong, at most 20")


class Refused(Exception):
    """A request that is answered with a problem."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        errors: Sequence[Mistake] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Refuse a request.

        Args:
            kind: What kind of problem it is.
            detail: What happened and what to do, in words that a stranger may read.
            errors: The fields that are wrong.
            headers: Further headers of the reply.
        """
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = headers


def invalid(errors: Iterable[Mistake]) -> Refused:
    """Refuse a request whose fields are not what is accepted."""
    mistakes = list(errors)
    fields = ", ".join(dict.fromkeys(mistake.field for mistake in mistakes[:MISTAKES_SHOWN]))
    return Refused(
        INVALID_REQUEST, f"not accepted: {fields}; correct this", errors=mistakes[:MISTAKES_SHOWN]
    )


def mistakes_in(details: Iterable[Mapping[str, Any]], *, skip: int = 0) -> list[Mistake]:
    """Turn pydantic's mistakes into ours.

    Args:
        details: Pydantic's.
        skip: How many parts of a location are not the field's own name.
    """
    return [
        Mistake(
            field=".".join(str(part) for part in detail["loc"][skip:]) or "body",
            message=detail["msg"],
        )
        for detail in details
    ]


def body_of(kind: Kind, detail: str, errors: Sequence[Mistake] = ()) -> dict[str, Any]:
    """Give a problem as it is sent."""
    return Problem(
        type=f"urn:problem-type:ingestion-pipeline:{kind.code}",
        title=kind.title,
        status=int(kind.status),
        code=kind.code,
        detail=detail,
        errors=list(errors),
    ).model_dump()


Responses = dict[int | str, dict[str, Any]]
"""Replies of an endpoint by status, as FastAPI takes them for the contract."""


def responses(*kinds: Kind) -> Responses:
    """Describe the problems that an endpoint answers with, for the contract."""
    by_status = defaultdict(list)
    for kind in (*kinds, INTERNAL_ERROR):
        by_status[kind.status].append(kind)
    return {
        int(status): {
            "model": Problem,
            "description": "; or: ".join(kind.title for kind in same),
            "content": {
                MEDIA_TYPE: {
                    "examples": {
                        kind.code: {"$ref": f"#/components/examples/{kind.code}"} for kind in same
                    }
                }
            },
        }
        for status, same in by_status.items()
    }


def examples() -> dict[str, dict[str, Any]]:
    """Give an example of each kind, for the contract."""
    wrong = {INVALID_REQUEST: [Mistake(field="day", message="give a day as YYYY-MM-DD")]}
    return {
        kind.code: {
            "summary": kind.title,
            "value": body_of(kind, kind.example, wrong.get(kind, [])),
        }
        for kind in KINDS
    }


def answer_with_problems(app: FastAPI) -> None:
    """Let every error that an app meets become a problem."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(DatabaseUnavailable, _database_unavailable)
    app.add_exception_handler(DatabaseReadOnly, _database_read_only)
    app.add_exception_handler(DatabaseForbidden, _database_forbidden)
    app.add_exception_handler(DatabaseNotMigrated, _database_not_migrated)
    app.add_middleware(LastResort)


class LastResort:
    """Answers for an error that nobody expected.

    Starlette's own last resort would let the server log the whole stack with the statement of a
    failed query; this logs what went wrong and where, in one line.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watch(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except ClientDisconnect:
            log.info("%s: the caller went away", scope["path"])
        except Exception as error:  # noqa: BLE001  # that is what a last resort is for
            log.error("%s: %s at %s", scope["path"], type(error).__name__, place_of(error))  # noqa: TRY400
            if not begun:
                await _response(INTERNAL_ERROR, INTERNAL_ERROR.example)(scope, receive, send)


def place_of(error: BaseException) -> str:
    """Name the last line of this package that an error came through."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(_PACKAGE)
    ]
    last = frames[-1]
    return f"{Path(last.filename).relative_to(_PACKAGE.parent)}:{last.lineno} ({last.name})"


def _response(
    kind: Kind,
    detail: str,
    errors: Sequence[Mistake] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    return JSONResponse(
        body_of(kind, detail, errors),
        status_code=kind.status,
        headers=headers,
        media_type=MEDIA_TYPE,
    )


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)
    return _response(error.kind, error.detail, error.errors, error.headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return await _refused(request, invalid(mistakes_in(error.errors(), skip=1)))


async def _framework(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    detail = NOT_FOUND.example
    kind = _BY_STATUS.get(status, Kind(status.name.lower(), status, status.phrase, detail))
    return _response(kind, detail, headers=error.headers)


async def _database_unavailable(_: Request, error: Exception) -> JSONResponse:
    log.warning("%s", error)
    return _response(
        DATABASE_UNAVAILABLE,
        DATABASE_UNAVAILABLE.example,
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


async def _database_read_only(_: Request, error: Exception) -> JSONResponse:
    log.warning("%s", error)
    return _response(
        DATABASE_READ_ONLY,
        DATABASE_READ_ONLY.example,
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


async def _database_forbidden(_: Request, error: Exception) -> JSONResponse:
    log.error("%s", error)
    return _response(DATABASE_FORBIDDEN, DATABASE_FORBIDDEN.example)


async def _database_not_migrated(_: Request, error: Exception) -> JSONResponse:
    log.error("%s", error)
    return _response(DATABASE_NOT_MIGRATED, DATABASE_NOT_MIGRATED.example)
