"""The heartbeat of each sensor, in `sensor_tick`; `admin_api/health.py` limits its age."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ingestion_pipeline.staging.database import read_transaction, write_transaction
from ingestion_pipeline.staging.tables import sensor_tick

if TYPE_CHECKING:
    from datetime import datetime

TRIGGER_SENSOR = "admin_trigger_sensor"
"""Starts Dagster runs for PENDING jobs."""

SWEEP_SENSOR = "ledger_sweep_sensor"
"""Reconciles job status with Dagster for runs that were killed, canceled or never started."""


def record(engine: sa.Engine, sensor: str, *, now: datetime) -> None:
    """Record a tick of a sensor."""
    with write_transaction(engine) as connection:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        connection.execute(
            insert(sensor_tick)
            .values(sensor=sensor, ticked_at=now)
            .on_conflict_do_update(index_elements=["sensor"], set_={"ticked_at": now})
        )


def last(engine: sa.Engine) -> dict[str, datetime]:
    """Return the moment of each sensor's last tick; sensors that never ticked are missing."""
    with read_transaction(engine) as connection:
        return {row.sensor: row.ticked_at for row in connection.execute(sa.select(sensor_tick))}
