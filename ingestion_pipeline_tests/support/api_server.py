"""The admin API on a real port, in a thread, and what a queue does that signs its deliveries.

Belongs here: starting and stopping the server, requests, signatures, and
what a Dagster run writes meanwhile. Does not belong here:
expectations.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import httpx
import jwt
from pydantic import SecretStr

from ingestion_pipeline.admin_api.app import create_app
from ingestion_pipeline.admin_api.server import build_server
from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import Settings
from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.database import write_transaction
from ingestion_pipeline.staging.slices import SliceResult
from ingestion_pipeline_tests.support.installation import TODAY, ScriptedClock
from testbed.towns import NOON, TOWN, write_cities

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import sqlalchemy as sa
    from fastapi import FastAPI

    from ingestion_pipeline.core.clock import Clock

TOKEN = "a-token-of-the-tests"
NEXT_TOKEN = "ключ следующий"
SIGNING_KEY = "the-key-that-signs-in-these-tests"
NEXT_SIGNING_KEY = "the-next-key-after-the-rotation--"

START = date(2024, 1, 1)
"""The first day that has a partition."""

OSM = "/v1/admin/ingestion/osm/enqueue"
HELPERS = "/v1/admin/ingestion/helpers/enqueue"
CALLBACK = "/v1/jobs/callback"

BOUNDARY = "bbox:10,50,10.1,50.1"
KEY = JobKey("osm_import", "town", BOUNDARY, TODAY)
"""What `Api.enqueue` asks for."""

COUNTS = SliceResult(rows=7, added=2, changed=1, removed=0, rejected=1, written=3).counts()
"""What `succeed` says was staged."""

CITIES = [TOWN, TOWN | {"slug": "other-town", "bbox": [11.0, 50.0, 11.1, 50.1]}]


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve an application on a free port of this machine; give its address."""
    server = build_server(app, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@dataclass(frozen=True)
class Api:
    """A running admin API.

    Attributes:
        url: Its address.
        http: A client that sends a good token, unless a request says otherwise.
        engine: Its database.
        clock: Its clock.
    """

    url: str
    http: httpx.Client
    engine: sa.Engine
    clock: ScriptedClock

    def enqueue(self, path: str = OSM, **body: Any) -> httpx.Response:
        return self.http.post(path, json={"city_slug": "town"} | body)

    def ask(self, method: str, path: str, token: bytes | str | None, **more: Any) -> httpx.Response:
        """Send a request with another token, or with none."""
        request = self.http.build_request(method, path, **more)
        del request.headers["X-Admin-Token"]
        if token is not None:
            said = token if isinstance(token, bytes) else token.encode()
            request.headers = httpx.Headers([*request.headers.raw, (b"X-Admin-Token", said)])
        return self.http.send(request)

    def deliver(
        self, body: Mapping[str, Any] | bytes, *, token: str | None = None, **headers: str
    ) -> httpx.Response:
        """Deliver a body, with a good signature unless another is given."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        signed = token if token is not None else sign(raw, url=self.url + CALLBACK)
        return self.http.post(
            CALLBACK, content=raw, headers={"Upstash-Signature": signed} | headers
        )


@contextmanager
def running_api(
    folder: Path,
    engine: sa.Engine,
    *,
    cities: Sequence[Mapping[str, Any]] = CITIES,
    clock: Clock | None = None,
    **settings: Any,
) -> Iterator[Api]:
    """Serve the admin API.

    Args:
        folder: An empty folder.
        engine: The database.
        cities: The cities; two invented towns, if nothing is said.
        clock: A clock that stands at `NOON`, if no other is given.
        settings: Settings that differ.
    """
    path = write_cities(folder / "cities.toml", cities)
    scripted = clock if isinstance(clock, ScriptedClock) else ScriptedClock()
    clock = clock or scripted
    app = create_app(settings_of(**settings), load_cities(path), engine=engine, clock=clock)
    with (
        served(app) as url,
        # Without `verify=False` each client would first read all certificates of the machine.
        # The server closes a connection that was idle for five seconds; a client that waits as
        # long, as it does by itself, now and then sends into one that is just being closed.
        httpx.Client(
            base_url=url,
            headers={"X-Admin-Token": TOKEN},
            timeout=60,
            verify=False,
            limits=httpx.Limits(keepalive_expiry=2),
        ) as http,
    ):
        yield Api(url, http, engine, scripted)


def settings_of(**others: Any) -> Settings:
    """Return settings with which the whole API is open."""
    given: dict[str, Any] = {
        "database_url": None,
        "admin_api_token": SecretStr(f"{TOKEN}, {NEXT_TOKEN}"),
        "callback_signing_keys": SecretStr(f"{SIGNING_KEY},{NEXT_SIGNING_KEY}"),
        "callback_url": None,
        "partitions_start": START,
        "start_deadline_minutes": 60,
    }
    return Settings(**given | others)


def sign(
    raw: bytes, *, url: str, key: str = SIGNING_KEY, algorithm: str = "HS256", **claims: Any
) -> str:
    """Sign a delivery as QStash does; a claim of None is left out."""
    now = datetime.now(UTC)
    digest = base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).decode()
    usual = {
        "iss": "Upstash",
        "sub": url,
        "exp": now + timedelta(minutes=5),
        "nbf": now,
        "iat": now,
        "jti": "jwt_1",
        "body": digest,
    }
    said = {name: value for name, value in (usual | claims).items() if value is not None}
    return jwt.encode(said, key, algorithm=algorithm)


def claim(engine: sa.Engine, key: JobKey = KEY) -> runs.Claim:
    """Begin to work on a key that was asked for, as a Dagster run does."""
    claimed = runs.claim(
        engine,
        key,
        dagster_run_id=str(uuid.uuid4()),
        worker="test",
        trigger="admin",
        is_alive=lambda _: True,
        now=NOON,
    )
    assert isinstance(claimed, runs.Claim)
    return claimed


def succeed(
    engine: sa.Engine, held: runs.Claim, *, counts: Mapping[str, Any] = MappingProxyType(COUNTS)
) -> None:
    """End that work well."""
    with write_transaction(engine) as connection:
        runs.fence(connection, held)
        runs.succeed(connection, held, as_of=NOON, counts=counts, now=NOON)


def fail(engine: sa.Engine, held: runs.Claim, *, now: datetime = NOON) -> None:
    """End that work badly."""
    assert runs.fail(engine, held, error_code="broken", error_message="it broke", now=now)
