"""The application of the admin API and its lifespan."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import sqlalchemy as sa
from fastapi import FastAPI

from ingestion_pipeline.admin_api import (
    callback,
    contract,
    enqueue,
    health,
    jobs,
    metrics,
    promotions,
)
from ingestion_pipeline.admin_api.changes import add_changes, close_changes
from ingestion_pipeline.admin_api.expiry import keep_expiring
from ingestion_pipeline.admin_api.pages import add_pages
from ingestion_pipeline.admin_api.problems import install_error_handlers
from ingestion_pipeline.admin_api.reading.mount import add_reading, reading_connections
from ingestion_pipeline.admin_api.review.page import add_review_page
from ingestion_pipeline.admin_api.review.routes import add_review
from ingestion_pipeline.admin_api.service import Service
from ingestion_pipeline.config.cities import Cities
from ingestion_pipeline.config.settings import Settings
from ingestion_pipeline.core.clock import Clock, SystemClock
from ingestion_pipeline.staging.clock import DatabaseClock
from ingestion_pipeline.staging.database import create_engine

CONNECTIONS = 20
"""Pool size for PostgreSQL; enough for all threads that serve requests."""


def create_app(
    settings: Settings,
    cities: Cities,
    *,
    engine: sa.Engine | None = None,
    clock: Clock | None = None,
) -> FastAPI:
    """Return the application; it connects to the database at the first request.

    Args:
        settings: The settings.
        cities: The cities for which jobs can be enqueued.
        engine: The database; by default that of the settings, which is closed with the application.
        clock: The clock; by default the database's.

    Raises:
        SettingsError: No database is configured, or not that of the reading API.
        UnsupportedDatabase: The database's URL is not supported.
    """
    own = engine is None
    database = (
        engine
        if engine is not None
        else create_engine(settings.database, service_connections=CONNECTIONS)
    )
    service = Service(settings, cities, database, clock or DatabaseClock(database, SystemClock()))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        expiring = asyncio.create_task(keep_expiring(service))
        async with reading_connections(app):
            yield
        expiring.cancel()
        with suppress(asyncio.CancelledError):
            await expiring
        close_changes(app)
        if own:
            database.dispose()

    app = FastAPI(lifespan=lifespan, redirect_slashes=False, **contract.ABOUT)
    app.state.service = service
    install_error_handlers(app)
    for noun in (enqueue, callback, jobs, promotions, health, metrics):
        app.include_router(noun.router)
    add_review(app)
    add_reading(app, service)
    add_changes(app, service)
    add_pages(app)
    add_review_page(app, settings)
    contract.complete(app)
    return app
