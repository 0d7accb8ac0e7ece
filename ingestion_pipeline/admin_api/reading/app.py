"""The application of the reading API: tipg's endpoints over our collections and connections.

Belongs here: what is around tipg's endpoints, such as errors, unknown parameters and headers. Does
not belong here: the token (`mount.py`), and what a collection is (`collections.py`).
"""

from datetime import date
from functools import partial
from importlib.metadata import version
from typing import Any

import asyncpg
from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette_cramjam.middleware import CompressionMiddleware
from tipg import collections as tipg_collections
from tipg import factory as tipg_factory
from tipg.dependencies import datetime_query, filter_query
from tipg.errors import (
    InvalidDatetimeColumnName,
    InvalidGeometryColumnName,
    InvalidPropertyName,
    NotFound,
    TiPgError,
)
from tipg.factory import Endpoints
from tipg.openapi import _update_openapi

from ingestion_pipeline.admin_api.pages import contract_page
from ingestion_pipeline.admin_api.problems import (
    INVALID_REQUEST,
    NOT_FOUND,
    Mistake,
    ProblemError,
    install_error_handlers,
    invalid,
    problem_response,
)
from ingestion_pipeline.admin_api.reading.collections import Collections, collection_of
from ingestion_pipeline.admin_api.reading.database import ReaderPool
from ingestion_pipeline.admin_api.reading.filters import CONFORMANCE, filter_of, interval_of
from ingestion_pipeline.admin_api.reading.pages import templates
from ingestion_pipeline.config.cities import Cities

TITLE = "Ingestion pipeline: reading API"

CACHE_SECONDS = 60
"""For how long clients may keep an answer; a city changes once a day."""

PAGE_SIZE = 1000
"""The number of items where a request has no `limit`. GDAL and QGIS read pages of this size."""

_STATEMENT_STATES = ("22", "42")
"""SQLSTATEs of a value or comparison that does not fit a column's type."""


class _Endpoints(Endpoints):
    """tipg's endpoints, with the conformance classes of CQL2."""

    @property
    def conforms_to(self) -> list[str]:
        """The conformance classes."""
        return [*super().conforms_to, *CONFORMANCE]


def create_reading_app(url: str, cities: Cities, *, first_day: date, is_public: bool) -> FastAPI:
    """Return the application; `state.pool` must be open while it serves.

    Args:
        url: The PostgreSQL URL of the reader's role.
        cities: The cities, whose boxes give the extent.
        first_day: The first day that can be staged.
        is_public: Whether everybody may read, so that shared caches may keep answers.
    """
    app = FastAPI(
        title=TITLE,
        version=version("ingestion-pipeline"),
        openapi_url="/api",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    # tipg takes this from the environment only, and the contract when the endpoints are made.
    for module in (tipg_collections, tipg_factory):
        module.features_settings.default_features_limit = PAGE_SIZE
    app.state.pool = ReaderPool(url)
    collections = Collections(app.state.pool, cities, first_day=first_day)
    _update_openapi(app)  # the media type that OGC requires
    endpoints = _Endpoints(
        title=TITLE,
        templates=templates(),
        collection_dependency=collection_of,
        with_tiles_viewer=False,
    )
    app.include_router(
        endpoints.router,
        dependencies=[Depends(collections.refresh), Depends(reject_unknown_parameters)],
    )

    app.dependency_overrides |= {filter_query: filter_of, datetime_query: interval_of}

    @app.get("/api.html", include_in_schema=False, name="swagger_ui_html")
    async def page() -> HTMLResponse:
        return contract_page(TITLE, document="api", assets="../docs/assets")

    if not is_public:
        _declare_tokens(app)
    app.add_middleware(_EmptyCsv)
    app.add_middleware(CompressionMiddleware)
    _install_error_handlers(app)
    app.add_middleware(_Headers, cache="public" if is_public else "private")
    return app


async def reject_unknown_parameters(request: Request) -> None:
    """Reject a parameter that is neither of the endpoint nor a column (OGC 17-069r4, 7.14).

    Without this a misspelled filter would return the rows of all cities.

    Raises:
        ProblemError: There is one.
    """
    path = request.scope["route"].path_format
    described = request.app.openapi()["paths"][path]["get"].get("parameters", [])
    known = {each["name"] for each in described if each["in"] == "query"}
    if path.endswith(("/items", "/{z}/{x}/{y}", "/tilejson.json", "/style.json")):
        collection = collection_of(request, request.path_params["collectionId"])
        known |= {column.name for column in collection.properties}
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        raise invalid(
            Mistake(field=name, message="There is no such parameter.") for name in unknown
        )


def _declare_tokens(app: FastAPI) -> None:
    """Say in the OpenAPI document that every request needs a token."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        document = generated()
        document["components"]["securitySchemes"] = {
            "ReadToken": {"type": "apiKey", "in": "header", "name": "X-Read-Token"},
            "BearerToken": {"type": "http", "scheme": "bearer"},
            "BasicToken": {"type": "http", "scheme": "basic"},
        }
        document["security"] = [{name: []} for name in document["components"]["securitySchemes"]]
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it


def _install_error_handlers(app: FastAPI) -> None:
    """Convert every error of tipg and its libraries to a problem."""
    install_error_handlers(app)
    for kind in (
        NotFound,
        InvalidPropertyName,
        InvalidGeometryColumnName,
        InvalidDatetimeColumnName,
    ):
        app.add_exception_handler(kind, partial(_answer, NOT_FOUND))
    # tipg converts numbers and times of parameters with the errors of Python.
    for mistaken in (TiPgError, ValueError):
        app.add_exception_handler(mistaken, partial(_answer, INVALID_REQUEST))
    app.add_exception_handler(asyncpg.PostgresError, _statement)


async def _answer(kind: Any, _: Request, error: Exception) -> JSONResponse:
    return problem_response(ProblemError(kind, f"{str(error).strip().rstrip('.')}."))


async def _statement(_: Request, error: Exception) -> JSONResponse:
    """Answer to a filter that does not fit the columns; anything else is an internal error."""
    assert isinstance(error, asyncpg.PostgresError)
    if not (error.sqlstate or "").startswith(_STATEMENT_STATES):
        raise error
    return problem_response(ProblemError(INVALID_REQUEST, f"{error.args[0]}."))


class _EmptyCsv:
    """Ends a CSV without rows as an empty one; tipg fails after its head."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        try:
            await self._app(scope, receive, send)
        except RuntimeError as error:
            if not isinstance(error.__cause__, StopIteration):
                raise
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Headers:
    """Adds headers for caches and browsers to every answer."""

    def __init__(self, app: ASGIApp, *, cache: str) -> None:
        """Wrap an application."""
        self._app = app
        self._cache = cache

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                good = message["status"] == 200  # noqa: PLR2004
                headers["Cache-Control"] = (
                    f"{self._cache}, max-age={CACHE_SECONDS}" if good else "no-store"
                )
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault(
                    "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"
                )
            await send(message)

        await self._app(scope, receive, complete)
