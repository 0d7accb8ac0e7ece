"""Asking for a city-day over HTTP."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from ingestion_pipeline_tests.support.api_server import (
    BOUNDARY,
    HELPERS,
    OSM,
    START,
    Api,
    claim,
    fail,
)
from ingestion_pipeline_tests.support.installation import TODAY


def test_a_new_job_is_202_and_says_all_of_itself(fresh_api: Api) -> None:
    reply = fresh_api.enqueue()
    assert reply.status_code == 202
    job = reply.json()
    path = f"/v1/jobs/{job['job_id']}"
    assert reply.headers["Location"] == path
    assert job == {
        "job_id": str(uuid.UUID(job["job_id"])),
        "job_type": "osm_import",
        "city_slug": "town",
        "day": "2024-06-01",
        "boundary_ref": BOUNDARY,
        "idempotency_key": f"osm_import|town|{BOUNDARY}|2024-06-01",
        "status": "PENDING",
        "trigger": "admin",
        "attempt": 0,
        "refetch": False,
        "outcome": None,
        "counts": None,
        "as_of": None,
        "error": None,
        "requested_at": "2024-06-01T12:00:00Z",
        "started_at": None,
        "finished_at": None,
        "cancel_requested_at": None,
        "dagster_run_id": None,
        "links": {"self": path, "cancel": f"{path}/cancel"},
    }
    assert fresh_api.http.get(path).json() == job


def test_the_same_key_is_200_with_the_same_job_while_it_is_active(fresh_api: Api) -> None:
    first = fresh_api.enqueue().json()
    again = fresh_api.enqueue(day="2024-06-01", refetch=True)
    assert (again.status_code, again.json()) == (200, first)
    claim(fresh_api.engine)
    running = fresh_api.enqueue()
    assert running.status_code == 200
    assert (running.json()["job_id"], running.json()["status"]) == (first["job_id"], "RUNNING")
    assert running.headers["Location"] == first["links"]["self"]


def test_after_the_end_of_a_job_the_key_starts_a_new_one(fresh_api: Api) -> None:
    first = fresh_api.enqueue().json()
    fail(fresh_api.engine, claim(fresh_api.engine))
    second = fresh_api.enqueue(refetch=True)
    assert second.status_code == 202
    assert second.json()["job_id"] != first["job_id"]
    assert second.json()["refetch"]


def test_another_city_day_or_job_type_is_another_job(fresh_api: Api) -> None:
    replies = [
        fresh_api.enqueue(),
        fresh_api.enqueue(city_slug="other-town"),
        fresh_api.enqueue(day="2024-05-31"),
        fresh_api.enqueue(HELPERS),
    ]
    assert [reply.status_code for reply in replies] == [202] * 4
    keys = [reply.json()["idempotency_key"] for reply in replies]
    assert len(set(keys)) == 4
    assert keys[-1].startswith("helpers_import|town|")


def test_the_default_day_is_the_current_one_in_utc(api: Api) -> None:
    before = api.enqueue(HELPERS).json()["day"]
    api.clock.sleep(timedelta(hours=12).total_seconds() - 1)
    assert api.enqueue(HELPERS, day=None).json()["day"] == before == "2024-06-01"
    api.clock.sleep(1)
    assert api.enqueue(HELPERS).json()["day"] == "2024-06-02"


def test_the_first_and_the_current_day_are_taken_and_no_day_beyond(fresh_api: Api) -> None:
    one_day = timedelta(days=1)
    for day in (START, TODAY):
        assert fresh_api.enqueue(day=day.isoformat()).status_code == 202
    for day in (START - one_day, TODAY + one_day):
        reply = fresh_api.enqueue(day=day.isoformat())
        assert reply.status_code == 422
        (mistake,) = reply.json()["errors"]
        assert mistake["field"] == "day"
        assert str(START) in mistake["message"]
        assert str(TODAY) in mistake["message"]


@pytest.mark.parametrize("path", [OSM, HELPERS])
def test_an_unknown_city_is_404(api: Api, path: str) -> None:
    reply = api.enqueue(path, city_slug="nowhere")
    assert reply.status_code == 404
    assert reply.json()["code"] == "unknown_city"
    assert "'nowhere'" in reply.json()["detail"]
    assert "cities.toml" not in reply.text
