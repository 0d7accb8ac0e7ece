"""`poi-ingest serve` as a process of its own, with many callers, and while its database is away."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import sqlalchemy as sa

from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.tables import ingestion_run
from ingestion_pipeline_tests.support.api_server import CITIES, OSM, TOKEN
from testbed.platform_processes import wait_until
from testbed.postgres_server import free_port, private_cluster
from testbed.towns import write_cities

if TYPE_CHECKING:
    from collections.abc import Iterator

POI_INGEST = Path(sys.executable).with_name("poi-ingest")
LONG_ENOUGH_S = 60
TOWN_TODAY = {"city_slug": "town"}


@dataclass(frozen=True)
class Served:
    """The command, serving."""

    process: subprocess.Popen[str]
    http: httpx.Client
    log: Path

    def enqueue(self) -> httpx.Response:
        return self.http.post(OSM, json=TOWN_TODAY)

    def end(self, how: signal.Signals = signal.SIGINT) -> tuple[int, str, str]:
        """Tell it to stop; give its exit code, and what it wrote."""
        self.process.send_signal(how)
        output, _ = self.process.communicate(timeout=LONG_ENOUGH_S)
        return self.process.returncode, output, self.log.read_text("utf-8")


@contextmanager
def serving(folder: Path, database_url: str, *, token: str = TOKEN) -> Iterator[Served]:
    """Serve on a free port, and wait until it takes connections."""
    port = free_port()
    write_cities(folder / "cities.toml", CITIES)
    environment = os.environ | {
        "DATABASE_URL": database_url,
        "DATA_DIR": str(folder / "lake"),
        "CITIES_FILE": str(folder / "cities.toml"),
        "ADMIN_API_TOKEN": token,
        "CALLBACK_SIGNING_KEYS": "",
    }
    log = folder / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [POI_INGEST, "serve", "--port", str(port)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    headers = {"X-Admin-Token": TOKEN}
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, headers=headers, timeout=LONG_ENOUGH_S, verify=False) as http:
        try:
            wait_until(lambda: process.poll() is not None or listens(port), "it listens")
            assert process.poll() is None, log.read_text()
            yield Served(process, http, log)
        finally:
            process.kill()
            process.communicate()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def jobs_in(database_url: str) -> int:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        count = connection.execute(sa.select(sa.func.count()).select_from(ingestion_run))
        number: int = count.scalar_one()
    engine.dispose()
    return number


def migrated(database_url: str) -> str:
    engine = create_engine(database_url)
    migrate(engine)
    engine.dispose()
    return database_url


@pytest.mark.parametrize(
    ("kind", "times", "at_once"), [("postgis_url", 1000, 50), ("geopackage", 200, 20)]
)
def test_one_key_that_is_asked_for_many_times_at_once_is_one_job(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, times: int, at_once: int
) -> None:
    geopackage = f"sqlite:///{tmp_path}/staging.gpkg"
    url = migrated(geopackage if kind == "geopackage" else request.getfixturevalue(kind))
    with serving(tmp_path, url) as served, ThreadPoolExecutor(at_once) as callers:
        replies = list(callers.map(lambda _: served.enqueue(), range(times)))
    assert Counter(reply.status_code for reply in replies) == {202: 1, 200: times - 1}
    assert len({reply.json()["job_id"] for reply in replies}) == 1
    assert jobs_in(url) == 1


def test_the_api_lives_through_an_outage_of_its_database(tmp_path: Path) -> None:
    with private_cluster(durable=True) as cluster:
        url = cluster.create_database("staging").render_as_string(hide_password=False)
        cluster.stop()
        with serving(tmp_path, url) as served:
            assert served.enqueue().status_code == 503
            cluster.start()
            migrated(url)
            assert served.enqueue().status_code == 202
            cluster.stop()
            for _ in range(30):
                reply = served.enqueue()
                assert (reply.status_code, reply.json()["code"]) == (503, "database_unavailable")
            assert served.http.get("/v1/api/health").status_code == 503
            cluster.start()
            assert served.enqueue().status_code == 200
            _, _, log = served.end()
        assert jobs_in(url) == 1
    assert "Traceback" not in log
    assert TOKEN not in log


def test_serve_says_where_it_is_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    with serving(tmp_path, migrated(f"sqlite:///{tmp_path}/staging.gpkg")) as served:
        assert served.enqueue().status_code == 202
        code, output, log = served.end()
    address = str(served.http.base_url).rstrip("/")
    assert code == 0
    assert output.startswith(f"admin API on {address}\n")
    assert "ADMIN_API_TOKEN" not in output
    assert "CALLBACK_SIGNING_KEYS is not set: the callback is closed" in output
    assert f'"POST {OSM} HTTP/1.1" 202' in log
    assert "Traceback" not in log


def test_serve_says_that_it_is_closed_without_a_token(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/staging.gpkg"
    with serving(tmp_path, url, token="") as served:
        assert served.enqueue().json()["code"] == "not_configured"
        _, output, _ = served.end(signal.SIGTERM)
    assert "ADMIN_API_TOKEN is not set" in output


def test_a_port_that_is_taken_ends_serve_with_a_sentence(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/staging.gpkg"
    with serving(tmp_path, url) as served:
        second = subprocess.run(
            [POI_INGEST, "serve", "--port", str(served.http.base_url.port)],
            env=os.environ | {"DATABASE_URL": url},
            capture_output=True,
            text=True,
            check=False,
        )
    assert second.returncode == 1
    assert "address already in use" in second.stderr
    assert "Traceback" not in second.stderr
