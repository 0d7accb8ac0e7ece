"""The admin API's application, put together.

Belongs here: what it is made of, and what lives as long as it does. Does not belong here: any
endpoint. There is no application at import: whoever serves one makes it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import sqlalchemy as sa
from fastapi import FastAPI

from ingestion_pipeline.admin_api import callback, contract, enqueue, health, jobs, metrics
from ingestion_pipeline.admin_api.expiry import keep_expiring
from ingestion_pipeline.admin_api.pages import add_pages
from ingestion_pipeline.admin_api.problems import answer_with_problems
from ingestion_pipeline.admin_api.service import Service
from ingestion_pipeline.config.cities import Cities
from ingestion_pipeline.config.settings import Settings
from ingestion_pipeline.core.clock import Clock, SystemClock
from ingestion_pipeline.staging.clock import DatabaseClock
from ingestion_pipeline.staging.database import create_engine

CONNECTIONS = 20
"""To PostgreSQL; enough for all threads that serve requests, as they wait for them only shortly."""


def create_app(
    settings: Settings,
    cities: Cities,
    *,
    engine: sa.Engine | None = None,
    clock: Clock | None = None,
) -> FastAPI:
    """Make the application; the database need not be there yet.

    Args:
        settings: The settings.
        cities: The cities that jobs can be asked for.
        engine: The database; by default that of the settings, which is closed with the application.
        clock: The database's clock, if there is no other.

    Raises:
        SettingsError: There is no database.
        UnsupportedDatabase: Its URL is not one of a kind that is supported.
    """
    own = engine is None
    database = (
        engine
        if engine is not None
        else create_engine(settings.database, service_connections=CONNECTIONS)
    )
    service = Service(settings, cities, database, clock or DatabaseClock(database, SystemClock()))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        expiring = asyncio.create_task(keep_expiring(service))
        yield
        expiring.cancel()
        with suppress(asyncio.CancelledError):
            await expiring
        if own:
            database.dispose()

    app = FastAPI(lifespan=lifespan, redirect_slashes=False, **contract.ABOUT)
    app.state.service = service
    answer_with_problems(app)
    for noun in (enqueue, callback, jobs, health, metrics):
        app.include_router(noun.router)
    add_pages(app)
    contract.complete(app)
    return app
