"""Promotions by HTTP: enqueue, list, read, decide, and explain."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline_tests.support.api_server import CITIES, running_api
from ingestion_pipeline_tests.support.installation import TODAY
from ingestion_pipeline_tests.support.promoted import promote, public_rows, stage_places

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import sqlalchemy as sa

    from ingestion_pipeline_tests.support.api_server import Api

PROMOTIONS = "/v1/admin/promotions"
DECISION = {"who": "ann@example.org", "reason": "looked at the map"}
YESTERDAY = TODAY - timedelta(days=1)


def cafes(first: int) -> dict[str, dict[str, Any]]:
    return {
        f"node/{number}": {"category": "amenity/cafe", "name": f"Café {number}"}
        for number in range(first, 91)
    }


@pytest.fixture
def proposed(fresh_api: Api) -> str:
    """A proposal that loses a third of a city's cafés."""
    stage_places(fresh_api.engine, "town", YESTERDAY, cafes(1))
    promote(fresh_api.engine, "town", YESTERDAY)
    stage_places(fresh_api.engine, "town", TODAY, cafes(31))
    return promote(fresh_api.engine, "town", TODAY).id


def decide(api: Api, promotion: str, what: str, **body: Any) -> Any:
    return api.http.post(f"{PROMOTIONS}/{promotion}/{what}", json=DECISION | body)


def test_a_proposal_has_its_gates_and_a_page_of_its_changes(fresh_api: Api, proposed: str) -> None:
    first = fresh_api.http.get(f"{PROMOTIONS}/{proposed}", params={"limit": 20}).json()
    assert first["promotion"]["status"] == "PROPOSED"
    losses = {gate["name"]: gate for gate in first["promotion"]["gates"]}["category_losses"]
    assert losses["verdict"] == "review"
    assert losses["sentence"].startswith("amenity/cafe loses 30 of 90 (Café 1,")
    assert first["promotion"]["counts"] == {"disappeared": 30}
    second = fresh_api.http.get(
        f"{PROMOTIONS}/{proposed}", params={"limit": 20, "after": first["next_after"]}
    ).json()
    events = first["events"] + second["events"]
    assert second["next_after"] is None
    assert [event["number"] for event in events] == list(range(30))
    assert {event["before"]["name"] for event in events} == {
        f"Café {number}" for number in range(1, 31)
    }
    none = fresh_api.http.get(f"{PROMOTIONS}/{proposed}", params={"kind": "moved"}).json()
    assert none["events"] == []


def test_a_rejected_proposal_changes_nothing_and_cannot_be_approved(
    fresh_api: Api, proposed: str
) -> None:
    before = public_rows(fresh_api.engine, "town")
    for _ in range(2):
        reply = decide(fresh_api, proposed, "reject")
        assert (reply.status_code, reply.json()["job"]) == (200, None)
        assert reply.json()["promotion"]["decided_by"] == "ann@example.org"
    late = decide(fresh_api, proposed, "approve")
    assert (late.status_code, late.json()["code"]) == (409, "decision_refused")
    assert "is REJECTED by ann@example.org (looked at the map)" in late.json()["detail"]
    assert public_rows(fresh_api.engine, "town") == before


def test_an_approved_proposal_gets_a_job_that_makes_it_public_and_can_be_reverted(
    fresh_api: Api, proposed: str
) -> None:
    before = public_rows(fresh_api.engine, "town")
    reply = decide(fresh_api, proposed, "approve")
    assert reply.status_code == 202
    assert reply.json()["promotion"]["status"] == "APPROVED"
    job = reply.json()["job"]
    assert job["idempotency_key"] == f"poi_promotion|town|bbox:0,0,1,1|{TODAY}"
    assert decide(fresh_api, proposed, "approve").json()["job"]["job_id"] == job["job_id"]
    assert fresh_api.http.get(job["links"]["self"]).json()["job_type"] == "poi_promotion"
    listed = fresh_api.http.get("/v1/jobs", params={"job_type": "poi_promotion"}).json()
    assert job["job_id"] in [each["job_id"] for each in listed["jobs"]]
    promote(fresh_api.engine, "town", TODAY)
    assert len(public_rows(fresh_api.engine, "town")) == 60
    assert decide(fresh_api, proposed, "approve").status_code == 200

    reverting = decide(fresh_api, proposed, "revert")
    assert reverting.status_code == 202
    made = reverting.json()["promotion"]
    assert (made["status"], made["reverts"], made["day"]) == ("APPROVED", proposed, str(YESTERDAY))
    again = decide(fresh_api, proposed, "revert").json()
    assert again["promotion"]["promotion_id"] == made["promotion_id"]
    promote(fresh_api.engine, "town", YESTERDAY)
    assert public_rows(fresh_api.engine, "town") == before
    assert decide(fresh_api, proposed, "revert").status_code == 200


def test_promotions_are_listed_page_after_page(fresh_api: Api, proposed: str) -> None:
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = fresh_api.http.get(PROMOTIONS, params={"limit": 1, **cursor}).json()
        seen += [each["promotion_id"] for each in page["promotions"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert len(set(seen)) == len(seen) == 2
    assert proposed in seen
    only = fresh_api.http.get(PROMOTIONS, params={"status": "PROPOSED", "city_slug": "town"})
    assert [each["promotion_id"] for each in only.json()["promotions"]] == [proposed]


def test_many_who_decide_at_once_by_http_make_one_decision(fresh_api: Api, proposed: str) -> None:
    def client(number: int) -> tuple[str, int]:
        what = ("approve", "reject", "revert")[number % 3]
        return what, decide(fresh_api, proposed, what, who=f"client {number}").status_code

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(client, range(24)))
    found = fresh_api.http.get(f"{PROMOTIONS}/{proposed}").json()["promotion"]
    decided = {"APPROVED": ("approve", 202), "REJECTED": ("reject", 200)}[found["status"]]
    assert {status for what, status in answers if what == decided[0]} == {decided[1]}
    assert {status for what, status in answers if what != decided[0]} == {409}


@pytest.mark.parametrize(
    ("body", "field"),
    [({"who": " "}, "who"), ({"reason": ""}, "reason"), ({"more": "x"}, "more")],
)
def test_a_decision_needs_a_person_and_a_reason(
    fresh_api: Api, body: dict[str, str], field: str
) -> None:
    reply = decide(fresh_api, str(uuid.uuid4()), "approve", **body)
    assert reply.status_code == 422
    assert [mistake["field"] for mistake in reply.json()["errors"]] == [field]


def test_what_is_not_there_is_404(fresh_api: Api) -> None:
    unknown = str(uuid.uuid4())
    for what in ("approve", "reject", "revert"):
        reply = decide(fresh_api, unknown, what)
        assert (reply.status_code, reply.json()["code"]) == (404, "unknown_promotion")
    reply = fresh_api.http.get(f"{PROMOTIONS}/{unknown}")
    assert (reply.status_code, reply.json()["code"]) == (404, "unknown_promotion")
    reply = fresh_api.http.get(f"/v1/admin/pois/{unknown}/explain")
    assert (reply.status_code, reply.json()["code"]) == (404, "unknown_place")


def test_a_place_is_explained(fresh_api: Api, proposed: str) -> None:
    del proposed
    row = public_rows(fresh_api.engine, "town")[0]
    found = fresh_api.http.get(f"/v1/admin/pois/{row['poi_id']}/explain").json()
    assert found["place"]["name"] == row["name"]
    assert found["source"]["digest"] == "0" * 64
    assert found["category"]["tags"] == {"amenity": "cafe"}
    assert [event["kind"] for event in found["events"]] == ["appeared"]


def test_a_city_that_is_not_promoted_is_refused(fresh_api: Api) -> None:
    reply = fresh_api.http.post(PROMOTIONS, json={"city_slug": "town"})
    assert (reply.status_code, reply.json()["code"]) == (409, "promotion_off")
    reply = fresh_api.http.post(PROMOTIONS, json={"city_slug": "nowhere"})
    assert (reply.status_code, reply.json()["code"]) == (404, "unknown_city")


@pytest.fixture
def promoting_api(tmp_path: Path, engine: sa.Engine) -> Iterator[Api]:
    cities = [city | {"promotion": "review"} for city in CITIES]
    with running_api(tmp_path, engine, cities=cities) as running:
        yield running


@pytest.mark.server
def test_a_promotion_is_enqueued_once(promoting_api: Api) -> None:
    body = {"city_slug": "town", "day": str(TODAY), "again": True}
    first = promoting_api.http.post(PROMOTIONS, json=body)
    assert first.status_code == 202
    assert first.json()["job_type"] == "poi_promotion"
    assert first.json()["refetch"] is True
    second = promoting_api.http.post(PROMOTIONS, json=body)
    assert (second.status_code, second.json()["job_id"]) == (200, first.json()["job_id"])
