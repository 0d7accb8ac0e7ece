"""Overrides by HTTP: set, list, retire."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline_tests.support.installation import TODAY
from ingestion_pipeline_tests.support.promoted import promote, public_rows, stage_places

if TYPE_CHECKING:
    from ingestion_pipeline_tests.support.api_server import Api

ASKED = {
    "column": "name",
    "value": "Green Door",
    "who": "ann@example.org",
    "reason": "A letter of the owner",
    "until": "2027-01-31",
}
DECISION = {"who": "bob@example.org", "reason": "sold"}


@pytest.fixture
def path(fresh_api: Api) -> str:
    """The overrides of a public café."""
    cafe = {"category": "amenity/cafe", "name": "Blue Door"}
    stage_places(fresh_api.engine, "town", TODAY, {"node/1": cafe})
    promote(fresh_api.engine, "town", TODAY)
    (row,) = public_rows(fresh_api.engine, "town")
    return f"/v1/admin/pois/{row['poi_id']}/overrides"


def test_an_override_is_set_once_applied_listed_and_retired_once(fresh_api: Api, path: str) -> None:
    first = fresh_api.http.post(path, json=ASKED)
    assert first.status_code == 201
    made = first.json()
    assert {name: made[name] for name in ASKED} == ASKED
    assert made["retired_at"] is None
    again = fresh_api.http.post(path, json=ASKED)
    assert (again.status_code, again.json()) == (200, made)
    promote(fresh_api.engine, "town", TODAY)
    assert public_rows(fresh_api.engine, "town")[0]["name"] == "Green Door"

    for _ in range(2):
        reply = fresh_api.http.post(f"{path}/{made['override_id']}/retire", json=DECISION)
        assert reply.status_code == 200
        ended = reply.json()
        assert (ended["retired_why"], ended["retired_by"]) == ("removed", DECISION["who"])
        assert ended["retired_reason"] == DECISION["reason"]
    assert fresh_api.http.get(path).json() == {"overrides": [ended]}
    promote(fresh_api.engine, "town", TODAY)
    assert public_rows(fresh_api.engine, "town")[0]["name"] == "Blue Door"


def test_another_value_replaces_the_override(fresh_api: Api, path: str) -> None:
    made = fresh_api.http.post(path, json=ASKED).json()
    other = ASKED | {"value": None, "who": "bob@example.org"}
    assert fresh_api.http.post(path, json=other).status_code == 201
    new, old = fresh_api.http.get(path).json()["overrides"]
    assert (new["value"], new["retired_at"]) == (None, None)
    assert (old["override_id"], old["retired_why"]) == (made["override_id"], "replaced")
    assert old["retired_by"] == "bob@example.org"


def test_many_equal_requests_at_once_make_one_override(fresh_api: Api, path: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: fresh_api.http.post(path, json=ASKED), range(16)))
    assert sorted({reply.status_code for reply in replies}) == [200, 201]
    assert len({reply.json()["override_id"] for reply in replies}) == 1
    assert len(fresh_api.http.get(path).json()["overrides"]) == 1


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"column": "geometry"}, "column", "Input should be 'name', 'category'"),
        ({"column": "hidden"}, "value", "An override of 'hidden' needs true"),
        ({"column": "category"}, "value", "needs a category of docs/categories.md"),
        ({"column": "status", "value": {}}, "value", "needs one of operating"),
        ({"value": "a\0b"}, "value", "a character that no database stores"),
        ({"who": "a\0b"}, "who", "String should match pattern"),
        ({"reason": " "}, "reason", "String should match pattern"),
        ({"until": "tomorrow"}, "until", "use YYYY-MM-DD"),
        ({"more": 1}, "more", "Extra inputs are not permitted"),
    ],
)
def test_a_request_that_cannot_be_applied_names_what_is_wrong(
    fresh_api: Api, path: str, body: dict[str, Any], field: str, message: str
) -> None:
    reply = fresh_api.http.post(path, json=ASKED | body)
    assert reply.status_code == 422
    (mistake,) = reply.json()["errors"]
    assert mistake["field"] == field
    assert message in mistake["message"]
    assert fresh_api.http.get(path).json() == {"overrides": []}


def test_a_place_or_an_override_that_is_not_there_is_404(fresh_api: Api, path: str) -> None:
    unknown = f"/v1/admin/pois/{uuid.uuid4()}/overrides"
    for reply in (
        fresh_api.http.get(unknown),
        fresh_api.http.post(unknown, json=ASKED),
        fresh_api.http.post(f"{unknown}/{uuid.uuid4()}/retire", json=DECISION),
    ):
        assert (reply.status_code, reply.json()["code"]) == (404, "unknown_place")
    reply = fresh_api.http.post(f"{path}/{uuid.uuid4()}/retire", json=DECISION)
    assert (reply.status_code, reply.json()["code"]) == (404, "unknown_override")
