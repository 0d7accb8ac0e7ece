"""`make dev`: everything at once on the embedded default, from the first request to Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from ingestion_pipeline.staging.database import create_engine
from ingestion_pipeline.staging.days import Slice, read_day

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

DAY = date(2019, 4, 21)
SAMPLE = {"city_slug": "helsinki", "day": DAY.isoformat()}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Session:
    """A running `poi-ingest dev`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.ui_port, self.api_port = free_port(), free_port()
        environment = os.environ | {
            "DATA_DIR": str(folder / "data"),
            "DAGSTER_HOME": str(folder / "home"),
            "STATE_DIR": str(folder / "state"),
        }
        for name in ("PYTHONDONTWRITEBYTECODE", "ADMIN_API_TOKEN", "DATABASE_URL", "CITIES_FILE"):
            environment.pop(name, None)
        ports = ["--ui-port", str(self.ui_port), "--api-port", str(self.api_port)]
        with self.log.open("w") as log:
            self.process = psutil.Popen(
                [sys.executable, "-m", "ingestion_pipeline", "dev", *ports],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{self.api_port}", timeout=30)

    def token(self) -> str:
        (token,) = re.findall(r"for this session it is (\S+)", self.log.read_text())
        return str(token)

    def wait(self, condition: Callable[[], Any], seconds: float = 120) -> Any:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                found = condition()
            except httpx.TransportError:
                found = None
            if found:
                return found
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.2)
        raise AssertionError(f"not within {seconds} s:\n{self.log.read_text()}")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with started(tmp_path) as session:
        yield session


@contextmanager
def started(folder: Path) -> Iterator[Session]:
    session = Session(folder)
    try:
        yield session
    finally:
        session.api.close()
        if session.process.is_running():
            for process in [*session.process.children(recursive=True), session.process]:
                process.kill()


def test_a_day_is_enqueued_run_by_dagster_and_told_truly_and_ctrl_c_ends_everything(
    session: Session,
) -> None:
    session.wait(lambda: "Ready." in session.log.read_text())
    session.wait(lambda: session.api.get("/v1/api/health").status_code == 200)
    enqueue = "/v1/admin/ingestion/osm/enqueue"
    assert session.api.post(enqueue, json=SAMPLE).status_code == 401
    wrong = session.api.post(enqueue, json=SAMPLE, headers={"X-Admin-Token": "wrong"})
    assert wrong.status_code == 403
    session.api.headers["X-Admin-Token"] = session.token()
    accepted = session.api.post(enqueue, json=SAMPLE)
    assert accepted.status_code == 202
    assert accepted.json()["status"] == "PENDING"

    seen = [accepted.json()["status"]]

    def ended() -> dict[str, Any] | None:
        job: dict[str, Any] = session.api.get(accepted.json()["links"]["self"]).json()
        if job["status"] != seen[-1]:
            seen.append(job["status"])
        return job if job["finished_at"] else None

    job = session.wait(ended)
    assert seen == ["PENDING", "RUNNING", "SUCCEEDED"], job
    ui = httpx.post(
        f"http://127.0.0.1:{session.ui_port}/graphql",
        json={
            "query": "query($id: ID!) { runOrError(runId: $id) { ... on Run { jobName "
            "repositoryOrigin { repositoryLocationName } } } }",
            "variables": {"id": job["dagster_run_id"]},
        },
        timeout=30,
    )
    assert ui.json()["data"]["runOrError"] == {
        "jobName": "osm_import",
        "repositoryOrigin": {"repositoryLocationName": "ingestion_pipeline"},  # as docs/api.md says
    }
    said = session.log.read_text()
    for name in ("Dagster UI", "Admin API"):
        (address,) = re.findall(rf"^  {name} +(http://127\S+)$", said, re.MULTILINE)
        assert httpx.get(address, timeout=30).status_code == 200, address
    assert "Checking for new runs" not in said
    assert "skipped:" not in said
    by_get = httpx.get(
        f"http://127.0.0.1:{session.ui_port}/graphql",
        params={"query": "mutation { wipeAssets(assetPartitionRanges: []) { __typename } }"},
    )
    assert by_get.status_code == 405
    engine = create_engine(f"sqlite:///{session.folder}/data/staging.gpkg")
    rows = read_day(engine, Slice("helsinki", "poi", "osm", DAY))
    assert rows is not None
    assert job["counts"]["rows"] == len(rows) == job["counts"]["added"]

    before = len(session.log.read_text().splitlines())
    refused = session.api.post(enqueue, json=SAMPLE | {"day": "2019-04-22"}).json()
    job = session.wait(lambda: finished(session.api.get(refused["links"]["self"]).json()))
    assert (job["status"], job["error"]["code"]) == ("FAILED", "no_evidence_for_day")
    time.sleep(2)  # what the run's process and the daemon say of it afterwards
    lines = session.log.read_text().splitlines()[before:]
    (error,) = [line for line in lines if " - ERROR - " in line]
    assert "Error (no_evidence_for_day): " in error
    assert [line for line in lines if "Stack Trace" in line or line.startswith("  File")] == []

    family = [session.process, *session.process.children(recursive=True)]
    assert len(family) > 4
    os.killpg(session.process.pid, signal.SIGINT)  # what a terminal does on Ctrl-C
    assert session.process.wait(60) == 0
    # Code servers of Dagster end by themselves a little later than who started them.
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []


def finished(job: dict[str, Any]) -> dict[str, Any] | None:
    return job if job["finished_at"] else None


@pytest.mark.parametrize("taken_one", ["--ui-port", "--api-port"])
def test_a_port_that_is_taken_is_named_before_anything_is_started(
    tmp_path: Path, taken_one: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_dev(
            tmp_path, "--ui-port", str(free_port()), "--api-port", str(free_port()), taken_one, port
        )
    assert done.returncode == 1
    variable = taken_one.removeprefix("--").replace("-", "_").upper()
    assert f"{variable} {port}" in done.stderr
    assert "port_taken" in done.stderr
    assert not (tmp_path / "home").exists()


def test_two_servers_do_not_get_one_port(tmp_path: Path) -> None:
    port = str(free_port())
    done = run_dev(tmp_path, env={"UI_PORT": port, "API_PORT": port})
    assert done.returncode == 1
    assert "Choose different ports" in done.stderr


def run_dev(
    folder: Path, *arguments: object, env: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ingestion_pipeline", "dev", *map(str, arguments)],
        cwd=folder,
        env=os.environ
        | {"DATA_DIR": str(folder / "data"), "DAGSTER_HOME": str(folder / "home"), **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
