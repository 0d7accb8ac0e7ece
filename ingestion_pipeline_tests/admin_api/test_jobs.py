"""Looking at jobs, page after page, and canceling them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_pipeline.admin_api.jobs import position_of
from ingestion_pipeline.staging.outcomes import counts_of_run
from ingestion_pipeline_tests.support.api_server import COUNTS, HELPERS, claim, fail, succeed

if TYPE_CHECKING:
    from ingestion_pipeline_tests.support.api_server import Api

UNKNOWN = "/v1/jobs/00000000-0000-4000-8000-000000000000"


def ids(page: dict[str, Any]) -> list[str]:
    return [job["job_id"] for job in page["jobs"]]


# One


def test_a_job_that_succeeded_tells_its_counts_and_the_time_of_its_data(fresh_api: Api) -> None:
    path = fresh_api.enqueue().json()["links"]["self"]
    held = claim(fresh_api.engine)
    running = fresh_api.http.get(path).json()
    assert running["status"] == "RUNNING"
    assert running["dagster_run_id"] == held.dagster_run_id
    assert running["started_at"] == "2024-06-01T12:00:00Z"
    assert running["attempt"] == 1
    succeed(fresh_api.engine, held)
    job = fresh_api.http.get(path).json()
    assert job["status"] == "SUCCEEDED"
    assert job["counts"] == COUNTS | {"sources": {}, "failed": {}}
    assert job["outcome"] == "complete"
    assert job["as_of"] == job["finished_at"] == "2024-06-01T12:00:00Z"
    assert job["error"] is None
    assert job["links"] == {"self": path, "cancel": None}


def test_a_job_tells_what_it_staged_of_each_source_and_how_complete_it_is(
    fresh_api: Api,
) -> None:
    path = fresh_api.enqueue().json()["links"]["self"]
    held = claim(fresh_api.engine)
    assert fresh_api.http.get(path).json()["outcome"] is None
    reason = "feed_forbidden: the server denies access"
    results = {"osm": COUNTS, "feed:wc": COUNTS}
    counts = counts_of_run(results, stale=["feed:wc"], failed={"feed:wc": reason, "feed:x": "y"})
    succeed(fresh_api.engine, held, counts=counts)
    job = fresh_api.http.get(path).json()
    assert (job["status"], job["outcome"]) == ("SUCCEEDED", "feeds_failed")
    assert job["counts"]["rows"] == 2 * COUNTS["rows"]
    assert job["counts"]["sources"] == {
        "osm": {**COUNTS, "state": "good", "reason": None},
        "feed:wc": {**COUNTS, "state": "stale", "reason": reason},
        "feed:x": {**dict.fromkeys(COUNTS, 0), "state": "missing", "reason": "y"},
    }


def test_a_job_that_failed_tells_why(fresh_api: Api) -> None:
    path = fresh_api.enqueue().json()["links"]["self"]
    fail(fresh_api.engine, claim(fresh_api.engine))
    job = fresh_api.http.get(path).json()
    assert (job["status"], job["counts"]) == ("FAILED", None)
    assert job["error"] == {"code": "broken", "message": "it broke"}


@pytest.mark.parametrize(("method", "path"), [("GET", UNKNOWN), ("POST", f"{UNKNOWN}/cancel")])
def test_a_job_that_is_not_there_is_404(api: Api, method: str, path: str) -> None:
    reply = api.http.request(method, path)
    assert reply.status_code == 404
    assert reply.json()["code"] == "unknown_job"


@pytest.mark.parametrize("job_id", ["1", "%00", "..", "kazan", "%F0%9F", "callback"])
def test_what_is_no_id_is_no_address(api: Api, job_id: str) -> None:
    reply = api.http.get(f"/v1/jobs/{job_id}")
    assert reply.status_code in (404, 405)
    assert reply.json()["code"] in ("not_found", "method_not_allowed")


# Many


def test_jobs_are_listed_newest_first_page_after_page_whatever_is_added(fresh_api: Api) -> None:
    asked = []
    for day in range(1, 8):
        fresh_api.clock.sleep(0.001 if day % 2 else 0)
        asked.append(fresh_api.enqueue(day=f"2024-05-0{day}").json()["job_id"])
    first = fresh_api.http.get("/v1/jobs", params={"limit": 3}).json()
    fresh_api.clock.sleep(60)
    fresh_api.enqueue(city_slug="other-town")
    seen, cursor = ids(first), first["next_cursor"]
    while cursor is not None:
        page = fresh_api.http.get("/v1/jobs", params={"limit": 3, "cursor": cursor}).json()
        seen, cursor = seen + ids(page), page["next_cursor"]
    assert sorted(seen) == sorted(asked)
    everything = fresh_api.http.get("/v1/jobs").json()
    assert ids(everything)[1:] == seen
    assert everything["next_cursor"] is None
    moments = [job["requested_at"] for job in everything["jobs"]]
    assert moments == sorted(moments, reverse=True)


def test_the_last_full_page_leads_nowhere(fresh_api: Api) -> None:
    fresh_api.enqueue()
    page = fresh_api.http.get("/v1/jobs", params={"limit": 1}).json()
    assert (len(page["jobs"]), page["next_cursor"]) == (1, None)


def test_jobs_are_filtered_by_what_they_import_city_day_and_status(fresh_api: Api) -> None:
    one = fresh_api.enqueue(day="2024-05-01").json()["job_id"]
    two = fresh_api.enqueue(day="2024-05-02").json()["job_id"]
    other = fresh_api.enqueue(city_slug="other-town", day="2024-05-02").json()["job_id"]
    helpers = fresh_api.enqueue(HELPERS, day="2024-05-03").json()["job_id"]
    fresh_api.http.post(f"/v1/jobs/{two}/cancel")

    def listed(**query: str) -> set[str]:
        return set(ids(fresh_api.http.get("/v1/jobs", params=query).json()))

    assert listed(job_type="osm_import") == {one, two, other}
    assert listed(job_type="helpers_import") == {helpers}
    assert listed(city_slug="town") == {one, two, helpers}
    assert listed(day="2024-05-02") == {two, other}
    assert listed(status="PENDING") == {one, other, helpers}
    assert listed(city_slug="town", day="2024-05-02", status="CANCELED") == {two}
    assert listed(city_slug="nowhere") == set()
    assert listed(day="0001-01-01") == set()
    assert listed(day="9999-12-31") == set()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=many", "limit"),
        (f"limit={'9' * 5000}", "limit"),
        ("job_type=pois", "job_type"),
        ("status=DONE", "status"),
        ("status=pending", "status"),
        ("day=today", "day"),
        ("day=1714521600", "day"),
        ("city_slug=%00", "city_slug"),
        ("city_slug=Town", "city_slug"),
        ("cursor=", "cursor"),
        ("cursor=1", "cursor"),
        (f"cursor={'f' * 44}", "cursor"),
        (f"cursor={'0' * 43}%0A", "cursor"),
        ("page=2", "page"),
        ("limit=1&limit=2", "limit"),
        ("day=2024-05-01&day=2024-05-01", "day"),
    ],
)
def test_a_parameter_that_is_not_accepted_is_named(api: Api, query: str, field: str) -> None:
    reply = api.http.get(f"/v1/jobs?{query}")
    assert reply.status_code == 422
    assert [mistake["field"] for mistake in reply.json()["errors"]] == [field]


@given(st.from_regex("0[0-9a-f]{43}", fullmatch=True))
def test_whatever_has_the_form_of_a_cursor_is_a_place(cursor: str) -> None:
    assert position_of(cursor).requested_at >= datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("time", ["000000000000", "0fffffffffff"])
def test_a_cursor_of_any_time_is_answered(fresh_api: Api, time: str) -> None:
    fresh_api.enqueue()
    page = fresh_api.http.get("/v1/jobs", params={"cursor": time + uuid.uuid4().hex}).json()
    assert len(page["jobs"]) == (1 if time.startswith("0f") else 0)


# Cancel


def test_a_pending_job_is_canceled_at_once_and_stays_so(fresh_api: Api) -> None:
    job = fresh_api.enqueue().json()
    fresh_api.clock.sleep(60)
    canceled = fresh_api.http.post(job["links"]["cancel"])
    assert canceled.status_code == 200
    assert canceled.json()["status"] == "CANCELED"
    assert canceled.json()["error"]["code"] == "canceled"
    assert canceled.json()["cancel_requested_at"] == "2024-06-01T12:01:00Z"
    assert canceled.json()["links"]["cancel"] is None
    fresh_api.clock.sleep(60)
    again = fresh_api.http.post(job["links"]["cancel"])
    assert (again.status_code, again.json()) == (200, canceled.json())
    assert fresh_api.enqueue().status_code == 202


def test_a_running_job_is_asked_to_stop_and_holds_its_key_until_it_has(fresh_api: Api) -> None:
    job = fresh_api.enqueue().json()
    held = claim(fresh_api.engine)
    asked = fresh_api.http.post(job["links"]["cancel"])
    assert asked.status_code == 202
    assert asked.json()["status"] == "RUNNING"
    assert asked.json()["cancel_requested_at"] == "2024-06-01T12:00:00Z"
    fresh_api.clock.sleep(60)
    again = fresh_api.http.post(job["links"]["cancel"])
    assert (again.status_code, again.json()) == (202, asked.json())
    assert fresh_api.enqueue().json()["job_id"] == job["job_id"]
    fail(fresh_api.engine, held)
    ended = fresh_api.http.post(job["links"]["cancel"])
    assert (ended.status_code, ended.json()["status"]) == (200, "CANCELED")


@pytest.mark.parametrize("end", [succeed, fail])
def test_a_job_that_has_ended_is_not_canceled(fresh_api: Api, end: Any) -> None:
    job = fresh_api.enqueue().json()
    end(fresh_api.engine, claim(fresh_api.engine))
    before = fresh_api.http.get(job["links"]["self"]).json()
    reply = fresh_api.http.post(job["links"]["cancel"])
    assert reply.status_code == 409
    assert reply.json()["code"] == "job_ended"
    assert before["status"] in reply.json()["detail"]
    assert fresh_api.http.get(job["links"]["self"]).json() == before
