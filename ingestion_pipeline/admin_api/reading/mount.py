"""Where the reading API is, whether it is open, and the token that it requires.

Belongs here: what runs before tipg. Does not belong here: anything that imports tipg, whose
packages an installation without the reading API does not have.
"""

import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ingestion_pipeline.admin_api.auth import is_accepted
from ingestion_pipeline.admin_api.problems import (
    NOT_CONFIGURED,
    READING_NEEDS_POSTGIS,
    TOKEN_MISSING,
    TOKEN_WRONG,
    ProblemError,
    problem_response,
)
from ingestion_pipeline.admin_api.service import Service, secrets_in
from ingestion_pipeline.config.settings import Settings, SettingsError
from ingestion_pipeline.staging.database import create_engine

PATH = "/ogc"
HEADER = "X-Read-Token"

_CHALLENGE = {"WWW-Authenticate": 'Basic realm="reading API", Bearer'}


def add_reading(app: FastAPI, service: Service) -> None:
    """Add the reading API to the admin API.

    Raises:
        SettingsError: READER_DATABASE_URL is not a PostgreSQL URL, or tipg is not installed.
    """
    settings = service.settings
    is_public = settings.read_api_access == "public"
    refusal = why_closed(settings, embedded=service.engine.dialect.name == "sqlite")
    inner: ASGIApp = FastAPI()
    if refusal is None:
        from ingestion_pipeline.admin_api.reading.app import create_reading_app

        assert settings.reader_database_url is not None
        inner = app.state.reading = create_reading_app(
            settings.reader_database_url.get_secret_value(),
            service.cities,
            first_day=settings.partitions_start,
            is_public=is_public,
        )
    tokens = None if is_public else secrets_in(settings.read_api_token)
    gate = Gate(inner, refusal=refusal, tokens=tokens)

    # A web map is on another origin than its tiles. Cookies are not used, so every origin may ask.
    reading = CORSMiddleware(
        gate, allow_origins=["*"], allow_methods=["GET"], allow_headers=["Authorization", HEADER]
    )
    app.mount(PATH, reading)
    app.router.routes.append(Route(PATH, _LandingPage(reading), include_in_schema=False))


class _LandingPage:
    """Serves the landing page at the path without a slash; QGIS follows no redirect to it."""

    def __init__(self, app: ASGIApp) -> None:
        """Serve the root of an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        path = scope["path"]
        await self._app({**scope, "path": f"{path}/", "root_path": path}, receive, send)


@asynccontextmanager
async def reading_connections(app: FastAPI) -> AsyncIterator[None]:
    """Keep the connections of the reading API, if it is open, until the admin API ends."""
    reading: FastAPI | None = getattr(app.state, "reading", None)
    if reading is None:
        yield
        return
    async with reading.state.pool:
        yield


def why_closed(settings: Settings, *, embedded: bool) -> ProblemError | None:
    """Return why the reading API is closed; None if it is open.

    Args:
        settings: The settings.
        embedded: Whether the project's database is a GeoPackage.

    Raises:
        SettingsError: READER_DATABASE_URL is not a PostgreSQL URL, or tipg is not installed.
    """
    url = settings.reader_database_url
    if url is None and embedded:
        return ProblemError(READING_NEEDS_POSTGIS, READING_NEEDS_POSTGIS.example)
    refusal = why_feed_closed(settings, embedded=embedded)
    if refusal is not None:
        return refusal
    assert url is not None
    _require_postgresql(url.get_secret_value())
    if find_spec("tipg") is None:
        raise SettingsError(
            "READER_DATABASE_URL is set, but the packages of the reading API are not installed; "
            "install ingestion-pipeline[ogc], or unset it"
        )
    return None


def why_feed_closed(settings: Settings, *, embedded: bool) -> ProblemError | None:
    """Return why the event feed is closed; None if it is open. It needs no PostGIS.

    Args:
        settings: The settings.
        embedded: Whether the project's database is a GeoPackage.
    """
    if settings.reader_database_url is None and not embedded:
        return ProblemError(
            NOT_CONFIGURED,
            "READER_DATABASE_URL is not set, so the reading API is closed. Set it to the database "
            "with a role that may read the views only, such as poi_reader of deploy/roles.sql.",
        )
    if settings.read_api_access == "token" and not secrets_in(settings.read_api_token):
        return ProblemError(
            NOT_CONFIGURED,
            "READ_API_TOKEN is not set, so the reading API is closed. Set it, or set "
            "READ_API_ACCESS=public if everybody may read.",
        )
    return None


def _require_postgresql(url: str) -> None:
    """Require a URL of PostgreSQL; the error does not contain it."""
    from ingestion_pipeline.staging.errors import UnsupportedDatabase

    try:
        kind = create_engine(url).dialect.name
    except UnsupportedDatabase:
        kind = "unknown"
    if kind != "postgresql":
        raise SettingsError(
            "READER_DATABASE_URL is not a PostgreSQL URL; use "
            "postgresql://reader:password@host/database"
        )


class Gate:
    """Answers a request itself if the reading API is closed to it."""

    def __init__(
        self, app: ASGIApp, *, refusal: ProblemError | None, tokens: Sequence[bytes] | None
    ) -> None:
        """Wrap an application.

        Args:
            app: The reading API.
            refusal: The answer to every request; None if the API is open.
            tokens: The accepted tokens; None if no token is required.
        """
        self._app = app
        self._refusal = refusal
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        refusal = self._refusal or check_token(Request(scope), self._tokens)
        if refusal is not None:
            await problem_response(refusal)(scope, receive, send)
            return
        # Addresses in answers are made from these; without them from those of the mounted API.
        own = {key: scope[key] for key in scope if key not in {"router", "app_root_path"}}
        await self._app(own, receive, send)


def check_token(request: Request, tokens: Sequence[bytes] | None) -> ProblemError | None:
    """Return why a request may not read; None if it may.

    Args:
        request: The request.
        tokens: The accepted tokens; None if no token is required.
    """
    if tokens is None:
        return None
    given = token_of(request)
    if given is None:
        return ProblemError(
            TOKEN_MISSING,
            f"Send a token in the header {HEADER}, as Authorization: Bearer, or as the "
            "password of Basic.",
            headers=_CHALLENGE,
        )
    if not is_accepted(given, tokens):
        return ProblemError(TOKEN_WRONG, "The token is not one of READ_API_TOKEN.")
    return None


def token_of(request: Request) -> bytes | None:
    """Return the token of a request: of its own header, as Bearer, or as the password of Basic."""
    own = request.headers.get(HEADER)
    if own:
        # The framework decodes headers as Latin-1.
        return own.encode("latin-1")
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    match scheme.lower():
        case "bearer":
            return value.strip().encode("latin-1")
        case "basic":
            return _password_of(value)
    return None


def _password_of(credentials: str) -> bytes:
    """Return the password of Basic credentials (RFC 7617); empty if they are malformed."""
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""
