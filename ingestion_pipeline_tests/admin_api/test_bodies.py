"""Bodies: how much of them is read, and what is said of those that are not understood."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline.admin_api.bodies import LIMIT
from ingestion_pipeline_tests.support.api_server import CALLBACK, OSM, Api

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = b'{"city_slug": "town"}'


def padded(size: int) -> bytes:
    return GOOD + b" " * (size - len(GOOD))


def chunks(size: int) -> Iterator[bytes]:
    """A body that does not say how long it is."""
    for start in range(0, size, 1000):
        yield padded(size)[start : start + 1000]


def test_a_body_of_just_the_limit_is_read(api: Api) -> None:
    assert api.http.post(OSM, content=padded(LIMIT)).status_code in (200, 202)
    assert api.http.post(OSM, content=chunks(LIMIT)).status_code in (200, 202)


@pytest.mark.parametrize("path", [OSM, CALLBACK])
@pytest.mark.parametrize("content", [padded(LIMIT + 1), chunks(LIMIT + 1)], ids=["told", "chunks"])
def test_a_larger_body_is_refused_even_if_it_does_not_tell_its_length(
    api: Api, path: str, content: Any
) -> None:
    content = content if isinstance(content, bytes) else chunks(LIMIT + 1)
    reply = api.http.post(path, content=content)
    assert reply.status_code == 413
    assert reply.json()["code"] == "body_too_large"


def test_after_a_body_that_was_not_read_to_its_end_the_api_serves_on(api: Api) -> None:
    assert api.http.post(OSM, content=padded(LIMIT * 20)).status_code == 413
    assert api.http.post(OSM, content=GOOD).status_code in (200, 202)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"town"',
        b"\xff\xfe",
        b'{"city_slug": "\\ud800"}',
        b'{"\\ud800": 1}',
        b"[" * 60_000,
        b"9" * 5_000,
        b'{"city_slug": "town"} {}',
    ],
    ids=lambda raw: raw[:20].decode(errors="replace"),
)
def test_what_is_no_json_object_is_422(api: Api, raw: bytes) -> None:
    reply = api.http.post(OSM, content=raw)
    assert reply.status_code == 422
    assert reply.json()["code"] == "invalid_request"
    assert [mistake["field"] for mistake in reply.json()["errors"]] == ["body"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "city_slug"),
        ({"city_slug": None}, "city_slug"),
        ({"city_slug": 7}, "city_slug"),
        ({"city_slug": ""}, "city_slug"),
        ({"city_slug": "Town"}, "city_slug"),
        ({"city_slug": "town\n"}, "city_slug"),
        ({"city_slug": "town\x00"}, "city_slug"),
        ({"city_slug": "town|2024-01-01"}, "city_slug"),
        ({"city_slug": "a" * 101}, "city_slug"),
        ({"city_slug": "город"}, "city_slug"),
        ({"city_slug": "town", "day": ""}, "day"),
        ({"city_slug": "town", "day": "yesterday"}, "day"),
        ({"city_slug": "town", "day": "2024-02-30"}, "day"),
        ({"city_slug": "town", "day": "2024-5-1"}, "day"),
        ({"city_slug": "town", "day": "2024-05-01T00:00:00"}, "day"),
        ({"city_slug": "town", "day": "1714521600"}, "day"),
        ({"city_slug": "town", "day": "٢٠٢٤-٠٥-٠١"}, "day"),
        ({"city_slug": "town", "day": 1714521600}, "day"),
        ({"city_slug": "town", "day": 10**400}, "day"),
        ({"city_slug": "town", "day": "0001-01-01"}, "day"),
        ({"city_slug": "town", "day": "9999-12-31"}, "day"),
        ({"city_slug": "town", "refetch": "yes"}, "refetch"),
        ({"city_slug": "town", "refetch": 1}, "refetch"),
        ({"city_slug": "town", "refetch": None}, "refetch"),
        ({"city_slug": "town", "when": "now"}, "when"),
        ({"city_slug": "town", "job_type": "osm_import"}, "job_type"),
    ],
    ids=lambda value: json.dumps(value)[:50],
)
def test_a_field_that_is_not_accepted_is_named(api: Api, body: dict[str, Any], field: str) -> None:
    reply = api.http.post(OSM, json=body)
    assert reply.status_code == 422
    problem = reply.json()
    assert [mistake["field"] for mistake in problem["errors"]] == [field]
    assert all(mistake["message"] for mistake in problem["errors"])
    assert field in problem["detail"]


def test_of_very_many_mistakes_some_are_named(api: Api) -> None:
    reply = api.http.post(OSM, json={f"x{number}": 1 for number in range(5_000)})
    assert reply.status_code == 422
    assert len(reply.json()["errors"]) == 20
    assert len(reply.content) < 3_000
