"""What an enqueue costs beside a bare `SELECT 1`, over HTTP, on PostgreSQL.

The application is the real one, in a process of its own, on a PostgreSQL that waits for the disk
(fsync) as in production; it has one endpoint more, which only asks the database for `SELECT 1`.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.harness import Comparison, Contender, Values, Words
from testbed.postgres_server import free_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.bench import Bench

TITLE = "Enqueue over HTTP"
REQUESTS = 200
"""Per round and kind, over all callers together."""

CALLERS = (1, 50)
TOKEN = "a-token-of-the-benchmark"  # noqa: S105  # nobody else's
FIRST_DAY = date(2019, 4, 21)
CITIES = ("kazan", "sochi", "moscow")
ENQUEUE = "/v1/admin/ingestion/osm/enqueue"

SERVER = """
import sys
import sqlalchemy as sa
from ingestion_pipeline.admin_api.app import create_app
from ingestion_pipeline.admin_api.server import build_server
from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import load_settings
from ingestion_pipeline.staging.database import migrate, read_transaction
app = create_app(load_settings(), load_cities(None))
engine = app.state.service.engine
migrate(engine)
@app.get("/select-1")
def select_1() -> int:
    with read_transaction(engine) as connection:
        return connection.execute(sa.text("SELECT 1")).scalar_one()
build_server(app, host="127.0.0.1", port=int(sys.argv[1])).run()
"""


@dataclass(frozen=True)
class Request:
    """A request to the API; without a body it is a GET."""

    path: str
    body: dict[str, str] | None = None


class Caller:
    """One connection to the API, used again and again."""

    def __init__(self, port: int) -> None:
        """Connect to the API of a port, at the first call."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def call(self, request: Request) -> float:
        """Send a request, read the whole answer, and tell how long that took, in seconds.

        Raises:
            RuntimeError: The answer is an error.
        """
        method = "GET" if request.body is None else "POST"
        body = None if request.body is None else json.dumps(request.body)
        start = perf_counter()
        self._connection.request(method, request.path, body, {"X-Admin-Token": TOKEN})
        answer = self._connection.getresponse()
        answer.read()
        took = perf_counter() - start
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise RuntimeError(f"{method} {request.path}: {answer.status}")
        return took

    def call_all(self, requests: Iterable[Request]) -> list[float]:
        """Send requests, one after the other."""
        return [self.call(request) for request in requests]


SELECT_1 = Request("/select-1")


@contextmanager
def running_api(database_url: str) -> Iterator[int]:
    """Serve the application in a process of its own; give its port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "DATABASE_URL": database_url,
            "DATA_DIR": folder,
            "ADMIN_API_TOKEN": TOKEN,
            "PARTITIONS_START": FIRST_DAY.isoformat(),
        }
        process = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], env=environment)
        try:
            wait_for(process, port)
            yield port
        finally:
            process.terminate()
            process.wait()


def wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server answers.

    Raises:
        RuntimeError: It ended instead.
    """
    while process.poll() is None:
        try:
            Caller(port).call(SELECT_1)
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the server did not start")


def city_days() -> Iterator[Request]:
    """Ask for city-days, each once."""
    for offset in itertools.count():
        day = FIRST_DAY + timedelta(days=offset)
        for city in CITIES:
            yield Request(ENQUEUE, {"city_slug": city, "day": day.isoformat()})


def comparisons(bench: Bench) -> Iterator[Comparison]:
    """Compare one caller and many; each run is a round of requests."""
    missing = peers.missing_postgresql()
    if missing is not None:
        yield Comparison(Words("any callers"), [Contender("enqueue", dict, missing)])
        return
    unused = city_days()
    held = next(unused)
    kinds = {
        "`SELECT 1`": itertools.repeat(SELECT_1),
        "enqueue, the key is held": itertools.repeat(held),
        "enqueue, a new job": unused,
    }
    with running_api(bench.new_database()) as port:
        for number in CALLERS:
            callers = [Caller(port) for _ in range(number)]
            contenders = [
                Contender(kind, partial(measure, callers, requests))
                for kind, requests in kinds.items()
            ]
            yield Comparison(Words(f"{number} at once"), contenders, ("median ms",))


def measure(callers: Sequence[Caller], requests: Iterator[Request]) -> Values:
    """Send a round of requests from all callers at once; tell how long they took."""
    some = list(itertools.islice(requests, REQUESTS))
    shares = [some[number :: len(callers)] for number in range(len(callers))]
    with ThreadPoolExecutor(len(callers)) as pool:
        times = list(itertools.chain(*pool.map(Caller.call_all, callers, shares)))
    return {
        "median ms": statistics.median(times) * 1000,
        "95 % ms": statistics.quantiles(times, n=20)[-1] * 1000,
    }
