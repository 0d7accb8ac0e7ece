"""Work for the platform on three hosts: upstream servers in their network, and what is expected.

Belongs here: servers whose data of a town and day is made by a rule, and what the database must
hold of it, made by the same rule and by nothing of the pipeline. Does not belong here: faults.
"""

from __future__ import annotations

import re
import tempfile
import threading
from collections import Counter, defaultdict
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.database import read_transaction
from ingestion_pipeline.staging.tables import (
    ingestion_run,
    poi_ingestion_staging,
    staged_partition,
)
from ingestion_pipeline_tests.support.installation import overpass_cafes
from ingestion_pipeline_tests.support.overpass_server import OverpassServer, Reply, overpass_json
from ingestion_pipeline_tests.support.s3_server import ENVIRONMENT, running_s3
from testbed.hosts import Hosts, HostsPlatform, joined_hosts, running_on
from testbed.towns import town, write_extract

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ingestion_pipeline_tests.support.overpass_server import Request
    from ingestion_pipeline_tests.support.s3_server import S3

FIRST_DAY = date(2026, 1, 1)
EDITED = datetime(2025, 6, 1, 12, tzinfo=UTC)
"""When every object was edited, as far as it says."""

CHANGES_AFTER = 3
"""A café has a name for so many days."""


class Version(NamedTuple):
    """A version of a café: its id, its validity and its name."""

    ref: str
    valid_from: date
    valid_to: date | None
    name: str


def cafes_on(number: int, day: date) -> dict[int, str]:
    """Return what the world holds of a town on a day: `{node id: name}`.

    On each day a third of the cafés has new names, and some are closed for this day.
    """
    places = range(100 * number + 1, 100 * number + 100)
    return {
        place: f"café {place} of {(day.toordinal() + place) // CHANGES_AFTER}"
        for place in places
        if (day.toordinal() + place) % 33
    }


def expected_versions(number: int, days: Sequence[date]) -> list[Version]:
    """Return the versions that staging these days must leave, in any order and with any faults.

    One version for each change: a café that is equal on two staged days that follow each other has
    one version for both.
    """
    days = sorted(days)
    ends = [*days[1:], None][: len(days)]
    names: dict[int, list[tuple[date, date | None, str | None]]] = defaultdict(list)
    for day, end in zip(days, ends, strict=True):
        there = cafes_on(number, day)
        for place in range(100 * number + 1, 100 * number + 100):
            names[place].append((day, end, there.get(place)))
    versions = []
    for place, of_days in names.items():
        for name, group in groupby(of_days, key=lambda each: each[2]):
            same = list(group)
            if name is not None:
                versions.append(Version(f"node/{place}", same[0][0], same[-1][1], name))
    return sorted(versions)


def stored_versions(connection: sa.Connection, number: int) -> list[Version]:
    """Return all versions of a town's cafés in the database."""
    columns = poi_ingestion_staging.c
    query = sa.select(columns.source_ref, columns.valid_from, columns.valid_to, columns.name).where(
        columns.city_slug == f"town-{number}"
    )
    return sorted(Version(*row) for row in connection.execute(query))


def staged_by(connection: sa.Connection) -> dict[tuple[str, date], str]:
    """Return the job that staged each city-day; each has one row."""
    columns = staged_partition.c
    rows = connection.execute(sa.select(columns.city_slug, columns.day, columns.run_id)).all()
    found = {(city, day): job for city, day, job in rows}
    assert len(found) == len(rows)
    return found


def assert_right(engine: sa.Engine, numbers: Sequence[int]) -> list[runs.Run]:
    """Check that the ledger says what is staged, and that every row is as it must be.

    It reads one state of the database, in which jobs may be active.

    Args:
        engine: The database.
        numbers: The towns.

    Returns:
        All jobs of the ledger.
    """
    with read_transaction(engine) as connection:
        jobs = [runs.Run(**row._mapping) for row in connection.execute(sa.select(ingestion_run))]
        staged = staged_by(connection)
        stored = {number: stored_versions(connection, number) for number in numbers}
    active = Counter(job.idempotency_key for job in jobs if job.status in runs.ACTIVE)
    assert all(count == 1 for count in active.values()), active
    succeeded = {(job.city_slug, job.day, job.id) for job in jobs if job.status == "SUCCEEDED"}
    assert set(staged) == {(city, day) for city, day, _ in succeeded}
    assert {(city, day, job) for (city, day), job in staged.items()} <= succeeded
    for job in jobs:
        if job.status == "SUCCEEDED":
            assert job.counts is not None
            assert job.counts["rows"] == len(cafes_on(_number(job.city_slug), job.day))
        elif job.status not in runs.ACTIVE:
            assert job.error_code
            assert job.error_message
            assert job.finished_at
    for number in numbers:
        days = [day for city, day in staged if city == f"town-{number}"]
        assert stored[number] == expected_versions(number, days), number
    return jobs


def _number(city: str) -> int:
    return int(city.rpartition("-")[2])


class Overpass(OverpassServer):
    """An Overpass server that knows all towns as they were on each day."""

    def __init__(self, *, address: str, delay_s: float = 0.0) -> None:
        super().__init__(self._answer_for, address=address)
        self.delay_s = delay_s
        self.status = "Connected as: 1\nRate limit: 2\n2 slots available now.\n"
        self.asked: Counter[tuple[int, date]] = Counter()
        """How often the objects of a town and day were asked for."""

    def _answer_for(self, request: Request) -> Reply:
        query = request.query
        found = re.search(r'\[date:"(\d{4}-\d\d-\d\d)T', query)
        assert found, query
        day = date.fromisoformat(found[1])
        box = re.search(r"50\.0000000,(\d+\.\d+),50\.1", query)
        assert box, query
        number = round((float(box[1]) - 10) * 10)
        self.asked[number, day] += 1
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        elements = overpass_cafes(cafes_on(number, day))
        for element in elements:
            element["timestamp"] = EDITED.strftime("%Y-%m-%dT%H:%M:%SZ")
        return Reply(body=overpass_json(elements, base=now), delay_s=self.delay_s)


class Extracts:
    """A server of extracts, `/<town>/<day>.osm.pbf`, that takes its time to answer.

    Attributes:
        url: The template of the setting OSM_EXTRACT.
        wait_s: How long it waits before it sends an extract.
        sent: How often it sent each file.
    """

    def __init__(self, address: str, *, wait_s: float = 0.0) -> None:
        self.wait_s = wait_s
        self.sent: Counter[str] = Counter()
        self._making = threading.Lock()
        self._made: dict[str, bytes] = {}
        self._closing = threading.Event()
        extracts = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._head()

            def do_GET(self) -> None:
                if self.path.endswith(".osm.pbf"):
                    extracts._closing.wait(extracts.wait_s)
                    extracts.sent[self.path] += 1
                self.wfile.write(self._head())

            def _head(self) -> bytes:
                found = self.path.endswith(".osm.pbf")  # there are no checksums beside
                body = extracts._file(self.path) if found else b""
                self.send_response(200 if found else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                return body

            def log_message(self, format: str, *_: object) -> None:  # noqa: A002
                """Keep quiet."""

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    self.close_connection = True  # the client is gone

        self._http = ThreadingHTTPServer((address, 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://{address}:{self._http.server_port}/{{region}}/{{day}}.osm.pbf"

    def _file(self, path: str) -> bytes:
        with self._making:
            if path not in self._made:
                name, day_text = path.strip("/").removesuffix(".osm.pbf").split("/")
                day = date.fromisoformat(day_text)
                with tempfile.TemporaryDirectory() as folder:
                    at = datetime(day.year, day.month, day.day, 20, tzinfo=UTC)
                    number = _number(name)
                    file = write_extract(
                        Path(folder, "one.osm.pbf"), cafes_on(number, day), at=at, edited=EDITED
                    )
                    self._made[path] = file.read_bytes()
            return self._made[path]

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer in threads of this process."""
        thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            self._closing.set()
            self._http.shutdown()
            thread.join()
            self._http.server_close()


class Fleet(NamedTuple):
    """The platform on its hosts, with the servers around it."""

    hosts: Hosts
    platform: HostsPlatform
    overpass: Overpass
    extracts: Extracts
    s3: S3


@contextmanager
def running_fleet(
    folder: Path,
    *,
    towns: Mapping[int, str],
    dagster_yaml: Path,
    module: str = "ingestion_pipeline.definitions",
    concurrency: int = 2,
    **settings: str,
) -> Iterator[Fleet]:
    """Start three hosts with the platform, a store and upstream servers.

    Args:
        folder: An empty folder.
        towns: The towns by number, each with its source: `overpass` or `extract`.
        dagster_yaml: How Dagster is set up.
        module: Where the code server finds the definitions.
        concurrency: The number of runs at a time of each worker.
        settings: Further environment variables.
    """
    with ExitStack() as stack:
        hosts = stack.enter_context(joined_hosts())
        core = hosts.core.address
        s3 = stack.enter_context(running_s3(core, hosts.core.listening()))
        s3.renew()
        with hosts.core.listening():
            overpass, extracts = Overpass(address=core), Extracts(core)
        overpass.timestamp = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        with (
            overpass,
            extracts.serving(),
            running_on(
                hosts,
                folder,
                towns=[town(number, osm_source=source) for number, source in towns.items()],
                dagster_yaml=dagster_yaml,
                module=module,
                concurrency=concurrency,
                DATA_DIR=s3.lake,
                OVERPASS_URL=overpass.url,
                OVERPASS_DAILY_REQUESTS="0",
                OVERPASS_DAILY_BYTES="0",
                OSM_EXTRACT=extracts.url,
                PARTITIONS_START=str(FIRST_DAY),
                **(ENVIRONMENT | {"AWS_ENDPOINT_URL": s3.url}),
                **settings,
            ) as platform,
        ):
            yield Fleet(hosts, platform, overpass, extracts, s3)
