"""The health endpoint: whether a job that is accepted now would be started."""

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
"""The maximum age of a sensor's last tick; both tick at least once a minute."""

router = APIRouter(tags=["operation"])


class Check(BaseModel):
    """The result of a health check."""

    ok: bool
    detail: str | None = Field(None, description="What is wrong, and what to do")


class SensorCheck(Check):
    """Whether a sensor ticks."""

    last_tick_at: datetime | None = Field(None, description="Null if it never ticked")
    age_s: float | None = Field(None, description="Seconds since the last tick")


class Checks(BaseModel):
    """The results of all checks."""

    database: Check
    migration: Check
    admin_trigger_sensor: SensorCheck = Field(description="Starts the runs of jobs")
    ledger_sweep_sensor: SensorCheck = Field(
        description="Ends jobs whose runs died; the status does not depend on it"
    )


class Health(BaseModel):
    """Whether a job that is accepted now would be started."""

    status: Literal["ok", "unavailable"]
    version: str = Field(description="The package's version", examples=["0.1.0"])
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
    summary="Check whether jobs can be started",
    responses=_RESPONSES | responses(),
)
def get_health(service: ServiceDep, response: Response) -> Health:
    """Check database, schema and sensors; no token required."""
    checks = check_health(service)
    works = checks.database.ok and checks.migration.ok and checks.admin_trigger_sensor.ok
    response.status_code = 200 if works else 503
    response.headers["Cache-Control"] = "no-store"
    return Health(
        status="ok" if works else "unavailable",
        version=version("ingestion-pipeline"),
        checks=checks,
    )


def check_health(service: Service) -> Checks:
    """Run all checks."""
    try:
        service.check_migration()
        require_writable(service.engine)
        last = ticks.last(service.engine)
        now = service.clock.now()
    except DatabaseReadOnly:
        detail = "Read-only, such as a standby. Point DATABASE_URL to the primary server."
        return _without(database=Check(ok=False, detail=detail))
    except DatabaseUnavailable:
        detail = "No answer. Check DATABASE_URL and the server."
        return _without(database=Check(ok=False, detail=detail))
    except DatabaseForbidden:
        detail = "The role lacks a privilege. Let an administrator run deploy/roles.sql."
        return _without(database=Check(ok=False, detail=detail))
    except DatabaseNotMigrated:
        detail = "Not the schema of this version. Run 'poi-ingest migrate'."
        return _without(database=Check(ok=True), migration=Check(ok=False, detail=detail))
    return Checks(
        database=Check(ok=True),
        migration=Check(ok=True),
        admin_trigger_sensor=_sensor(last.get(ticks.TRIGGER_SENSOR), now),
        ledger_sweep_sensor=_sensor(last.get(ticks.SWEEP_SENSOR), now),
    )


def _without(*, database: Check, migration: Check | None = None) -> Checks:
    """Return the checks for a database that cannot be read."""
    unknown = "Unknown without the database."
    silent = SensorCheck(ok=False, detail=unknown)
    return Checks(
        database=database,
        migration=migration or Check(ok=False, detail=unknown),
        admin_trigger_sensor=silent,
        ledger_sweep_sensor=silent,
    )


def _sensor(last_tick_at: datetime | None, now: datetime) -> SensorCheck:
    if last_tick_at is None:
        detail = "Never ticked. Start Dagster's daemon, and turn the sensor on."
        return SensorCheck(ok=False, detail=detail)
    age_s = (now - last_tick_at).total_seconds()
    # A tick in the future comes from a clock that was ahead.
    if abs(age_s) <= MAXIMUM_SILENCE_S:
        return SensorCheck(ok=True, last_tick_at=last_tick_at, age_s=age_s)
    detail = "No recent tick. Check Dagster's daemon, and the sensor in the UI."
    return SensorCheck(ok=False, detail=detail, last_tick_at=last_tick_at, age_s=age_s)
