"""Requests of several workers to one server: in turn, within a budget, and ended with the lease."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest
import sqlalchemy as sa

from ingestion_pipeline.core.clock import SystemClock
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.errors import OverpassBusy, OverpassLeaseLost, UpstreamBudgetSpent
from ingestion_pipeline.sources.gate import DatabaseGate, Terms
from ingestion_pipeline.sources.overpass.client import OverpassClient
from ingestion_pipeline.sources.pbf import extract
from ingestion_pipeline.staging import upstream
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.upstream import Budget, Server, Usage
from ingestion_pipeline_tests.support.overpass_server import (
    OverpassServer,
    Reply,
    error_page,
    overpass_json,
)
from testbed.towns import write_extract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline_tests.conftest import EmptyDatabase

pytestmark = pytest.mark.server

AREA = Area(Bbox(7.40, 43.72, 7.44, 43.76), None)
SHORT = Terms(lasts_s=4.0, renewal_s=0.4, margin_s=1.0)


def gate_of(
    engine: sa.Engine, folder: Path, *, budget: Budget | None = None, terms: Terms = SHORT
) -> DatabaseGate:
    return DatabaseGate(
        lambda: engine,
        clock=SystemClock(),
        lock_dir=folder / "locks",
        worker="worker",
        budgets={"overpass": budget or Budget(), "extract": budget or Budget()},
        terms=terms,
    )


def test_a_server_without_a_slot_is_paused_for_all_workers_until_it_has_one(
    engine: sa.Engine, tmp_path: Path
) -> None:
    no_slot = Reply(429, "rate_limited", "text/html")
    status = Reply(200, "Slot available after: x, in 240 seconds.\n", "text/plain")
    with OverpassServer() as server, httpx.Client() as http:
        server.enqueue(no_slot, status)
        client = OverpassClient(
            url=server.url,
            http=http,
            clock=SystemClock(),
            gate=gate_of(engine, tmp_path),
            user_agent="tests",
            caller_retries=True,
        )
        with pytest.raises(OverpassBusy):
            client.acquire(
                AREA,
                day=datetime.now(UTC).date(),
                maximum_age=timedelta(hours=24),
                workdir=tmp_path / "work",
            )
        now = datetime.now(UTC)
        (paused,) = upstream.pauses(engine, now=now).items()
    assert paused[0] == Server("overpass", name_of(server))
    assert timedelta(minutes=3) < paused[1] - now < timedelta(minutes=5)


def name_of(server: OverpassServer | Holding) -> str:
    return server.url.split("/")[2]


def whole() -> Reply:
    return Reply(body=overpass_json(base=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"))


def acquire(
    server: OverpassServer | Holding,
    gate: DatabaseGate,
    folder: Path,
    *,
    clock: Clock | None = None,
    attempts: int = 1,
) -> None:
    with httpx.Client() as http:
        OverpassClient(
            url=server.url,
            http=http,
            clock=clock or SystemClock(),
            gate=gate,
            user_agent="tests",
            attempts=attempts,
        ).acquire(
            AREA,
            day=datetime.now(UTC).date(),
            maximum_age=timedelta(hours=1),
            workdir=folder / f"{threading.get_ident()}-{time.monotonic_ns()}",
        )


# On both databases: what is counted


def test_requests_and_bytes_are_counted_as_they_go_over_the_network(
    engine: sa.Engine, tmp_path: Path
) -> None:
    reply = replace(whole(), compressed=True)
    with OverpassServer() as server:
        server.enqueue(reply)
        acquire(server, gate_of(engine, tmp_path), tmp_path)
        sent = len(reply.payload(server.queries[0])) + len("404 Not Found")
        name = name_of(server)
    (used,) = upstream.usage_since(engine, date.min)
    # /api/timestamp was asked for too.
    assert used == Usage("overpass", name, datetime.now(UTC).date(), 2, sent)


def test_a_server_is_not_asked_when_its_budget_is_spent(engine: sa.Engine, tmp_path: Path) -> None:
    gate = gate_of(engine, tmp_path, budget=Budget(requests=4))
    with OverpassServer(default=whole()) as server:
        with pytest.raises(UpstreamBudgetSpent) as spent:  # noqa: PT012 - as often as it may
            for _ in range(9):
                acquire(server, gate, tmp_path)
        sent = len(server.requests) + len(server.asides)
    (used,) = upstream.usage_since(engine, date.min)
    assert used.requests == sent == 4
    message = str(spent.value)
    for part in (name_of(server), "OVERPASS_DAILY_REQUESTS", "Nothing was requested"):
        assert part in message
    assert spent.value.should_retry
    assert 0 < (spent.value.retry_after_s or 0) <= 86_400


def test_downloads_of_extracts_are_counted_by_host(engine: sa.Engine, tmp_path: Path) -> None:
    file = write_extract(tmp_path / "x.osm.pbf", {1: "A"}).read_bytes()
    gate = gate_of(engine, tmp_path, budget=Budget(requests=1))

    def answer(path: str) -> Reply:
        return Reply(body=file) if path == "/x.osm.pbf" else Reply(404)

    with OverpassServer(default=lambda request: answer(request.path)) as server:
        url = f"http://user:hush@{name_of(server)}/x.osm.pbf"
        arguments: dict[str, Any] = {"clock": SystemClock(), "gate": gate}
        extract.fetch(url, workdir=_folder(tmp_path / "1"), **arguments)
        asked = len(server.requests)
        with pytest.raises(
            UpstreamBudgetSpent, match=r"127\.0\.0\.1.*EXTRACT_DAILY_BYTES"
        ) as spent:
            extract.fetch(url, workdir=_folder(tmp_path / "2"), **arguments)
        assert len(server.requests) == asked
    assert "hush" not in str(spent.value)
    (used,) = upstream.usage_since(engine, date.min)
    assert (used.source, used.server) == ("extract", name_of(server))
    assert (used.requests, used.bytes) == (1, len(file))
    # A local file is no download.
    extract.fetch(str(tmp_path / "x.osm.pbf"), workdir=_folder(tmp_path / "3"), **arguments)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


# With PostgreSQL: workers of several machines


@pytest.fixture(scope="module")
def database(empty_database: EmptyDatabase) -> Iterator[str]:
    with empty_database() as url:
        migrating = create_engine(url)
        migrate(migrating)
        migrating.dispose()
        yield url


@pytest.fixture
def postgresql(database: str) -> Iterator[sa.Engine]:
    engine = create_engine(database)
    yield engine
    engine.dispose()


def test_a_request_that_lasts_keeps_its_lease(postgresql: sa.Engine, tmp_path: Path) -> None:
    slow = replace(whole(), delay_s=1.5 * SHORT.lasts_s)
    gates = [gate_of(postgresql, tmp_path / name) for name in "ab"]
    with OverpassServer(default=whole()) as server:
        server.enqueue(slow)
        runs = [threading.Thread(target=acquire, args=(server, gate, tmp_path)) for gate in gates]
        for run in runs:
            run.start()
        for run in runs:
            run.join(timeout=60)
        assert len(server.queries) == 2
        assert server.most_at_once == 1
    assert upstream.leases(postgresql) == []


HOLD = """
import pathlib, sys
from ingestion_pipeline.core.clock import SystemClock
from ingestion_pipeline.sources.gate import DatabaseGate, Terms
from ingestion_pipeline.staging.database import create_engine
from ingestion_pipeline.staging.upstream import Server

engine = create_engine(sys.argv[1])
gate = DatabaseGate(
    lambda: engine, clock=SystemClock(), lock_dir=pathlib.Path("/nowhere"), worker="other host",
    budgets={}, terms=Terms(4.0, 0.4, 1.0),
)
with gate.request(Server("overpass", sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.process
def test_the_lease_of_a_killed_worker_ends_by_itself(
    database: str, postgresql: sa.Engine, tmp_path: Path
) -> None:
    gate, server = gate_of(postgresql, tmp_path), Server("overpass", "killed.example:443")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, database, server.name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        time.sleep(SHORT.lasts_s)  # it renews
        holder.kill()
    (held,) = upstream.leases(postgresql)
    assert held.worker == "other host"
    with gate.request(server):
        taken_at = datetime.now(UTC)  # the server of these tests runs on this machine
    assert held.leased_until <= taken_at < held.leased_until + timedelta(seconds=20)


def test_a_worker_that_is_cut_off_ends_its_request_before_another_asks(
    database: str, postgresql: sa.Engine, tmp_path: Path
) -> None:
    """Its connection to the database falls silent, while the server keeps it waiting."""
    errors: list[OverpassLeaseLost] = []

    def ask(gate: DatabaseGate) -> None:
        try:
            acquire(server, gate, tmp_path)
        except OverpassLeaseLost as error:
            errors.append(error)

    with Holding() as server, Line(database) as line:
        cut_off = create_engine(line.url)
        run = threading.Thread(target=ask, args=(gate_of(cut_off, tmp_path / "a"),), daemon=True)
        run.start()
        assert server.is_asked.wait(timeout=30)
        line.falls_silent.set()
        with gate_of(postgresql, tmp_path / "b").request(Server("overpass", name_of(server))):
            is_over = server.is_over.is_set()
        run.join(timeout=10)
    cut_off.dispose()
    assert is_over
    (error,) = errors
    assert "could not be renewed" in str(error)


def test_a_worker_that_is_stopped_and_goes_on_ends_its_request(
    postgresql: sa.Engine, tmp_path: Path
) -> None:
    """Its lease was given to another one meanwhile, which it learns when it renews."""
    with OverpassServer() as server:
        server.enqueue(Reply(silent=True))

        def steal() -> None:
            while not server.queries:
                time.sleep(0.01)
            with postgresql.begin() as connection:
                connection.exec_driver_sql("UPDATE upstream_lease SET holder = 'another'")

        thief = threading.Thread(target=steal)
        thief.start()
        with pytest.raises(OverpassLeaseLost, match="another worker may ask"):
            acquire(server, gate_of(postgresql, tmp_path), tmp_path)
        thief.join()
    with postgresql.begin() as connection:
        assert connection.exec_driver_sql("DELETE FROM upstream_lease").rowcount == 1


def test_a_request_that_lost_its_lease_is_sent_again_with_another(
    postgresql: sa.Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Hurrying()
    with OverpassServer() as server:
        server.enqueue(Reply(silent=True), whole())

        def end_it() -> None:
            while not server.queries:
                time.sleep(0.01)
            with postgresql.begin() as connection:
                connection.exec_driver_sql("DELETE FROM upstream_lease")

        other = threading.Thread(target=end_it)
        other.start()
        acquire(server, gate_of(postgresql, tmp_path), tmp_path, clock=clock, attempts=2)
        other.join()
        assert len(server.queries) == 2
    assert len(clock.sleeps) == 1
    assert "another worker may ask the server" in caplog.text


def test_others_ask_while_one_waits_after_a_429(postgresql: sa.Engine, tmp_path: Path) -> None:
    busy = Reply(429, error_page("rate_limited"), "text/html; charset=utf-8")
    with OverpassServer() as server:
        server.status = "Rate limit: 2\n"
        server.enqueue(busy, whole(), whole())
        gates = [gate_of(postgresql, tmp_path / name) for name in "ab"]
        asked_meanwhile: list[int] = []

        class Waiting(Hurrying):
            def sleep(self, seconds: float) -> None:
                super().sleep(seconds)
                acquire(server, gates[1], tmp_path)
                asked_meanwhile.append(len(server.queries))

        acquire(server, gates[0], tmp_path, clock=Waiting(), attempts=2)
        assert asked_meanwhile == [2]
        assert len(server.queries) == 3


def test_one_that_is_interrupted_while_it_waits_gives_its_place_up(
    postgresql: sa.Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = Server("overpass", "interrupted.example:443")
    with gate_of(postgresql, tmp_path / "a").request(server):
        # A shell lets its background processes ignore the signal.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            interrupting = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
            interrupting.start()
            with (
                pytest.raises(KeyboardInterrupt),
                gate_of(postgresql, tmp_path / "b").request(server),
            ):
                pytest.fail("two at once")
            interrupting.join()
        finally:
            signal.signal(signal.SIGINT, before)
    with postgresql.begin() as connection:
        assert connection.exec_driver_sql("SELECT * FROM upstream_waiter").all() == []
    assert "Waiting for the lease: another run has a request to interrupted.example" in caplog.text


@dataclass
class Hurrying:
    """A clock that shows the time and does not wait."""

    sleeps: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)


class Holding:
    """A server that never answers a query, and notices when the client ends the connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/api/interpreter"
        self.is_asked = threading.Event()
        self.is_over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(timeout=5)
        self._listener.close()

    def _serve(self) -> None:
        near, _ = self._listener.accept()
        with near:
            near.recv(65536)  # /api/timestamp
            near.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            near.recv(65536)
            self.is_asked.set()
            while near.recv(65536):
                pass
            self.is_over.set()


class Line:
    """A connection to the database that can fall silent, as a cable that is cut does."""

    def __init__(self, database: str) -> None:
        url = sa.make_url(database)
        self._there = (url.host or "127.0.0.1", url.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        here = self._listener.getsockname()[1]
        self.url = url.set(host="127.0.0.1", port=here).render_as_string(hide_password=False)
        self.falls_silent = threading.Event()
        self._ends: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for end in (self._listener, *self._ends):
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._there)
            self._ends += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                if self.falls_silent.is_set():
                    continue
                other.sendall(data)
        except OSError:
            return
