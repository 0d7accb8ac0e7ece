"""Schedules: each enabled city once a day, in the early morning of its own time zone.

A schedule is a sensor, one for each job. A tick asks for the cities that have become due since the
last one, so the number of schedules and the cost of a tick do not grow with the number of cities.
What a tick does not ask for, because there is too much or because the city's upstream server takes
no requests now, remains in the sensor's cursor.

`plan.py` determines whether a late tick can still stage its day.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import dagster as dg

from ingestion_pipeline.columns.hashing import digest
from ingestion_pipeline.config.cities import City
from ingestion_pipeline.core.identity import CityDay, JobType
from ingestion_pipeline.dagster_runtime.private import PRIORITY_TAG
from ingestion_pipeline.defs.jobs import JOBS, IngestionJob
from ingestion_pipeline.defs.order import days_behind, priority_of, room_for
from ingestion_pipeline.defs.pressure import Closed, Pressure
from ingestion_pipeline.defs.resources import STORED_RESOURCES, PipelineResources, pipeline_of
from ingestion_pipeline.defs.work import TRIGGER_TAG
from ingestion_pipeline.plan import look, plan
from ingestion_pipeline.staging.runs import Trigger

FIRST_HOUR = 3
WINDOW_MINUTES = 180
"""From 03:00 to 05:59 local time."""

TRIGGER: Final[Trigger] = "schedule"

INTERVAL_S = 30

SHOWN = 3
"""The number of city-days whose reason a tick without a request shows; its log has all."""

LONGEST_BACK = timedelta(days=5)
"""How long a city-day that became due is remembered, while the daemon or its upstream is down."""


def local_time_of(job_type: JobType, slug: str) -> time:
    """Return the local time at which a city is due: the same on every day and every machine.

    A hash spreads the times over the early morning, so that cities do not query one server at the
    same time. If clocks are put forward over that time, the city is due as much later; if they are
    put back, it is due once.
    """
    minute = int(digest([job_type, slug]), 16) % WINDOW_MINUTES
    return time(FIRST_HOUR + minute // 60, minute % 60)


def due_between(
    cities: Iterable[City], job_type: JobType, *, after: datetime, until: datetime
) -> Iterator[CityDay]:
    """Return the city-days that become due after one moment, up to and including another.

    The day is the UTC day that is current when the city is due.
    """
    for city in cities:
        zone, due = ZoneInfo(city.timezone), local_time_of(job_type, city.slug)
        day, last = after.astimezone(zone).date(), until.astimezone(zone).date()
        while day <= last:
            moment = datetime.combine(day, due, zone).astimezone(UTC)
            if after < moment <= until:
                yield CityDay(city.slug, moment.date())
            day += timedelta(days=1)


class Waiting(NamedTuple):
    """The cursor of a schedule.

    Attributes:
        until: Up to which moment due city-days have been looked for.
        left: Those that no run was requested for yet.
    """

    until: datetime
    left: frozenset[CityDay] = frozenset()

    @classmethod
    def parse(cls, cursor: str) -> "Waiting":
        """Read a cursor."""
        fields = json.loads(cursor)
        left = (
            CityDay(slug, date.fromisoformat(day))
            for day, slugs in fields["left"].items()
            for slug in slugs
        )
        return cls(datetime.fromisoformat(fields["until"]), frozenset(left))

    def __str__(self) -> str:
        """Write the cursor."""
        left: dict[str, list[str]] = {}
        for each in sorted(self.left):
            left.setdefault(str(each.day), []).append(each.city)
        return json.dumps({"until": self.until.isoformat(), "left": left}, separators=(",", ":"))


def build_schedules(
    pipeline: PipelineResources, jobs: Iterable[IngestionJob] = tuple(JOBS.values())
) -> Sequence[dg.SensorDefinition]:
    """Return the schedule of each job; the setting SCHEDULES starts them."""
    return [_schedule(pipeline, job) for job in jobs]


def name_of(job: IngestionJob) -> str:
    """Return the name of a job's schedule."""
    return f"{job.job_type}_schedule"


def _schedule(pipeline: PipelineResources, job: IngestionJob) -> dg.SensorDefinition:
    is_on = pipeline.settings.schedules == "on"

    @dg.sensor(
        name=name_of(job),
        job=job.definition,
        minimum_interval_seconds=INTERVAL_S,
        required_resource_keys=set(STORED_RESOURCES),
        default_status=(
            dg.DefaultSensorStatus.RUNNING if is_on else dg.DefaultSensorStatus.STOPPED
        ),
        description=f"Each enabled city every day between {FIRST_HOUR:02}:00 and "
        f"{FIRST_HOUR + WINDOW_MINUTES // 60 - 1:02}:59 in its time zone, for the UTC day that is "
        "current then. The city that lags most comes first. A tick that comes too late never fills "
        "its day with another's data.",
    )
    def schedule(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return _tick(context, pipeline_of(context), job)

    return schedule


def _tick(
    context: dg.SensorEvaluationContext, pipeline: PipelineResources, job: IngestionJob
) -> dg.SensorResult:
    now = pipeline.ledger_now()
    waiting = _waiting(context, pipeline, job, now=now)
    behind = days_behind(pipeline, job.dataset, waiting.left)
    ordered = sorted(waiting.left, key=lambda each: (-behind[each], each.day, each.city))
    held = _held(Pressure(pipeline, now=now), ordered)
    room = room_for(context.instance, name_of(job)) if ordered else 0
    taken = [partition for partition in ordered if partition not in held][:room]
    requests, passed_over = [], []
    for partition in taken:
        why_not = _why_not(pipeline, job, partition, now=now)
        if why_not is None:
            requests.append(_request(job, partition, priority=priority_of(behind[partition])))
        else:
            passed_over.append(f"{partition}: {why_not}")
            context.log.warning(passed_over[-1])
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else _reason(passed_over, held) or _idle(waiting),
        cursor=str(Waiting(now, waiting.left.difference(taken))),
    )


def _held(pressure: Pressure, due: Sequence[CityDay]) -> Mapping[CityDay, Closed]:
    """Return the city-days whose upstream server takes no request now."""
    found = {each: pressure.why_held(each) for each in pressure.by_turns(due)}
    return {each: closed for each, closed in found.items() if closed is not None}


def _waiting(
    context: dg.SensorEvaluationContext,
    pipeline: PipelineResources,
    job: IngestionJob,
    *,
    now: datetime,
) -> Waiting:
    """Return the city-days that no run was requested for yet, up to now.

    Those that became due while the schedule was off are not among them.
    """
    started = context.last_sensor_start_time
    begins = None if started is None else min(datetime.fromtimestamp(started, UTC), now)
    waiting = Waiting.parse(context.cursor) if context.cursor else Waiting(begins or now)
    if begins is not None and waiting.until < begins:  # it was switched off meanwhile
        waiting = Waiting(begins)
    cities = {city.slug: city for city in pipeline.own_cities.enabled()}
    after = max(waiting.until, now - LONGEST_BACK)
    new = due_between(cities.values(), job.job_type, after=after, until=now)
    oldest = (now - LONGEST_BACK).date()
    left = {each for each in waiting.left if each.day >= oldest and each.city in cities}
    return Waiting(now, frozenset(left.union(new)))


def _why_not(
    pipeline: PipelineResources, job: IngestionJob, partition: CityDay, *, now: datetime
) -> str | None:
    """Return why a city-day that is due cannot or need not be staged; None if it is to be."""
    start = pipeline.settings.first_partition
    day = partition.day
    if day < start:
        return f"{day} has no partition: they begin at {start} (PARTITIONS_START)"
    if day >= now.date():
        return None
    city = pipeline.cities.get(partition.city)
    kept = look(pipeline.lake, pipeline.engine, city, [day], dataset=job.dataset)
    (planned,) = plan(city, [day], settings=pipeline.settings, kept=kept, now=now)
    if not planned.is_staged and planned.is_possible:
        return None
    return (
        f"this tick comes late: {day} has passed in UTC. {planned.words}. A past day is never "
        "filled with today's data; the next tick asks for the day of its own moment"
    )


def _request(job: IngestionJob, partition: CityDay, *, priority: int) -> dg.RunRequest:
    key = str(partition)
    return dg.RunRequest(
        # Dagster starts one run for a key of a sensor, also if a tick is repeated after a crash.
        run_key=f"{TRIGGER}|{job.job_type}|{key}",
        partition_key=key,
        tags={TRIGGER_TAG: TRIGGER, PRIORITY_TAG: str(priority)},
    )


def _reason(passed_over: Sequence[str], held: Mapping[CityDay, Closed]) -> str:
    """Return what a tick that requests nothing passed over, and what it holds back."""
    reasons = [*passed_over[:SHOWN]]
    for server in {closed.server for closed in held.values()}:
        waiting = [closed for closed in held.values() if closed.server == server]
        reasons.append(f"{len(waiting)} due city-days wait, because {waiting[0]}")
    return "; ".join(reasons)


def _idle(waiting: Waiting) -> str:
    if waiting.left:
        return f"{len(waiting.left)} due city-days wait until runs of this schedule have started"
    return "no city is due"
