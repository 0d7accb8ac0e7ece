"""The contract against the running API: schemathesis, a generated client, and plain nonsense."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from ingestion_pipeline.staging import ticks
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline_tests.support.api_server import (
    CALLBACK,
    COUNTS,
    HELPERS,
    KEY,
    OSM,
    SIGNING_KEY,
    TOKEN,
    Api,
    claim,
    running_api,
    sign,
    succeed,
)
from ingestion_pipeline_tests.support.installation import ScriptedClock
from ingestion_pipeline_tests.support.promoted import promote, stage_places
from testbed.postgres_server import OWNER, READER, WORKER, as_role, make_roles
from testbed.towns import TOWN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from testbed.postgres_server import PostgresServer

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "openapi.yaml"
READ_TOKEN = "a-token-of-the-readers"
SCRIPTS = Path(sys.executable).parent
NOW = datetime.combine(date(2026, 11, 20), time(12), UTC)


@pytest.fixture(scope="module")
def api(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API on PostgreSQL, with the city of the contract's examples, on their day."""
    with postgres_server.fresh_database() as url:
        make_roles(url)
        owner = create_engine(as_role(url, OWNER))
        migrate(owner)
        owner.dispose()
        make_roles(url)
        engine = create_engine(as_role(url, WORKER), service_connections=20)
        ticks.record(engine, ticks.TRIGGER_SENSOR, now=NOW)
        with running_api(
            tmp_path_factory.mktemp("api"),
            engine,
            cities=[TOWN | {"slug": "kazan", "promotion": "review"}],
            clock=ScriptedClock(NOW),
            reader_database_url=SecretStr(as_role(url, READER)),
            read_api_token=SecretStr(READ_TOKEN),
        ) as running:
            yield running
        engine.dispose()


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    """Run an installed command; give what it said."""
    environment |= {
        "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "ingestion_pipeline_tests.support.schemathesis_hooks",
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_running_api_keeps_its_contract(api: Api, tmp_path: Path) -> None:
    said = run(
        SCRIPTS / "schemathesis", "run", DOCUMENT, "--url", api.url, "--checks", "all",
        "--header", f"X-Admin-Token: {TOKEN}", "--header", f"X-Read-Token: {READ_TOKEN}",
        "--max-examples", "20", "--continue-on-failure",
        "--warnings", "off",  # that promotions and places of the examples do not exist
        folder=tmp_path,
    )  # fmt: skip
    assert "Operations:       22 selected / 22 total" in said
    assert "No issues found" in said


# The manual


def calls_of_the_manual() -> list[str]:
    manual = (ROOT / "docs" / "api.md").read_text("utf-8").partition("\n## GraphQL\n")[0]
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", manual, re.MULTILINE | re.DOTALL)
    return [text for language, text in fences if not language and "curl" in text]


def test_the_calls_of_the_manual_work_as_they_stand(api: Api, tmp_path: Path) -> None:
    stage_places(api.engine, "kazan", date(2024, 3, 4), {"node/1": {"name": "Café"}})
    proposed = promote(api.engine, "kazan", date(2024, 3, 4), policy="review")
    environment = {
        "API": api.url,
        "ADMIN_API_TOKEN": TOKEN,
        "READ_API_TOKEN": READ_TOKEN,
        "CALLBACK_SIGNING_KEYS": SIGNING_KEY,
        "JOB_ID": api.enqueue(city_slug="kazan", day="2024-03-03").json()["job_id"],
        "PROMOTION_ID": proposed.id,
    }
    answers = [
        run(
            "bash", "-euc", fence.replace("curl -sS", "curl -sS --fail-with-body"),
            folder=tmp_path, **environment,
        )
        for fence in calls_of_the_manual()
    ]  # fmt: skip
    asked, helpers, looked, listed, canceled, *others = answers
    promoted, approved, reviewed, changes, delivered, health, metrics = others
    assert json.loads(asked)["idempotency_key"].endswith("|2026-11-20")
    assert json.loads(helpers)["job_type"] == "helpers_import"
    assert json.loads(looked)["status"] == "PENDING"
    assert json.loads(listed)["jobs"] == []
    assert json.loads(canceled)["status"] == "CANCELED"
    assert json.loads(promoted)["job_type"] == "poi_promotion"
    assert json.loads(approved)["promotion"]["promotion_id"] == proposed.id
    assert json.loads(reviewed)["kinds"] == [{"kind": "appeared", "count": 1, "matching": 1}]
    assert json.loads(changes) == {"changes": [], "cursor": None, "more": False}
    assert json.loads(delivered)["job_id"] == json.loads(asked)["job_id"]
    assert json.loads(health)["status"] == "ok"
    assert "ingestion_database_up 1.0" in metrics


# A client that is generated


@pytest.fixture(scope="module")
def client(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("client")
    run(
        SCRIPTS / "openapi-python-client", "generate", "--path", DOCUMENT, "--meta", "none",
        "--output-path", folder / "generated_client", "--fail-on-warning",
        folder=folder,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        client = Client(api.url)
        with client.made:
            yield client


class Client:
    """The generated client, as a user of it calls it."""

    def __init__(self, url: str) -> None:
        self.models = import_module("generated_client.models")
        self.made = import_module("generated_client").AuthenticatedClient(
            base_url=url, token=TOKEN, raise_on_unexpected_status=True
        )

    def __call__(self, operation: str, *, tag: str = "jobs", **arguments: Any) -> Any:
        """Call an operation; give status and parsed body."""
        module: ModuleType = import_module(f"generated_client.api.{tag}.{operation}")
        reply = module.sync_detailed(client=self.made, **arguments)
        return reply.status_code, reply.parsed


def test_a_generated_client_asks_looks_lists_and_cancels(client: Client) -> None:
    asked = client.models.EnqueueRequest(city_slug="kazan", day=date(2024, 5, 1))
    status, job = client("enqueue_osm_import", body=asked)
    assert (status, job.status.value, job.day) == (202, "PENDING", date(2024, 5, 1))
    assert job.requested_at == NOW
    assert isinstance(job.job_id, uuid.UUID)
    assert client("enqueue_osm_import", body=asked) == (200, job)
    assert client("get_job", job_id=job.job_id) == (200, job)
    _, page = client("list_jobs", day=date(2024, 5, 1), limit=1)
    assert page.jobs == [job]
    status, canceled = client("cancel_job", job_id=job.job_id)
    assert (status, canceled.status.value) == (200, "CANCELED")
    assert canceled.error.code == "canceled"
    status, other = client("enqueue_helpers_import", body=asked)
    assert (status, other.job_type.value) == (202, "helpers_import")


def test_a_generated_client_has_types_for_what_was_staged(client: Client, api: Api) -> None:
    asked = client.models.EnqueueRequest(city_slug="kazan", day=date(2024, 5, 2))
    _, job = client("enqueue_osm_import", body=asked)
    assert job.counts is None
    succeed(api.engine, claim(api.engine, replace(KEY, city_slug="kazan", day=asked.day)))
    _, job = client("get_job", job_id=job.job_id)
    assert str(job.outcome) == "complete"
    assert isinstance(job.counts, client.models.JobCounts)
    assert (job.counts.rows, job.counts.failed.to_dict()) == (COUNTS["rows"], {})


def test_a_generated_client_understands_problems(client: Client) -> None:
    nowhere = client.models.EnqueueRequest(city_slug="nowhere")
    status, problem = client("enqueue_osm_import", body=nowhere)
    assert (status, problem.code) == (404, "unknown_city")
    future = client.models.EnqueueRequest(city_slug="kazan", day=date(2099, 1, 1))
    status, problem = client("enqueue_osm_import", body=future)
    assert (status, [mistake.field for mistake in problem.errors]) == (422, ["day"])
    status, problem = client("get_job", job_id=uuid.uuid4())
    assert (status, problem.code) == (404, "unknown_job")


def test_a_generated_client_reads_health_and_is_refused_without_a_signature(
    client: Client,
) -> None:
    status, health = client("get_health", tag="operation")
    assert (status, health.status.value) == (200, "ok")
    assert health.checks.admin_trigger_sensor.age_s == 0
    delivery = client.models.CallbackRequest(city_slug="kazan")
    status, problem = client("receive_delivery", body=delivery)
    assert (status, problem.code) == (401, "signature_invalid")


# Nonsense

SETTINGS = settings(max_examples=150, deadline=None)

TEXTS = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["kazan", "2024-05-01", "0001-01-01", "\x00", "\ud800", "9" * 400])
    | st.dates().map(date.isoformat),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
BODIES = st.fixed_dictionaries(
    {"city_slug": st.just("kazan") | VALUES},
    optional={"day": VALUES, "refetch": VALUES, "job_type": VALUES, "\x00": VALUES},
).map(lambda body: json.dumps(body).encode())


@SETTINGS
@given(path=st.sampled_from([OSM, HELPERS, CALLBACK]), raw=BODIES | st.binary(max_size=200))
def test_no_body_is_an_error_of_the_server(api: Api, path: str, raw: bytes) -> None:
    signature = sign(raw, url=api.url + path)
    reply = api.http.post(path, content=raw, headers={"Upstash-Signature": signature})
    assert reply.status_code < 500, reply.text
    assert reply.status_code in (200, 202) or reply.json()["code"]


@SETTINGS
@given(
    query=st.lists(
        st.tuples(
            st.sampled_from(["city_slug", "day", "status", "limit", "cursor"]) | TEXTS,
            TEXTS | st.dates().map(date.isoformat) | st.from_regex("[0-9a-f]{44}"),
        ),
        max_size=4,
    )
)
def test_no_query_is_an_error_of_the_server(api: Api, query: list[tuple[str, str]]) -> None:
    reply = api.http.get("/v1/jobs", params=httpx.QueryParams(tuple(query)))
    assert reply.status_code < 500, reply.text


NAMES = [
    b"X-Admin-Token",
    b"Upstash-Signature",
    b"Upstash-Message-Id",
    b"Content-Length",
    b"Content-Type",
    b"Transfer-Encoding",
    b"Host",
    b"Accept",
    b"Expect",
    b"Upgrade",
]
ASCII = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40).map(str.encode)
HEADERS = st.tuples(
    st.sampled_from(NAMES) | st.binary(min_size=1, max_size=20),
    st.sampled_from([b"chunked", b"100-continue", b"7", b"-1"]) | ASCII | st.binary(max_size=40),
)
TARGETS = [OSM, CALLBACK, "/v1/jobs", "/v1/api/health", "/metrics"]
START_LINES = st.tuples(
    st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD"]) | ASCII | st.binary(max_size=9),
    st.sampled_from([path.encode() for path in TARGETS]) | ASCII | st.binary(max_size=30),
)


@SETTINGS
@given(
    start=START_LINES,
    headers=st.lists(HEADERS, max_size=4),
    has_token=st.booleans(),
    body=st.binary(max_size=50) | BODIES,
)
def test_no_bytes_on_the_wire_are_an_error_of_the_server(
    api: Api,
    start: tuple[bytes, bytes],
    headers: list[tuple[bytes, bytes]],
    *,
    has_token: bool,
    body: bytes,
) -> None:
    usual = [(b"Host", b"127.0.0.1"), (b"Connection", b"close")]
    if has_token:
        usual += [(b"X-Admin-Token", TOKEN.encode()), (b"Content-Length", b"%d" % len(body))]
    lines = [b"%s %s HTTP/1.1" % start]
    lines += [b"%s: %s" % header for header in usual + headers]
    reply = sent_raw(api, b"\r\n".join(lines) + b"\r\n\r\n" + body)
    assert not re.match(rb"HTTP/1\.1 5", reply), reply
    assert api.http.get("/v1/jobs", params={"limit": 1}).status_code == 200


def sent_raw(api: Api, data: bytes) -> bytes:
    """Send bytes and nothing more; give what comes back until the server has had enough."""
    host, _, port = api.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as wire:
        wire.sendall(data)
        wire.shutdown(socket.SHUT_WR)
        reply = bytearray()
        try:
            while chunk := wire.recv(65536):
                reply += chunk
        except ConnectionResetError:
            pass
        return bytes(reply)
