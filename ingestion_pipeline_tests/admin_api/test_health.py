"""Health: whether a job that is accepted now would be started."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline.admin_api.app import create_app
from ingestion_pipeline.admin_api.health import MAXIMUM_SILENCE_S
from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.staging import ticks
from ingestion_pipeline.staging.clock import DatabaseClock
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline_tests.support.api_server import Api, running_api, settings_of
from ingestion_pipeline_tests.support.installation import ScriptedClock
from testbed.postgres_server import (
    READER,
    as_role,
    as_worker,
    end_sessions,
    free_port,
    make_roles,
    set_for_all,
)
from testbed.towns import NOON

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.postgres_server import PostgresServer


SENSORS = (ticks.TRIGGER_SENSOR, ticks.SWEEP_SENSOR)


def health(api: Api) -> tuple[int, dict[str, Any]]:
    reply = api.http.get("/v1/api/health", headers={"X-Admin-Token": ""})
    assert reply.headers["Cache-Control"] == "no-store"
    return reply.status_code, reply.json()


def tick(api: Api, sensor: str, *, ago_s: float = 0) -> None:
    ticks.record(api.engine, sensor, now=NOON - timedelta(seconds=ago_s))


def test_all_works_while_both_sensors_tick(fresh_api: Api) -> None:
    tick(fresh_api, ticks.TRIGGER_SENSOR, ago_s=7)
    tick(fresh_api, ticks.SWEEP_SENSOR, ago_s=MAXIMUM_SILENCE_S)
    status, body = health(fresh_api)
    assert status == 200
    assert (body["status"], body["version"]) == ("ok", version("ingestion-pipeline"))
    assert body["checks"]["admin_trigger_sensor"] == {
        "ok": True,
        "detail": None,
        "last_tick_at": "2024-06-01T11:59:53Z",
        "age_s": 7,
    }
    assert all(check["ok"] for check in body["checks"].values())


@pytest.mark.parametrize("ago_s", [None, MAXIMUM_SILENCE_S + 1, -MAXIMUM_SILENCE_S - 1])
def test_jobs_would_not_start_while_the_trigger_sensor_is_silent(
    fresh_api: Api, ago_s: float | None
) -> None:
    tick(fresh_api, ticks.SWEEP_SENSOR)
    if ago_s is not None:
        tick(fresh_api, ticks.TRIGGER_SENSOR, ago_s=ago_s)
    status, body = health(fresh_api)
    assert (status, body["status"]) == (503, "unavailable")
    assert not body["checks"]["admin_trigger_sensor"]["ok"]
    assert body["checks"]["admin_trigger_sensor"]["age_s"] == ago_s
    assert "daemon" in body["checks"]["admin_trigger_sensor"]["detail"]


def test_a_silent_sweep_is_told_but_jobs_still_start(fresh_api: Api) -> None:
    tick(fresh_api, ticks.TRIGGER_SENSOR)
    status, body = health(fresh_api)
    assert (status, body["status"]) == (200, "ok")
    assert not body["checks"]["ledger_sweep_sensor"]["ok"]


@pytest.mark.owner
def test_another_schema_is_503_and_is_noticed_while_the_api_runs(fresh_api: Api) -> None:
    for sensor in SENSORS:
        tick(fresh_api, sensor)
    assert health(fresh_api)[0] == 200
    migrate(fresh_api.engine, "0001")
    status, body = health(fresh_api)
    assert status == 503
    assert body["checks"]["database"]["ok"]
    assert not body["checks"]["migration"]["ok"]
    refused = fresh_api.enqueue()
    assert refused.status_code == 503
    assert refused.json()["code"] == "database_not_migrated"
    migrate(fresh_api.engine)
    assert fresh_api.enqueue().status_code == 202


def test_a_database_that_takes_no_writes_is_told_until_it_does_again(
    tmp_path: Path, postgis_url: str
) -> None:
    migrate(owner := create_engine(postgis_url))
    owner.dispose()
    engine = create_engine(as_worker(postgis_url), service_connections=3)
    with running_api(tmp_path, engine) as api:
        tick(api, ticks.TRIGGER_SENSOR)
        job = api.enqueue().json()
        assert health(api)[0] == 200
        set_for_all(postgis_url, "default_transaction_read_only", "on")
        end_sessions(postgis_url)
        status, body = health(api)
        assert (status, body["status"]) == (503, "unavailable")
        assert not body["checks"]["database"]["ok"]
        assert "Read-only" in body["checks"]["database"]["detail"]
        for refused in (
            api.enqueue(day="2024-05-31"),
            api.http.post(f"{job['links']['self']}/cancel"),
            api.deliver({"job_type": "osm_import", "city_slug": "town", "day": "2024-05-30"}),
        ):
            assert (refused.status_code, refused.json()["code"]) == (503, "database_read_only")
            assert int(refused.headers["Retry-After"]) > 0
            assert "DATABASE_URL" in refused.json()["detail"]
        assert api.http.get("/v1/jobs").json()["jobs"] == [job]  # reading goes on
        set_for_all(postgis_url, "default_transaction_read_only", "off")
        # It may meet the session that has read, which began before; that one is replaced then.
        if (accepted := api.enqueue(day="2024-05-31")).status_code == 503:
            accepted = api.enqueue(day="2024-05-31")
        assert accepted.status_code == 202
        assert health(api)[0] == 200
    engine.dispose()


def test_a_role_without_rights_is_told(tmp_path: Path, postgres_server: PostgresServer) -> None:
    with postgres_server.fresh_database() as url:
        migrate(owner := create_engine(url))
        owner.dispose()
        make_roles(url)
        engine = create_engine(as_role(url, READER))
        with running_api(tmp_path, engine) as api:
            status, body = health(api)
            assert status == 503
            assert "deploy/roles.sql" in body["checks"]["database"]["detail"]
            refused = api.enqueue()
            assert (refused.status_code, refused.json()["code"]) == (503, "database_forbidden")
            assert "ingestion_database_up 0.0" in api.http.get("/metrics").text
        engine.dispose()


def test_the_api_is_on_the_databases_clock(tmp_path: Path, postgis_url: str) -> None:
    migrate(owner := create_engine(postgis_url))
    owner.dispose()
    engine = create_engine(as_worker(postgis_url))
    app = create_app(settings_of(), load_cities(None), engine=engine)
    assert isinstance(app.state.service.clock, DatabaseClock)
    clock = DatabaseClock(engine, ScriptedClock(NOON))
    with running_api(tmp_path, engine, clock=clock) as api:
        job = api.enqueue().json()
    engine.dispose()
    asked = datetime.fromisoformat(job["requested_at"])
    assert abs(asked - datetime.now(UTC)) < timedelta(minutes=1)
    assert job["day"] in {str(asked.date()), str(datetime.now(UTC).date())}


@pytest.mark.server
def test_an_embedded_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/missing.gpkg")
    with running_api(tmp_path, engine) as api:
        assert health(api)[0] == 503
        assert api.enqueue().status_code == 503
        assert "ingestion_database_up 0.0" in api.http.get("/metrics").text
    assert not (tmp_path / "missing.gpkg").exists()


@pytest.mark.server
def test_the_api_starts_without_its_database_and_says_so(tmp_path: Path) -> None:
    port = free_port()
    engine = create_engine(f"postgresql://somebody:hidden@127.0.0.1:{port}/nowhere")
    with running_api(tmp_path, engine) as api:
        status, body = health(api)
        assert status == 503
        assert not any(check["ok"] for check in body["checks"].values())
        reply = api.enqueue()
        assert (reply.status_code, reply.json()["code"]) == (503, "database_unavailable")
        assert int(reply.headers["Retry-After"]) > 0
        metrics = api.http.get("/metrics")
        assert metrics.status_code == 200
        assert "ingestion_database_up 0.0" in metrics.text
        for text in (str(body), reply.text, metrics.text):
            assert not any(word in text for word in ("hidden", "somebody", "nowhere", str(port)))


@pytest.mark.server
def test_a_database_that_comes_later_is_used(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/later.gpkg")
    with running_api(tmp_path, engine) as api:
        assert api.enqueue().status_code == 503
        migrate(engine)
        assert api.enqueue().status_code == 202


@pytest.mark.server
def test_a_database_that_never_answers_does_not_hold_a_caller_for_ever(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"postgresql://somebody@127.0.0.1:{deaf.getsockname()[1]}/nowhere"
        engine = create_engine(url, service_connections=2)
        with running_api(tmp_path, engine) as api:
            assert api.enqueue().status_code == 503
