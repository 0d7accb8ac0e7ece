"""Expiry: a job that never starts does not stay PENDING for ever, even if only the API lives."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from ingestion_pipeline.admin_api.expiry import expire, keep_expiring
from ingestion_pipeline.admin_api.service import Service
from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline_tests.support.api_server import KEY, claim, running_api, settings_of
from ingestion_pipeline_tests.support.installation import ScriptedClock
from testbed.platform_processes import wait_until
from testbed.towns import NOON

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

    from ingestion_pipeline_tests.support.api_server import Api

HOUR = 3600
"""The deadline of these tests' settings."""


def service_of(engine: sa.Engine, clock: ScriptedClock) -> Service:
    return Service(settings_of(), load_cities(None), engine, clock)


def test_a_job_that_waited_past_the_deadline_failed_and_the_key_is_free(fresh_api: Api) -> None:
    service = service_of(fresh_api.engine, fresh_api.clock)
    first = fresh_api.enqueue().json()
    fresh_api.clock.sleep(HOUR)
    second = fresh_api.enqueue(day="2024-05-31").json()
    assert expire(service) == 0
    fresh_api.clock.sleep(0.001)
    assert expire(service) == 1
    ended = fresh_api.http.get(first["links"]["self"]).json()
    assert (ended["status"], ended["error"]["code"]) == ("FAILED", "never_started")
    assert fresh_api.http.get(second["links"]["self"]).json()["status"] == "PENDING"
    assert fresh_api.enqueue().status_code == 202


def test_a_running_job_has_no_deadline(fresh_api: Api) -> None:
    service = service_of(fresh_api.engine, fresh_api.clock)
    fresh_api.enqueue()
    claim(fresh_api.engine)
    fresh_api.clock.sleep(10 * HOUR)
    assert expire(service) == 0


@pytest.mark.server
def test_the_api_does_so_from_its_start(tmp_path: Path, embedded: sa.Engine) -> None:
    tomorrow = ScriptedClock(NOON + timedelta(days=1))
    run, _ = runs.enqueue(embedded, KEY, trigger="admin", now=NOON)
    with running_api(tmp_path, embedded, clock=tomorrow) as api:
        path = f"/v1/jobs/{run.id}"
        wait_until(lambda: api.http.get(path).json()["status"] == "FAILED", "the job has failed")


def test_a_database_that_fails_does_not_end_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    engine = create_engine(f"sqlite:///{tmp_path}/staging.gpkg")
    looked: list[int] = []

    def on_look(number: int) -> None:
        looked.append(number)
        if number == 2:
            raise RuntimeError("the clock stands still")
        if number == 3:
            migrate(engine)

    async def watch() -> None:
        service = service_of(engine, ScriptedClock(on_look=on_look))
        expiring = asyncio.create_task(keep_expiring(service, every_s=0.01))
        while len(looked) < 5:
            assert not expiring.done()
            await asyncio.sleep(0.01)
        expiring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await expiring

    asyncio.run(watch())
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "at migration none" in messages[0]
    assert messages[1].startswith("RuntimeError at ingestion_pipeline/admin_api/expiry.py:")
