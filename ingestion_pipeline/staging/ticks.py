"""Signs of life: when each sensor last looked at the ledger.

Belongs here: every statement on `sensor_tick`. Does not belong here: what a sensor does, and how
old a sign may be (`admin_api/health.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ingestion_pipeline.staging.database import read_transaction, write_transaction
from ingestion_pipeline.staging.tables import sensor_tick

if TYPE_CHECKING:
    from datetime import datetime

TRIGGER_SENSOR = "admin_trigger_sensor"
"""Turns PENDING jobs into Dagster runs."""

SWEEP_SENSOR = "ledger_sweep_sensor"
"""Brings the ledger to the truth about runs that could not tell it themselves."""


def record(engine: sa.Engine, sensor: str, *, now: datetime) -> None:
    """Write down that a sensor ticked."""
    with write_transaction(engine) as connection:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        connection.execute(
            insert(sensor_tick)
            .values(sensor=sensor, ticked_at=now)
            .on_conflict_do_update(index_elements=["sensor"], set_={"ticked_at": now})
        )


def last(engine: sa.Engine) -> dict[str, datetime]:
    """Give the moment of each sensor's last tick; a sensor that never ticked is not there."""
    with read_transaction(engine) as connection:
        return {row.sensor: row.ticked_at for row in connection.execute(sa.select(sensor_tick))}
