"""Seeded faults on the platform's three hosts, and a table of what became of the jobs at work.

Belongs here: each kind of fault with its end, a caller of the admin API that goes on meanwhile, and
the table. Does not belong here: expectations of the rows.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, TypeVar

import httpx
import sqlalchemy as sa

from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.errors import StagingError
from ingestion_pipeline.staging.tables import ingestion_run
from ingestion_pipeline_tests.support.hosts_work import FIRST_DAY
from ingestion_pipeline_tests.support.s3_server import SLOW_DOWN
from testbed.platform_processes import LONG_ENOUGH_S, TOKEN, WORKERS, Name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ingestion_pipeline_tests.support.hosts_work import Fleet

T = TypeVar("T")

AN_HOUR_S = 3600
PATIENCE_S = 600
"""A worker starts in some seconds, and in more if the machine has other work."""

SERVICES: tuple[Name, ...] = ("code-server", "webserver", "daemon", "api")


@dataclass
class Fault:
    """A fault that was injected.

    Attributes:
        kind: Which.
        at: When it began.
        hit: The jobs that were at work where it happened, by id, as they were.
    """

    kind: str
    at: datetime
    hit: dict[str, runs.Run] = field(default_factory=dict)


class Caller(threading.Thread):
    """Enqueues city-days over the admin API, one after the other, until it is stopped.

    A day that was not accepted is asked for again: a caller does not know what was lost.

    Attributes:
        accepted: The ids of the jobs that the API has confirmed.
        refused: How often it did not.
    """

    def __init__(self, fleet: Fleet, towns: Sequence[int], seed: int, *, most_active: int) -> None:
        super().__init__(name="caller")
        self.accepted: list[str] = []
        self.refused: Counter[str] = Counter()
        self._fleet = fleet
        self._stopping = threading.Event()
        self._most_active = most_active
        self._days = _in_random_order(towns, random.Random(seed))
        self._random = random.Random(seed)

    def run(self) -> None:
        """Enqueue until `stop`."""
        platform = self._fleet.platform
        with httpx.Client(
            base_url=f"http://{platform.address}:{platform.ports['api']}",
            headers={"X-Admin-Token": TOKEN},
            timeout=10,
        ) as client:
            for wanted in self._days:
                while not self._stopping.wait(self._random.uniform(1, 3)):
                    if self._enqueue(client, wanted):
                        break
                if self._stopping.is_set():
                    return

    def stop(self) -> None:
        """Let the last request end."""
        self._stopping.set()
        self.join()

    def _enqueue(self, client: httpx.Client, wanted: dict[str, str]) -> bool:
        try:
            if len(active(self._fleet.platform.engine)) >= self._most_active:
                return False
            reply = client.post("/v1/admin/ingestion/osm/enqueue", json=wanted)
        except (httpx.HTTPError, sa.exc.DBAPIError) as error:
            self.refused[type(error).__name__] += 1
            return False
        if not reply.is_success:
            self.refused[str(reply.status_code)] += 1
            return False
        self.accepted.append(reply.json()["job_id"])
        return True


class Faults:
    """Faults on a fleet, in a random order that a seed gives.

    Attributes:
        injected: The faults, in order.
        restarted: The services that had ended by themselves, and their last line.
    """

    def __init__(self, fleet: Fleet, seed: int, *, lease_s: int) -> None:
        self.injected: list[Fault] = []
        self.restarted: list[str] = []
        self._fleet = fleet
        self._platform = fleet.platform
        self._random = random.Random(seed)
        self._lease_s = lease_s
        self._kinds: dict[str, tuple[int, Callable[[Fault], None]]] = {
            "worker killed": (14, self._kill_worker),
            "process of a run killed": (16, self._kill_run),
            "host cut off for less than its lease": (10, self._cut_off_briefly),
            "host cut off for longer than its lease": (10, self._cut_off),
            "Redis restarted": (8, self._restart_redis),
            "Redis emptied": (8, self._empty_redis),
            "store answers 503": (10, self._slow_store),
            "PostgreSQL failed over": (8, self._fail_over),
            "clock of a host set off": (8, self._set_clock),
            "job canceled": (8, self._cancel),
        }

    def order(self, number: int) -> list[str]:
        """Return so many kinds in random order, each about as often as its weight says."""
        weights = {kind: weight for kind, (weight, _) in self._kinds.items()}
        total = sum(weights.values())
        kinds = [
            kind
            for kind, weight in weights.items()
            for _ in range(max(1, round(number * weight / total)))
        ]
        self._random.shuffle(kinds)
        return kinds

    def inject(self, kind: str) -> Fault:
        """Let something happen, and let it pass; return what it was."""
        time.sleep(self._random.uniform(0.5, 3))
        fault = Fault(kind, self._now())
        self._kinds[kind][1](fault)
        self.injected.append(fault)
        self._keep_services()
        return fault

    def end(self) -> None:
        """Let all be well."""
        for name in WORKERS:
            self._platform.set_clock(name, 0)

    def _kill_worker(self, fault: Fault) -> None:
        name = self._worker()
        fault.hit = self._at_work(name)
        self._platform.kill(name)
        time.sleep(self._random.uniform(0, 3))
        self._platform.programs[name].start()

    def _kill_run(self, fault: Fault) -> None:
        job = self._any_job_at_work()
        if job is not None:
            fault.hit = {job.id: job}
            self._platform.kill_worker(job.worker)

    def _cut_off_briefly(self, fault: Fault) -> None:
        self._cut_off_for(fault, self._random.uniform(2, self._lease_s / 2))

    def _cut_off(self, fault: Fault) -> None:
        self._cut_off_for(fault, self._lease_s + self._random.uniform(3, 10))

    def _cut_off_for(self, fault: Fault, seconds: float) -> None:
        name = self._worker()
        fault.hit = self._at_work(name)
        host = self._fleet.hosts.workers[name]
        host.cut_off()
        try:
            time.sleep(seconds)
        finally:
            host.join()

    def _restart_redis(self, fault: Fault) -> None:
        fault.hit = self._at_work()
        self._platform.stop("redis")  # it writes what it has, and reads it again
        time.sleep(self._random.uniform(0, 3))
        self._platform.start("redis")

    def _empty_redis(self, fault: Fault) -> None:
        fault.hit = self._active()
        self._platform.redis("FLUSHALL")

    def _slow_store(self, fault: Fault) -> None:
        fault.hit = self._at_work()
        self._fleet.s3.fault = lambda _: SLOW_DOWN
        time.sleep(self._random.uniform(2, 15))
        self._fleet.s3.fault = None

    def _fail_over(self, fault: Fault) -> None:
        fault.hit = self._at_work()
        self._platform.servers.fail_over()
        self._platform.servers.add_standby()

    def _set_clock(self, fault: Fault) -> None:
        name = self._worker()
        fault.hit = self._at_work(name)
        self._platform.set_clock(name, self._random.choice([-AN_HOUR_S, 0, AN_HOUR_S]))

    def _cancel(self, fault: Fault) -> None:
        job = self._any_job_at_work()
        if job is not None:
            fault.hit = {job.id: job}
            reply = patiently(
                lambda: self._platform.api.post(f"/v1/jobs/{job.id}/cancel", timeout=30)
            )
            assert reply.status_code < 500, reply.text

    def _worker(self) -> Name:
        """Choose a worker that works; both are started again after they were killed."""
        name = self._random.choice(WORKERS)
        self._platform.wait_for(name, timeout=PATIENCE_S)
        return name

    def _active(self) -> dict[str, runs.Run]:
        return {job.id: job for job in patiently(lambda: active(self._platform.engine))}

    def _at_work(self, host: str = "") -> dict[str, runs.Run]:
        return {
            job.id: job
            for job in self._active().values()
            if job.status == "RUNNING" and job.worker and job.worker.startswith(host)
        }

    def _any_job_at_work(self) -> runs.Run | None:
        deadline = time.monotonic() + 20
        while not (found := self._at_work()) and time.monotonic() < deadline:
            time.sleep(0.5)
        if not found:
            return None
        return self._random.choice(sorted(found.values(), key=lambda job: job.id))

    def _keep_services(self) -> None:
        """Start again what has ended, as a service manager does."""
        for name in (*SERVICES, *WORKERS):
            program = self._platform.programs[name]
            if not program.runs:
                last = program.log.read_text(errors="replace").rstrip().rpartition("\n")[2]
                self.restarted.append(f"{name} ({self.injected[-1].kind}): {last}")
                program.start()

    def _now(self) -> datetime:
        """Return the database's time, in which the ledger counts."""

        def ask() -> datetime:
            with self._platform.engine.connect() as connection:
                now = sa.func.clock_timestamp(type_=sa.DateTime(timezone=True))
                return connection.execute(sa.select(now)).scalar_one()

        return patiently(ask)


def patiently(ask: Callable[[], T]) -> T:
    """Ask the database, or a service that needs it, until it answers: it may be failing over."""
    deadline = time.monotonic() + LONG_ENOUGH_S
    while True:
        try:
            return ask()
        except (sa.exc.DBAPIError, StagingError, httpx.HTTPError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def active(engine: sa.Engine) -> list[runs.Run]:
    """Return the active jobs of the ledger."""
    query = sa.select(ingestion_run).where(ingestion_run.c.status.in_(runs.ACTIVE))
    with engine.connect() as connection:
        return [runs.Run(**row._mapping) for row in connection.execute(query)]


def _in_random_order(towns: Sequence[int], chance: random.Random) -> Iterator[dict[str, str]]:
    """Return all city-days of the towns; days are near each other and in no order."""
    for first in range(0, 300, 5):
        days = [FIRST_DAY + timedelta(days=first + number) for number in range(5)]
        wanted = [{"city_slug": f"town-{town}", "day": str(day)} for town in towns for day in days]
        chance.shuffle(wanted)
        yield from wanted


def table(faults: Sequence[Fault], ended: dict[str, runs.Run]) -> str:
    """Return a table in Markdown: what became of the jobs that were at work at each kind of fault.

    Its columns: how many SUCCEEDED by the run that was at work, and by a later one; how many ended
    otherwise; the most attempts of a job; and how long after the beginning of a fault the last of
    its jobs had ended, in the median and at most.

    Args:
        faults: The faults.
        ended: The jobs as they ended, by id. A job that several faults hit counts for each.
    """
    lines = [
        "| fault | count | at work | same run | later run | FAILED | CANCELED | attempts | ended |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind in sorted({fault.kind for fault in faults}):
        of_kind = [fault for fault in faults if fault.kind == kind]
        pairs = [(before, ended[job]) for fault in of_kind for job, before in fault.hit.items()]
        done = [(before, job) for before, job in pairs if job.status == "SUCCEEDED"]
        same = sum(before.dagster_run_id in {None, job.dagster_run_id} for before, job in done)
        codes = Counter(job.error_code for _, job in pairs if job.status == "FAILED")
        recovered = [
            max((ended[job].finished_at or fault.at) - fault.at for job in fault.hit)
            for fault in of_kind
            if fault.hit
        ]
        seconds = [each.total_seconds() for each in recovered]
        times = f"{median(seconds):.0f} s, {max(seconds):.0f} s" if seconds else "-"
        failed = ", ".join(f"{count} `{code}`" for code, count in codes.items()) or "0"
        lines.append(
            f"| {kind} | {len(of_kind)} | {len(pairs)} | {same} | {len(done) - same} | {failed} "
            f"| {sum(job.status == 'CANCELED' for _, job in pairs)} "
            f"| {max((job.attempt for _, job in pairs), default=0)} | {times} |"
        )
    return "\n".join(lines)
