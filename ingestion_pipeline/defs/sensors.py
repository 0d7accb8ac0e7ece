"""Sensors: one starts runs for jobs of the ledger, one reconciles the ledger with Dagster.

`requests.py` builds the run requests, and `reconcile.py` updates the ledger.
"""

import json
from collections.abc import Sequence
from datetime import datetime

import dagster as dg

from ingestion_pipeline.defs.order import room_for
from ingestion_pipeline.defs.promotion import build_promotion_sensor, requested_jobs
from ingestion_pipeline.defs.reconcile import reconcile
from ingestion_pipeline.defs.requests import next_requests
from ingestion_pipeline.defs.resources import LEDGER_RESOURCES, pipeline_of
from ingestion_pipeline.staging import runs, ticks
from ingestion_pipeline.staging.runs import Position, Run

READ = 1000
"""Jobs that a tick chooses from: the city that lags most comes first among them."""

BATCH = 50
"""Jobs that a tick of the sweep compares with Dagster."""

FROM_THE_START = "from the start"
"""The cursor of the beginning. Dagster ignores an empty cursor and keeps the old one."""

INTERVAL_S = 5
"""As long as Dagster's own loop over sensors."""


def build_sensors() -> Sequence[dg.SensorDefinition]:
    """Return the sensors. They are on by default, because jobs of the admin API need them."""

    @dg.sensor(
        name=ticks.TRIGGER_SENSOR,
        jobs=[job.definition for job in requested_jobs().values()],
        minimum_interval_seconds=INTERVAL_S,
        required_resource_keys=set(LEDGER_RESOURCES),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Turns the ledger's PENDING jobs into runs. It only reads the jobs: a tick "
        "that dies leaves them as they were, and a job that is seen twice gets one run.",
    )
    def admin_trigger_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        pipeline = pipeline_of(context)
        pending = runs.active(
            pipeline.engine,
            "PENDING",
            after=_position(context.cursor),
            limit=READ,
            without=pipeline.slugs_of_others,
        )
        now = pipeline.ledger_now()
        ticks.record(pipeline.engine, ticks.TRIGGER_SENSOR, now=now)
        room = room_for(context.instance, ticks.TRIGGER_SENSOR) if pending else 0
        requests, are_all = next_requests(pending, pipeline, context.instance, now=now, room=room)
        return dg.SensorResult(
            run_requests=requests,
            cursor=_cursor(pending, READ) if are_all else context.cursor or FROM_THE_START,
        )

    @dg.sensor(
        name=ticks.SWEEP_SENSOR,
        minimum_interval_seconds=INTERVAL_S,
        required_resource_keys=set(LEDGER_RESOURCES),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reconciles job status with Dagster for runs that were killed, canceled or "
        "never started. Stops runs at work on a job that was canceled.",
    )
    def ledger_sweep_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        pipeline = pipeline_of(context)
        compared = reconcile(
            pipeline, context.instance, after=_position(context.cursor), limit=BATCH
        )
        ticks.record(pipeline.engine, ticks.SWEEP_SENSOR, now=pipeline.ledger_now())
        return dg.SensorResult(
            skip_reason=f"compared {compared.running} RUNNING and {len(compared.pending)} PENDING "
            "jobs with Dagster",
            cursor=_cursor(compared.pending, BATCH),
        )

    return [admin_trigger_sensor, ledger_sweep_sensor, build_promotion_sensor()]


def _position(cursor: str | None) -> Position | None:
    if cursor is None or cursor == FROM_THE_START:
        return None
    requested_at, run_id = json.loads(cursor)
    return Position(datetime.fromisoformat(requested_at), run_id)


def _cursor(jobs: Sequence[Run], limit: int) -> str:
    """Return the cursor of the next tick: after a full batch, or else from the beginning.

    Jobs are read repeatedly until they are no longer PENDING. So no job is lost that was committed
    behind the cursor, or whose run was never created.
    """
    if len(jobs) < limit:
        return FROM_THE_START
    return json.dumps([jobs[-1].requested_at.isoformat(), jobs[-1].id])
