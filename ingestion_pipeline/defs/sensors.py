"""Sensors: from the ledger to Dagster, and from Dagster back to the ledger.

Belongs here: the two sensors, their batches and cursors. Does not belong here: what a run is asked
to do (`requests.py`), and how a run's end becomes the ledger's (`reconcile.py`).
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import dagster as dg

from ingestion_pipeline.defs.jobs import JOBS
from ingestion_pipeline.defs.reconcile import reconcile
from ingestion_pipeline.defs.requests import is_due, next_request, runs_of, why_impossible
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.staging import runs, ticks
from ingestion_pipeline.staging.runs import Position, Run

BATCH = 50
"""Jobs per tick: Dagster needs up to half a second for each run that it makes."""

FROM_THE_START = "from the start"
"""A cursor; Dagster takes an empty one for none, and keeps the old."""

INTERVAL_S = 5
"""Dagster's own loop over sensors takes as long."""


def build_sensors() -> Sequence[dg.SensorDefinition]:
    """Define both sensors; they run from the start, because without them no job of the API does."""

    @dg.sensor(
        name=ticks.TRIGGER_SENSOR,
        jobs=[job.definition for job in JOBS.values()],
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Turns the ledger's PENDING jobs into runs. It only reads the jobs: a tick "
        "that dies leaves them as they were, and a job that is seen twice gets one run.",
    )
    def admin_trigger_sensor(
        context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[PipelineResources]
    ) -> dg.SensorResult:
        pending = runs.active(
            pipeline.engine, "PENDING", after=_position(context.cursor), limit=BATCH
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
            )
            for job in pending
            if why_impossible(job, pipeline) is None and is_due(job, pipeline)
        ]
        return dg.SensorResult(
            run_requests=[request for request in wanted if request is not None],
            cursor=_cursor(pending),
        )

    @dg.sensor(
        name=ticks.SWEEP_SENSOR,
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reconciles job status with Dagster for runs that were killed, canceled or "
        "never started. Stops runs at work on a job that was canceled.",
    )
    def ledger_sweep_sensor(
        context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[PipelineResources]
    ) -> dg.SensorResult:
        compared = reconcile(
            pipeline, context.instance, after=_position(context.cursor), limit=BATCH
        )
        ticks.record(pipeline.engine, ticks.SWEEP_SENSOR, now=pipeline.ledger_now())
        return dg.SensorResult(
            skip_reason=f"compared {compared.running} RUNNING and {len(compared.pending)} PENDING "
            "jobs with Dagster",
            cursor=_cursor(compared.pending),
        )

    return [admin_trigger_sensor, ledger_sweep_sensor]


def _position(cursor: str | None) -> Position | None:
    if cursor is None or cursor == FROM_THE_START:
        return None
    requested_at, run_id = json.loads(cursor)
    return Position(datetime.fromisoformat(requested_at), run_id)


def _cursor(jobs: Sequence[Run]) -> str:
    """Say where the next tick goes on: after a full batch, or from the beginning.

    Jobs are passed again and again until they are no longer PENDING, so that none is lost that was
    committed behind the cursor, or whose run was never made.
    """
    if len(jobs) < BATCH:
        return FROM_THE_START
    return json.dumps([jobs[-1].requested_at.isoformat(), jobs[-1].id])
