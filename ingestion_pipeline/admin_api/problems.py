"""Problem details (RFC 9457): the problem types of the admin API, and its error handlers.

A response never contains the cause of an internal error; the log does, in one line without SQL.
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
from starlette.routing import Match
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
"""The maximum number of errors in a response."""

RETRY_AFTER_S = 5

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class ProblemType:
    """A problem type.

    Attributes:
        code: The stable identifier for programs.
        status: The HTTP status.
        title: The constant summary.
        example: An example of the detail for the contract, or the only detail.
    """

    code: str
    status: HTTPStatus
    title: str
    example: str


NOT_CONFIGURED = ProblemType(
    "not_configured",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "Disabled by the settings",
    "ADMIN_API_TOKEN is not set, so the admin API is disabled.",
)
DATABASE_UNAVAILABLE = ProblemType(
    "database_unavailable",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The database does not answer",
    "Nothing was changed. Try again.",
)
DATABASE_READ_ONLY = ProblemType(
    "database_read_only",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The database is read-only",
    "Nothing was changed. Try again. If it stays so, point the service's DATABASE_URL to the "
    "primary server.",
)
DATABASE_FORBIDDEN = ProblemType(
    "database_forbidden",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The service's database role lacks a privilege",
    "Nothing was changed. An administrator must run deploy/roles.sql.",
)
DATABASE_NOT_MIGRATED = ProblemType(
    "database_not_migrated",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The database's schema is not that of this version",
    "Nothing was changed. Run 'poi-ingest migrate'.",
)
READING_NEEDS_POSTGIS = ProblemType(
    "reading_needs_postgis",
    HTTPStatus.NOT_IMPLEMENTED,
    "The reading API needs PostGIS",
    "The database is an embedded GeoPackage, which needs no server: open the file in QGIS or GDAL. "
    "See /manual/reading/.",
)
READER_UNSAFE = ProblemType(
    "reader_unsafe",
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The reader's role may do more than read views",
    "The role in READER_DATABASE_URL may read or change tables, so the reading API is closed. Use "
    "the reader's role of deploy/roles.sql.",
)
QUERY_TOO_SLOW = ProblemType(
    "query_too_slow",
    HTTPStatus.GATEWAY_TIMEOUT,
    "The query takes too long",
    "The database ended the query. Filter by city_slug and day, or use a smaller bbox.",
)
TOKEN_MISSING = ProblemType(
    "token_missing",
    HTTPStatus.UNAUTHORIZED,
    "Token missing",
    "Send a token in the header X-Admin-Token, or as Authorization: Bearer.",
)
TOKEN_WRONG = ProblemType(
    "token_wrong",
    HTTPStatus.FORBIDDEN,
    "Invalid token",
    "The token in X-Admin-Token is not valid.",
)
SIGNATURE_INVALID = ProblemType(
    "signature_invalid",
    HTTPStatus.UNAUTHORIZED,
    "Invalid signature",
    "The header Upstash-Signature must contain an unexpired JWT that is signed for this URL and "
    "body. See /manual/api/#callback.",
)
NOT_FOUND = ProblemType(
    "not_found",
    HTTPStatus.NOT_FOUND,
    "Not found",
    "See /docs for the endpoints.",
)
UNKNOWN_CITY = ProblemType(
    "unknown_city",
    HTTPStatus.NOT_FOUND,
    "Unknown city",
    "City 'kasan' does not exist. 'poi-ingest cities' lists the cities.",
)
UNKNOWN_JOB = ProblemType(
    "unknown_job",
    HTTPStatus.NOT_FOUND,
    "Unknown job",
    "Job 0d5b1b0e-6a3c-4a55-9f0e-5d3f2b7f6a11 does not exist. GET /v1/jobs lists the jobs.",
)
UNKNOWN_PROMOTION = ProblemType(
    "unknown_promotion",
    HTTPStatus.NOT_FOUND,
    "Unknown promotion",
    "There is no promotion '7a0d1f60-2f0e-4f2e-9a83-1f6f7f5b2c11'. 'poi-ingest promotions' lists "
    "them.",
)
UNKNOWN_PLACE = ProblemType(
    "unknown_place",
    HTTPStatus.NOT_FOUND,
    "Unknown place",
    "No public place has or had the id '7a0d1f60-2f0e-4f2e-9a83-1f6f7f5b2c11'. Take it from poi.",
)
DAY_NOT_STAGED = ProblemType(
    "day_not_staged",
    HTTPStatus.NOT_FOUND,
    "The day is not staged",
    "kazan poi from osm on 2026-11-20 is not staged. Staged days near it: 2026-11-19. Stage it "
    "with 'poi-ingest run --city kazan --day 2026-11-20'.",
)
NO_PROPOSAL = ProblemType(
    "no_proposal",
    HTTPStatus.CONFLICT,
    "No promotion is open",
    "No promotion of kazan is open. Compare two staged days.",
)
NO_PUBLIC_DAY = ProblemType(
    "no_public_day",
    HTTPStatus.CONFLICT,
    "Nothing of the city is public",
    "Nothing of kazan is public yet. Compare two staged days.",
)
DIFFERENCE_CHANGED = ProblemType(
    "difference_changed",
    HTTPStatus.CONFLICT,
    "The cursor is of another difference",
    "The difference has changed, or the cursor is of other filters. Read it again from the first "
    "page.",
)
METHOD_NOT_ALLOWED = ProblemType(
    "method_not_allowed",
    HTTPStatus.METHOD_NOT_ALLOWED,
    "Method not allowed",
    "See /docs for the endpoints.",
)
JOB_ENDED = ProblemType(
    "job_ended",
    HTTPStatus.CONFLICT,
    "The job has ended",
    "Job 0d5b1b0e-6a3c-4a55-9f0e-5d3f2b7f6a11 has ended as SUCCEEDED.",
)
DECISION_REFUSED = ProblemType(
    "decision_refused",
    HTTPStatus.CONFLICT,
    "The promotion's status does not allow the decision",
    "Promotion 7a0d1f60-2f0e-4f2e-9a83-1f6f7f5b2c11 of kazan on 2026-11-20 is REJECTED by "
    "ann@example.org (Half of the cafés are missing), and cannot be approved.",
)
PROMOTION_OFF = ProblemType(
    "promotion_off",
    HTTPStatus.CONFLICT,
    "The city is not promoted",
    "City 'kazan' is not promoted.",
)
BODY_TOO_LARGE = ProblemType(
    "body_too_large",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "The body is too large",
    "The maximum is 65536 bytes.",
)
INVALID_REQUEST = ProblemType(
    "invalid_request",
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "Invalid request",
    "Invalid: day. See errors.",
)
INTERNAL_ERROR = ProblemType(
    "internal_error",
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "Internal server error",
    "Internal server error. See the service log.",
)

PROBLEM_TYPES = (
    TOKEN_MISSING,
    SIGNATURE_INVALID,
    TOKEN_WRONG,
    NOT_FOUND,
    UNKNOWN_CITY,
    UNKNOWN_JOB,
    UNKNOWN_PROMOTION,
    UNKNOWN_PLACE,
    DAY_NOT_STAGED,
    METHOD_NOT_ALLOWED,
    JOB_ENDED,
    DECISION_REFUSED,
    PROMOTION_OFF,
    NO_PROPOSAL,
    NO_PUBLIC_DAY,
    DIFFERENCE_CHANGED,
    BODY_TOO_LARGE,
    INVALID_REQUEST,
    INTERNAL_ERROR,
    READING_NEEDS_POSTGIS,
    NOT_CONFIGURED,
    DATABASE_UNAVAILABLE,
    DATABASE_READ_ONLY,
    DATABASE_FORBIDDEN,
    DATABASE_NOT_MIGRATED,
    READER_UNSAFE,
    QUERY_TOO_SLOW,
)
"""All problem types, in the order of the documentation."""

AUTHORIZATION = (NOT_CONFIGURED, TOKEN_MISSING, TOKEN_WRONG)
"""Problems of endpoints that require a token."""

DATABASE = (
    DATABASE_UNAVAILABLE,
    DATABASE_READ_ONLY,
    DATABASE_FORBIDDEN,
    DATABASE_NOT_MIGRATED,
)
"""Problems of endpoints that use the database."""

_BY_STATUS = {
    HTTPStatus.NOT_FOUND: NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: METHOD_NOT_ALLOWED,
}
"""Problem types of errors that the framework raises."""


class Mistake(BaseModel):
    """An invalid field of a request."""

    field: str = Field(description="The field, parameter or header; `body` for the body as a whole")
    message: str


class Problem(BaseModel):
    """Problem details (RFC 9457), with a code for programs and the invalid fields."""

    type: str = Field(description="A URN that ends in the code")
    title: str = Field(description="The constant summary of the problem type")
    status: int = Field(description="The HTTP status")
    code: str = Field(description="The problem type, for programs")
    detail: str = Field(description="What is wrong, and what to do")
    errors: list[Mistake] = Field(description="The invalid fields, at most 20")


class ProblemError(Exception):
    """The request is answered with a problem."""

    def __init__(
        self,
        kind: ProblemType,
        detail: str,
        *,
        errors: Sequence[Mistake] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Create an error.

        Args:
            kind: The problem type.
            detail: What is wrong and what to do; sent to the client.
            errors: The invalid fields.
            headers: Additional headers of the response.
        """
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = headers


def invalid(errors: Iterable[Mistake]) -> ProblemError:
    """Return the error for a request with invalid fields."""
    mistakes = list(errors)
    fields = ", ".join(dict.fromkeys(mistake.field for mistake in mistakes[:MISTAKES_SHOWN]))
    return ProblemError(
        INVALID_REQUEST, f"Invalid: {fields}. See errors.", errors=mistakes[:MISTAKES_SHOWN]
    )


def mistakes_in(details: Iterable[Mapping[str, Any]], *, skip: int = 0) -> list[Mistake]:
    """Convert pydantic's errors.

    Args:
        details: Pydantic's errors.
        skip: The number of parts of a location before the field's name.
    """
    return [
        Mistake(
            field=".".join(str(part) for part in detail["loc"][skip:]) or "body",
            message=detail["msg"],
        )
        for detail in details
    ]


def problem_body(kind: ProblemType, detail: str, errors: Sequence[Mistake] = ()) -> dict[str, Any]:
    """Return the body of a problem."""
    return Problem(
        type=f"urn:problem-type:ingestion-pipeline:{kind.code}",
        title=kind.title,
        status=int(kind.status),
        code=kind.code,
        detail=detail,
        errors=list(errors),
    ).model_dump()


Responses = dict[int | str, dict[str, Any]]
"""Responses of an endpoint by status, for FastAPI's `responses`."""


def responses(*kinds: ProblemType) -> Responses:
    """Return the `responses` of an endpoint with these problem types."""
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
    """Return an example of each problem type, for the contract."""
    wrong = {INVALID_REQUEST: [Mistake(field="day", message="Value error, use YYYY-MM-DD")]}
    return {
        kind.code: {
            "summary": kind.title,
            "value": problem_body(kind, kind.example, wrong.get(kind, [])),
        }
        for kind in PROBLEM_TYPES
    }


def install_error_handlers(app: FastAPI) -> None:
    """Convert every error of an app to a problem."""
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(DatabaseUnavailable, _database_unavailable)
    app.add_exception_handler(DatabaseReadOnly, _database_read_only)
    app.add_exception_handler(DatabaseForbidden, _database_forbidden)
    app.add_exception_handler(DatabaseNotMigrated, _database_not_migrated)
    app.add_middleware(UnhandledErrorMiddleware)


class UnhandledErrorMiddleware:
    """Responds to unexpected errors, and logs type and place in one line.

    Starlette's ServerErrorMiddleware would log the stack with the statement of a failed query.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except ClientDisconnect:
            log.info("%s: the client disconnected", scope["path"])
        except Exception as error:  # noqa: BLE001
            log.error("%s: %s at %s", scope["path"], type(error).__name__, source_line(error))  # noqa: TRY400
            if not started:
                await _response(INTERNAL_ERROR, INTERNAL_ERROR.example)(scope, receive, send)


def source_line(error: BaseException) -> str:
    """Return the last source line of this package in an error's traceback."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(_PACKAGE)
    ]
    last = frames[-1]
    return f"{Path(last.filename).relative_to(_PACKAGE.parent)}:{last.lineno} ({last.name})"


def _response(
    kind: ProblemType,
    detail: str,
    errors: Sequence[Mistake] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    return JSONResponse(
        problem_body(kind, detail, errors),
        status_code=kind.status,
        headers=headers,
        media_type=MEDIA_TYPE,
    )


def problem_response(error: ProblemError) -> JSONResponse:
    """Return the answer with a problem."""
    return _response(error.kind, error.detail, error.errors, error.headers)


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)
    return problem_response(error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return await _problem(request, invalid(mistakes_in(error.errors(), skip=1)))


async def _framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    detail = NOT_FOUND.example
    kind = _BY_STATUS.get(status, ProblemType(status.name.lower(), status, status.phrase, detail))
    headers = error.headers
    if kind is METHOD_NOT_ALLOWED:
        headers = {**(headers or {}), "Allow": ", ".join(_methods(request))}
    return _response(kind, detail, headers=headers)


def _methods(request: Request) -> list[str]:
    """Return the methods of an address; the framework names those of one endpoint only."""
    routes = request.app.router.routes
    return [
        method
        for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes
        )
    ]


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
