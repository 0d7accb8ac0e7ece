"""The dependencies of endpoints: settings, cities, database and clock."""

from dataclasses import dataclass, field
from datetime import UTC, date
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends, Request
from pydantic import SecretStr

from ingestion_pipeline.config.cities import Cities
from ingestion_pipeline.config.settings import Settings
from ingestion_pipeline.core.clock import Clock
from ingestion_pipeline.staging.database import require_migrated
from ingestion_pipeline.staging.errors import DatabaseNotMigrated


@dataclass
class Service:
    """The dependencies of endpoints.

    Attributes:
        settings: The settings.
        cities: The cities for which jobs can be enqueued.
        engine: The database; connected at the first request.
        clock: The database's clock.
    """

    settings: Settings
    cities: Cities
    engine: sa.Engine
    clock: Clock
    _migrated: bool = field(default=False, init=False)

    def database(self) -> sa.Engine:
        """Return the database, after checking its schema once.

        Raises:
            DatabaseUnavailable: The database does not answer.
            DatabaseNotMigrated: Its schema is not that of this version.
        """
        if not self._migrated:
            self.check_migration()
        return self.engine

    def check_migration(self) -> None:
        """Check the schema.

        Raises:
            DatabaseUnavailable: The database does not answer.
            DatabaseNotMigrated: Its schema is not that of this version.
        """
        try:
            require_migrated(self.engine)
        except DatabaseNotMigrated:
            self._migrated = False
            raise
        self._migrated = True

    def today(self) -> date:
        """Return the current UTC day."""
        return self.clock.now().astimezone(UTC).date()


def secrets_in(setting: SecretStr | None) -> tuple[bytes, ...]:
    """Return the comma-separated secrets of a setting; empty where it is not set."""
    listed = setting.get_secret_value().split(",") if setting is not None else []
    return tuple(secret.strip().encode() for secret in listed if secret.strip())


# Dependencies are coroutines, because FastAPI runs plain functions in a thread.
async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]
"""The type of an endpoint's `service` parameter."""
