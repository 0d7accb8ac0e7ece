"""The application of the reading API: tipg's endpoints over our collections and connections.

Belongs here: what is around tipg's endpoints, such as errors, unknown parameters and headers. Does
not belong here: the token (`mount.py`), and what a collection is (`collections.py`).
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, FastAPI, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from morecantile import Tile, tms
from morecantile.defaults import TileMatrixSets
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette_cramjam.middleware import CompressionMiddleware
from tipg import collections as tipg_collections
from tipg import factory as tipg_factory
from tipg.dependencies import TileParams, datetime_query, filter_query
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
    DATABASE_NOT_MIGRATED,
    INVALID_REQUEST,
    NOT_FOUND,
    Mistake,
    ProblemError,
    install_error_handlers,
    invalid,
    mistakes_in,
    problem_response,
)
from ingestion_pipeline.admin_api.reading.collections import Collections, collection_of
from ingestion_pipeline.admin_api.reading.database import ReaderPool
from ingestion_pipeline.admin_api.reading.filters import CONFORMANCE, filter_of, interval_of
from ingestion_pipeline.admin_api.reading.mount import HEADER
from ingestion_pipeline.admin_api.reading.pages import templates
from ingestion_pipeline.config.cities import Cities

TITLE = "Ingestion pipeline: reading API"

CACHE_SECONDS = 60
"""For how long clients may keep an answer; a city changes once a day."""

TILING = "WebMercatorQuad"
"""The tile matrix set, which web maps and QGIS use. Others do not contain every city."""

DEEPEST_ZOOM = 24

PAGE_SIZE = 1000
"""The number of items where a request has no `limit`. GDAL and QGIS read pages of this size."""

_TILE = "/collections/{collectionId}/tiles/{tileMatrixSetId}/{z}/{x}/{y}"
_OF_TILES = ("/tilejson.json", "/style.json")

_STATEMENT_STATES = ("22", "42", "XX000")
"""SQLSTATEs of a value, comparison or (from PostGIS) geometry that does not fit."""

_CHANGED_STATES = ("42P01", "42703")
"""SQLSTATEs of a view or column that is gone: names in requests are checked before."""


class _Endpoints(Endpoints):
    """tipg's endpoints, with the conformance classes of CQL2."""

    @property
    def conforms_to(self) -> list[str]:
        """The conformance classes."""
        return [*_met(super().conforms_to), *CONFORMANCE]


def _met(classes: Iterable[str]) -> list[str]:
    """Return the conformance classes that are met: the contract is in OpenAPI 3.1, not 3.0."""
    return [each for each in classes if not each.endswith("/oas30")]


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
    tipg_factory.COMMON_CONFORMS[:] = _met(tipg_factory.COMMON_CONFORMS)
    app.state.pool = ReaderPool(url)
    collections = Collections(app.state.pool, cities, first_day=first_day)
    _update_openapi(app)  # the media type that OGC requires
    endpoints = _Endpoints(
        title=TITLE,
        templates=templates(),
        collection_dependency=collection_of,
        supported_tms=TileMatrixSets({TILING: tms.get(TILING)}),
        with_tiles_viewer=False,
    )
    app.include_router(
        endpoints.router,
        dependencies=[Depends(collections.refresh), Depends(reject_wrong_parameters)],
    )

    app.dependency_overrides |= {
        filter_query: filter_of,
        datetime_query: interval_of,
        TileParams: tile_of,
    }

    @app.get("/api.html", include_in_schema=False, name="swagger_ui_html")
    async def page() -> HTMLResponse:
        return contract_page(TITLE, document="api", assets="../docs/assets")

    if not is_public:
        _declare_tokens(app)
    app.add_middleware(_EmptyCsv)
    app.add_middleware(CompressionMiddleware)
    _install_error_handlers(app)
    app.add_middleware(_Headers, is_public=is_public)
    return app


def tile_of(
    z: Annotated[int, Path(ge=0, le=DEEPEST_ZOOM)],
    x: Annotated[int, Path(ge=0)],
    y: Annotated[int, Path(ge=0)],
) -> Tile:
    """Return the tile of a request; stands in for tipg's `TileParams`, which accepts any numbers.

    Raises:
        ProblemError: The zoom has no such tile.
    """
    if max(x, y) >= 2**z:
        raise ProblemError(NOT_FOUND, f"Zoom {z} has columns and rows from 0 to {2**z - 1}.")
    return Tile(x, y, z)


async def reject_wrong_parameters(request: Request) -> None:
    """Reject a parameter that is neither of the endpoint nor a column (OGC 17-069r4, 7.14).

    Without this a misspelled filter would return the rows of all cities. PostgreSQL has no null
    character.

    Raises:
        ProblemError: There is one.
    """
    path = request.scope["route"].path_format
    known = _parameters(request.app, path)
    if path.endswith(_OF_TILES):
        # They pass their parameters on to the tiles.
        known |= _parameters(request.app, _TILE)
    if path.endswith(("/items", _TILE, *_OF_TILES)):
        collection = collection_of(request, request.path_params["collectionId"])
        known |= {column.name for column in collection.properties}
    given = [*request.query_params.items(), *request.path_params.items()]
    if binary := [name for name, value in given if "\0" in str(value)]:
        raise invalid(Mistake(field=name, message="Has a null character.") for name in binary)
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        raise invalid(
            Mistake(field=name, message="There is no such parameter.") for name in unknown
        )


def _parameters(app: FastAPI, path: str) -> set[str]:
    """Return the query parameters of an endpoint, by its contract."""
    described = app.openapi()["paths"][path]["get"].get("parameters", [])
    return {each["name"] for each in described if each["in"] == "query"}


def _declare_tokens(app: FastAPI) -> None:
    """Say in the OpenAPI document that every request needs a token."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        document = generated()
        document["components"]["securitySchemes"] = {
            "ReadToken": {"type": "apiKey", "in": "header", "name": HEADER},
            "BearerToken": {"type": "http", "scheme": "bearer"},
            "BasicToken": {"type": "http", "scheme": "basic"},
        }
        document["security"] = [{name: []} for name in document["components"]["securitySchemes"]]
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it


def _install_error_handlers(app: FastAPI) -> None:
    """Convert every error of tipg and its libraries to a problem."""
    install_error_handlers(app)
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
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


async def _problem(_: Request, error: Exception) -> JSONResponse:
    """Answer with a problem; a wrong parameter is 400 (OGC 17-069r4, 7.14), and not 422."""
    assert isinstance(error, ProblemError)
    if error.kind is INVALID_REQUEST:
        kind = replace(INVALID_REQUEST, status=HTTPStatus.BAD_REQUEST)
        error = ProblemError(kind, error.detail, errors=error.errors, headers=error.headers)
    return problem_response(error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return await _problem(request, invalid(mistakes_in(error.errors(), skip=1)))


async def _answer(kind: Any, request: Request, error: Exception) -> JSONResponse:
    return await _problem(request, ProblemError(kind, f"{str(error).strip().rstrip('.')}."))


async def _statement(request: Request, error: Exception) -> JSONResponse:
    """Answer to a filter that does not fit the columns; anything else is an internal error."""
    assert isinstance(error, asyncpg.PostgresError)
    state = error.sqlstate or ""
    if state in _CHANGED_STATES:
        request.app.state.collection_catalog = None
        problem = ProblemError(DATABASE_NOT_MIGRATED, DATABASE_NOT_MIGRATED.example)
        return problem_response(problem)
    if not state.startswith(_STATEMENT_STATES):
        raise error
    return await _problem(request, ProblemError(INVALID_REQUEST, f"{error.args[0]}."))


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

    def __init__(self, app: ASGIApp, *, is_public: bool) -> None:
        """Wrap an application."""
        self._app = app
        self._is_public = is_public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                whose = "public" if self._is_public else "private"
                is_good = message["status"] == HTTPStatus.OK
                headers["Cache-Control"] = (
                    f"{whose}, max-age={CACHE_SECONDS}" if is_good else "no-store"
                )
                if not self._is_public:
                    # QGIS would show what it keeps to a connection without a token.
                    headers.add_vary_header(f"Authorization, {HEADER}")
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault(
                    "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"
                )
            await send(message)

        await self._app(scope, receive, complete)
