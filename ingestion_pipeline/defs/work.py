"""The claim of a city-day by a Dagster run, and the end of a step in the ledger.

The work itself is in `assets/`, the ledger in `staging/runs.py`.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Protocol, get_args

import dagster as dg

from ingestion_pipeline.config.cities import City
from ingestion_pipeline.core.errors import IngestionError, described
from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.dagster_runtime.liveness import is_alive, worker
from ingestion_pipeline.dagster_runtime.planned_checks import forget_planned_checks
from ingestion_pipeline.dagster_runtime.pools import slot_of
from ingestion_pipeline.dagster_runtime.private import (
    PARENT_RUN_ID_TAG,
    RETRY_NUMBER_TAG,
    RunInterrupted,
)
from ingestion_pipeline.defs.failures import failure_of
from ingestion_pipeline.defs.partitions import city_day, require_partition
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.staging import leases, runs
from ingestion_pipeline.staging.errors import DatabaseForbidden, DatabaseUnavailable

log = logging.getLogger(__name__)

RUN_ID_TAG = "ingestion/run_id"
"""The tag with the id of the job for which a Dagster run was started."""

TRIGGER_TAG = "ingestion/trigger"
"""The tag with what started a Dagster run, if Dagster's own tags do not show it."""

ERROR_CODE_TAG = "ingestion/error_code"
"""The tag that shows in Dagster's list of runs why a run failed. It is `none` if it was copied from
an earlier, failed run."""

_TRIGGER_BY_TAG: dict[str, runs.Trigger] = {
    "dagster/backfill": "backfill",
    "dagster/schedule_name": "schedule",
    "dagster/sensor_name": "admin",
}


NothingToDo = runs.NothingToDo


class Chain(Protocol):
    """The assets of a job, in order, such as those of a `Dataset`."""

    @property
    def job_type(self) -> str:
        """The job, the first part of its keys."""

    @property
    def chain(self) -> tuple[str, ...]:
        """The assets; the last one ends the run as SUCCEEDED."""


@dataclass(frozen=True)
class ClaimedPartition:
    """A city-day that the run has claimed.

    Attributes:
        city: The city.
        day: The UTC day.
        claim: The claim on its key.
        slot: Returns the slot of a pool, to be held while the step fetches.
    """

    city: City
    day: date
    claim: runs.Claim
    slot: Callable[[], AbstractContextManager[None]] = nullcontext


def nothing_to_do(work: NothingToDo) -> dg.MaterializeResult[None]:
    """Return a materialization with the note that another run staged the day in the meantime."""
    log.info(work.message)
    return dg.MaterializeResult(metadata={"nothing_to_do": work.message})


@contextmanager
def claimed(
    context: dg.AssetExecutionContext,
    pipeline: PipelineResources,
    job: Chain,
    *,
    refetch: bool = False,
    pool: str | None = None,
) -> Iterator[ClaimedPartition | NothingToDo]:
    """Claim the run's city-day, and record in the ledger how the step ended.

    A successful step leaves the claim to the next step; the step that commits the slice ends the
    run as SUCCEEDED. A run of earlier assets only ends as CANCELED (`not_staged`), because nothing
    was staged. An error ends the run as FAILED, unless Dagster retries the step; an interruption
    ends it as CANCELED.

    Args:
        context: The step's context.
        pipeline: The resources.
        job: The job that the asset belongs to, such as that of a dataset.
        refetch: Whether the run refetches.
        pool: The pool of steps that fetch, if this step is none of them.

    Yields:
        The claimed city-day; or `NothingToDo` if another run staged the day while this one was
        queued.

    Raises:
        dagster.Failure: The work failed; it has the reason and what to do.
        dagster.RetryRequested: The work may succeed later.
    """
    chain = job.chain
    claim: runs.Claim | None = None
    if ERROR_CODE_TAG in context.run.tags:
        _tag_error(context, "none")
    try:
        partition = city_day(context)
        city = pipeline.cities.get(partition.city)
        key = JobKey(job.job_type, city.slug, city.boundary_key, partition.day)
        got = _claim(context, pipeline, key, chain=chain, refetch=refetch)
        if isinstance(got, runs.Claim):
            claim = got
            # After the claim, so that the job of the admin API ends.
            require_partition(partition, first=pipeline.settings.first_partition)
            yield ClaimedPartition(city, partition.day, claim, partial(slot_of, pool, context))
        else:
            yield got
    except IngestionError as error:
        retry = pipeline.retrying.of(error, retry_number=context.retry_number)
        if retry is not None:
            log.warning("%s. This step is tried again in %.0f s", error, retry.seconds_to_wait)
            raise retry from error
        _end(pipeline, claim, error.code, str(error))
        _tag_error(context, error.code)
        forget_planned_checks(context.instance, context.run.run_id)
        # An expected error has a complete message; a stack trace adds nothing.
        raise failure_of(error) from None
    except dg.RetryRequested:
        raise  # the work requested the retry, and the run keeps its claim
    except (RunInterrupted, KeyboardInterrupt):
        _end(
            pipeline,
            claim,
            "interrupted",
            "the run was terminated before its slice was staged",
            canceled=True,
        )
        raise
    except Exception as error:
        # An unexpected error is a bug; the ledger must still record the end of the run.
        _end(
            pipeline,
            claim,
            "unexpected_error",
            f"{described(error)}; the run's log has the details",
        )
        _tag_error(context, "unexpected_error")
        forget_planned_checks(context.instance, context.run.run_id)
        raise
    if why := _why_nothing_is_staged(context, chain):
        _end(pipeline, claim, "not_staged", why, canceled=True)


def _tag_error(context: dg.AssetExecutionContext, code: str) -> None:
    """Tag the run with its error code; log a failure to do so."""
    try:
        context.instance.add_run_tags(context.run.run_id, {ERROR_CODE_TAG: code})
    except Exception as error:  # noqa: BLE001 - the run's own error matters more
        log.warning("The run has no tag %s: %s", ERROR_CODE_TAG, type(error).__name__)


def _end(
    pipeline: PipelineResources,
    claim: runs.Claim | None,
    error_code: str,
    error_message: str,
    *,
    canceled: bool = False,
) -> None:
    """Record the end of a run in the ledger if it holds a claim."""
    if claim is None:
        return
    write = runs.cancel if canceled else runs.fail
    try:
        write(
            pipeline.engine,
            claim,
            error_code=error_code,
            error_message=error_message,
            now=pipeline.ledger_now(),
        )
    except (DatabaseUnavailable, DatabaseForbidden) as error:
        # The step's own error matters more; the next run detects that this one is dead.
        log.warning("The end of the run is not in the ledger (%s): %s", error_code, error)


def _claim(
    context: dg.AssetExecutionContext,
    pipeline: PipelineResources,
    key: JobKey,
    *,
    chain: Sequence[str],
    refetch: bool,
) -> runs.Claim | runs.NothingToDo:
    run = context.run
    lease = pipeline.hold_lease(run.run_id)
    now = pipeline.ledger_now()
    return runs.claim(
        pipeline.engine,
        key,
        dagster_run_id=run.run_id,
        worker=worker(),
        trigger=trigger_of(run.tags),
        is_alive=lambda holder: is_alive(
            holder,
            context.instance,
            lease=leases.is_live(pipeline.engine, str(holder.dagster_run_id)),
        ),
        now=now,
        requested_at=_requested_at(context, pipeline, now=now),
        run_id=None if _is_started_anew(run.tags) else run.tags.get(RUN_ID_TAG),
        refetch=refetch,
        whole=len(_asked(context, chain)) == len(chain),
        lease=lease,
    )


def _requested_at(
    context: dg.AssetExecutionContext, pipeline: PipelineResources, *, now: datetime
) -> datetime | None:
    """Return when the run was enqueued, by the ledger's clock; None without a queue.

    Dagster records that moment by the clock of the requesting machine, and the creation of the run
    by the clock of its own database. Neither need agree with the ledger's clock. The result is the
    later of the two that is not in the future: if it is too late, the run repeats work; if it were
    too early, the run would skip work.
    """
    instance, run_id = context.instance, context.run.run_id
    stats = instance.get_run_stats(run_id)
    queued = stats.enqueued_time or stats.launch_time
    if queued is None:
        return None
    moments = [now - (pipeline.clock.now() - datetime.fromtimestamp(queued, UTC))]
    record = instance.get_run_record_by_id(run_id)
    if record is not None:
        moments.append(record.create_timestamp)
    return max((moment for moment in moments if moment <= now), default=now)


def trigger_of(tags: Mapping[str, str]) -> runs.Trigger:
    """Return what started a run; by default the UI."""
    if _is_started_anew(tags):
        return "ui"
    named = tags.get(TRIGGER_TAG)
    triggers: tuple[runs.Trigger, ...] = get_args(runs.Trigger)
    for trigger in triggers:
        if trigger == named:
            return trigger
    return next((trigger for tag, trigger in _TRIGGER_BY_TAG.items() if tag in tags), "ui")


def _is_started_anew(tags: Mapping[str, str]) -> bool:
    """Return whether a person re-executed an earlier run; its tags are copies of that run's."""
    return PARENT_RUN_ID_TAG in tags and RETRY_NUMBER_TAG not in tags


def _why_nothing_is_staged(context: dg.AssetExecutionContext, chain: Sequence[str]) -> str | None:
    """Return why the run ends with this asset without staging; None if it continues or stages."""
    asset = context.asset_key.to_user_string()
    if asset == chain[-1] or _asked(context, chain)[-1:] != [asset]:
        return None
    return (
        f"the run was asked for {asset} and not for {chain[-1]}, so nothing was staged; "
        f"materialize {chain[-1]} to stage the day"
    )


def _asked(context: dg.AssetExecutionContext, chain: Sequence[str]) -> list[str]:
    """Return the assets of the chain that the run executes."""
    selected = context.job_def.asset_layer.selected_asset_keys
    steps = context.run.step_keys_to_execute or chain  # set for a re-execution
    return [name for name in chain if dg.AssetKey(name) in selected and name in steps]
