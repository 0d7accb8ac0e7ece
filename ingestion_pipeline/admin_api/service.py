"""What every request of the admin API works with.

Belongs here: settings, cities, database and clock as one value, and how an endpoint gets at it.
Does not belong here: anything of HTTP itself, and what an endpoint does.
"""

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
    """The parts that the admin API is put together from.

    Attributes:
        settings: The settings.
        cities: The cities that jobs can be asked for.
        engine: The database; nothing is connected before the first request.
        clock: The clock of what is stored in the database.
    """

    settings: Settings
    cities: Cities
    engine: sa.Engine
    clock: Clock
    _migrated: bool = field(default=False, init=False)

    def database(self) -> sa.Engine:
        """Give the database, once it has been seen to have the schema of this code.

        Raises:
            DatabaseUnavailable: It does not answer.
            DatabaseNotMigrated: Its schema is another one.
        """
        if not self._migrated:
            self.check_migration()
        return self.engine

    def check_migration(self) -> None:
        """Look at the schema again.

        Raises:
            DatabaseUnavailable: The database does not answer.
            DatabaseNotMigrated: Its schema is another one.
        """
        try:
            require_migrated(self.engine)
        except DatabaseNotMigrated:
            self._migrated = False
            raise
        self._migrated = True

    def today(self) -> date:
        """Give the current UTC day."""
        return self.clock.now().astimezone(UTC).date()


def secrets_in(setting: SecretStr | None) -> tuple[bytes, ...]:
    """Give the secrets that a setting lists, separated by commas; none where it is not set."""
    listed = setting.get_secret_value().split(",") if setting is not None else []
    return tuple(secret.strip().encode() for secret in listed if secret.strip())


# Coroutines, here and in every other dependency: FastAPI would give a plain function a thread.
async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]
"""An endpoint's parameter that is the service."""
