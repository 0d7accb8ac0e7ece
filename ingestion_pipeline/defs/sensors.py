"""Sensors: one starts runs for jobs of the ledger, one reconciles the ledger with Dagster.

`requests.py` builds the run requests, and `reconcile.py` updates the ledger.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import dagster as dg

from ingestion_pipeline.dagster_runtime.ticks import with_shared_instance
from ingestion_pipeline.defs.promotion import build_promotion_sensor, requested_jobs
from ingestion_pipeline.defs.reconcile import reconcile
from ingestion_pipeline.defs.requests import next_request, ready, runs_of
from ingestion_pipeline.defs.resources import LEDGER_RESOURCES, pipeline_of
from ingestion_pipeline.staging import runs, ticks
from ingestion_pipeline.staging.runs import Position, Run

BATCH = 50
"""Jobs per tick: Dagster takes up to half a second to create a run."""

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
            limit=BATCH,
            without=pipeline.slugs_of_others,
        )
        now = pipeline.ledger_now()
        ticks.record(pipeline.engine, ticks.TRIGGER_SENSOR, now=now)
        dagster_runs = runs_of(context.instance, pending)
        patience = timedelta(minutes=pipeline.settings.start_deadline_minutes)
        wanted = [
            next_request(
                job,
                dagster_runs[job.id],
                context.instance,
                now=now,
                dagster_now=pipeline.clock.now(),
                patience=patience,
                first_partition=pipeline.settings.first_partition,
                priority=priority,
            )
            for job, priority in ready(pending, pipeline)
        ]
        return dg.SensorResult(
            run_requests=[request for request in wanted if request is not None],
            cursor=_cursor(pending),
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
            cursor=_cursor(compared.pending),
        )

    return with_shared_instance(
        [admin_trigger_sensor, ledger_sweep_sensor, build_promotion_sensor()]
    )


def _position(cursor: str | None) -> Position | None:
    if cursor is None or cursor == FROM_THE_START:
        return None
    requested_at, run_id = json.loads(cursor)
    return Position(datetime.fromisoformat(requested_at), run_id)


def _cursor(jobs: Sequence[Run]) -> str:
    """Return the cursor of the next tick: after a full batch, or else from the beginning.

    Jobs are read repeatedly until they are no longer PENDING. So no job is lost that was committed
    behind the cursor, or whose run was never created.
    """
    if len(jobs) < BATCH:
        return FROM_THE_START
    return json.dumps([jobs[-1].requested_at.isoformat(), jobs[-1].id])
