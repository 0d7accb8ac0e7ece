"""The clock of everything that is stored in the database or compared with it.

Machines that share a database may have different clocks, so they use that of the PostgreSQL server.
A GeoPackage belongs to one machine and uses its clock. A server may be replaced by one with another
clock, so stored moments may lie in the future; each comparison handles them. Waiting, files and
answers from upstream use the machine's clock (`core/clock.py`).
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ingestion_pipeline.staging.database import read_transaction

if TYPE_CHECKING:
    from datetime import datetime

    from ingestion_pipeline.core.clock import Clock


class DatabaseClock:
    """The clock of a database."""

    def __init__(self, engine: sa.Engine, machine: Clock) -> None:
        """Use a database's clock.

        Args:
            engine: The database; connected at the first call.
            machine: The clock of this machine, for a GeoPackage.
        """
        self._engine = engine
        self._machine = machine

    def now(self) -> datetime:
        """Return the current moment, aware, in UTC.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        if self._engine.dialect.name == "sqlite":
            return self._machine.now()
        with read_transaction(self._engine) as connection:
            moment: datetime = connection.execute(
                sa.select(sa.func.clock_timestamp(type_=sa.DateTime(timezone=True)))
            ).scalar_one()
        return moment.astimezone(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self._machine.sleep(seconds)
