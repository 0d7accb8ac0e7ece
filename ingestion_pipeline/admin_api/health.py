"""Whether the whole way in works: a job that is accepted now would be started.

Belongs here: the checks, and how old a sensor's last tick may be. Does not belong here: figures to
watch over time (`metrics.py`).
"""

from datetime import datetime
from importlib.metadata import version
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from ingestion_pipeline.admin_api.problems import Responses, responses
from ingestion_pipeline.admin_api.service import Service, ServiceDep
from ingestion_pipeline.staging import ticks
from ingestion_pipeline.staging.database import require_writable
from ingestion_pipeline.staging.errors import (
    DatabaseForbidden,
    DatabaseNotMigrated,
    DatabaseReadOnly,
    DatabaseUnavailable,
)

MAXIMUM_SILENCE_S = 300
"""After this time without a tick a sensor counts as stopped; both tick at least once a minute."""

router = APIRouter(tags=["operation"])


class Check(BaseModel):
    """One thing that must work."""

    ok: bool
    detail: str | None = Field(None, description="What is wrong, and what to do")


class SensorCheck(Check):
    """Whether a sensor ticks."""

    last_tick_at: datetime | None = Field(None, description="Null if it never ticked")
    age_s: float | None = Field(None, description="Seconds since then")


class Checks(BaseModel):
    """Everything that was looked at."""

    database: Check
    migration: Check
    admin_trigger_sensor: SensorCheck = Field(description="Starts the runs of jobs")
    ledger_sweep_sensor: SensorCheck = Field(
        description="Ends jobs whose runs died; a silent one does not make the status unavailable"
    )


class Health(BaseModel):
    """Whether a job that is accepted now would be started."""

    status: Literal["ok", "unavailable"]
    version: str = Field(description="Of the package", examples=["0.1.0"])
    checks: Checks


_RESPONSES: Responses = {
    200: {"description": "It works"},
    503: {
        "model": Health,
        "description": "A job that is accepted now would not be started, or none is accepted",
    },
}


@router.get(
    "/v1/api/health",
    operation_id="get_health",
    summary="Tell whether the whole way in works",
    responses=_RESPONSES | responses(),
)
def get_health(service: ServiceDep, response: Response) -> Health:
    """Check database, schema and sensors; no token is needed."""
    checks = look(service)
    works = checks.database.ok and checks.migration.ok and checks.admin_trigger_sensor.ok
    response.status_code = 200 if works else 503
    response.headers["Cache-Control"] = "no-store"
    return Health(
        status="ok" if works else "unavailable",
        version=version("ingestion-pipeline"),
        checks=checks,
    )


def look(service: Service) -> Checks:
    """Look at everything."""
    try:
        service.check_migration()
        require_writable(service.engine)
        last = ticks.last(service.engine)
        now = service.clock.now()
    except DatabaseReadOnly:
        detail = "it takes no writes, as a standby does; let DATABASE_URL lead to the primary"
        return _without(database=Check(ok=False, detail=detail))
    except DatabaseUnavailable:
        detail = "it does not answer; check DATABASE_URL and the server"
        return _without(database=Check(ok=False, detail=detail))
    except DatabaseForbidden:
        detail = "its role lacks a right; let an administrator run deploy/roles.sql"
        return _without(database=Check(ok=False, detail=detail))
    except DatabaseNotMigrated:
        detail = "not the one that this version needs; poi-ingest migrate"
        return _without(database=Check(ok=True), migration=Check(ok=False, detail=detail))
    return Checks(
        database=Check(ok=True),
        migration=Check(ok=True),
        admin_trigger_sensor=_sensor(last.get(ticks.TRIGGER_SENSOR), now),
        ledger_sweep_sensor=_sensor(last.get(ticks.SWEEP_SENSOR), now),
    )


def _without(*, database: Check, migration: Check | None = None) -> Checks:
    """Return what is known where the sensors cannot be looked at."""
    unknown = "not known without the database"
    silent = SensorCheck(ok=False, detail=unknown)
    return Checks(
        database=database,
        migration=migration or Check(ok=False, detail=unknown),
        admin_trigger_sensor=silent,
        ledger_sweep_sensor=silent,
    )


def _sensor(last_tick_at: datetime | None, now: datetime) -> SensorCheck:
    if last_tick_at is None:
        detail = "never ticked; start Dagster's daemon, and switch the sensor on"
        return SensorCheck(ok=False, detail=detail)
    age_s = (now - last_tick_at).total_seconds()
    # A tick of the future is of a clock that was ahead; it says nothing about now.
    if abs(age_s) <= MAXIMUM_SILENCE_S:
        return SensorCheck(ok=True, last_tick_at=last_tick_at, age_s=age_s)
    detail = "silent; look at Dagster's daemon, and at the sensor in the UI"
    return SensorCheck(ok=False, detail=detail, last_tick_at=last_tick_at, age_s=age_s)
