"""The clock of the ledger.

Belongs here: what the current moment is for everything that is stored in the database, or compared
with it. Does not belong here: the machine's clock (`core/clock.py`), by which waiting is measured
and by which files and answers of upstream are dated.

Machines that share a database need not agree on the time. So what one of them stores and another
compares is of the clock that they share: that of the PostgreSQL server. A GeoPackage is of one
machine, whose clock is its own. A server may be replaced by another with another clock too, so a
stored moment of the future is no evidence of anything; each comparison says what it does with it.
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
            engine: The database; nothing is connected before the first look.
            machine: The clock of this machine, which is that of an embedded GeoPackage.
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
