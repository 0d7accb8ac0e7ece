"""Who gets in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from ingestion_pipeline.admin_api.auth import is_accepted
from ingestion_pipeline_tests.support.api_server import (
    HELPERS,
    NEXT_TOKEN,
    OSM,
    TOKEN,
    Api,
    running_api,
)

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

A_JOB = "/v1/jobs/0d5b1b0e-6a3c-4a55-9f0e-5d3f2b7f6a11"

CLOSED = [
    ("POST", OSM),
    ("POST", HELPERS),
    ("GET", "/v1/jobs"),
    ("GET", A_JOB),
    ("POST", f"{A_JOB}/cancel"),
]
"""Everything that needs a token."""


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_without_a_token_it_is_401(api: Api, method: str, path: str) -> None:
    for token in (None, ""):
        reply = api.ask(method, path, token)
        assert reply.status_code == 401
        assert reply.json()["code"] == "token_missing"
        assert reply.headers["WWW-Authenticate"] == 'Bearer, AdminToken header="X-Admin-Token"'


@pytest.mark.parametrize(("method", "path"), CLOSED)
@pytest.mark.parametrize(
    "token",
    [
        "wrong",
        TOKEN[:-1],
        TOKEN + "x",
        TOKEN.upper(),
        f"{TOKEN}, {NEXT_TOKEN}".encode(),
        b"\xff\xfe",
    ],
)
def test_with_a_wrong_token_it_is_403(api: Api, method: str, path: str, token: bytes | str) -> None:
    reply = api.ask(method, path, token)
    assert reply.status_code == 403
    assert reply.json()["code"] == "token_wrong"


@pytest.mark.parametrize("token", [TOKEN, NEXT_TOKEN.encode()])
def test_each_of_the_tokens_is_accepted_while_they_are_rotated(
    api: Api, token: bytes | str
) -> None:
    assert api.ask("GET", "/v1/jobs", token).status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_a_token_may_come_as_any_client_sends_one(api: Api, scheme: str) -> None:
    for token, status in ((TOKEN, 200), (NEXT_TOKEN, 200), ("wrong", 403), ("", 401)):
        headers = {"Authorization": f"{scheme} {token}".strip().encode()}
        assert api.ask("GET", "/v1/jobs", None, headers=headers).status_code == status
    basic = {"Authorization": f"Basic {TOKEN}"}
    assert api.ask("GET", "/v1/jobs", None, headers=basic).status_code == 401


def test_the_header_of_our_own_goes_before_what_a_proxy_may_have_added(api: Api) -> None:
    for own, bearer, status in ((TOKEN, "other", 200), ("wrong", TOKEN, 403), ("", TOKEN, 200)):
        headers = {"Authorization": f"Bearer {bearer}"}
        assert api.ask("GET", "/v1/jobs", own, headers=headers).status_code == status


@pytest.mark.server
@pytest.mark.parametrize("unset", [None, "", " , "])
def test_without_a_configured_token_it_is_closed(
    tmp_path: Path, embedded: sa.Engine, unset: str | None
) -> None:
    with running_api(tmp_path, embedded, admin_api_token=unset) as api:
        for method, path in CLOSED:
            for token in (None, "", "any", ","):
                reply = api.ask(method, path, token)
                assert reply.status_code == 503
                assert reply.json()["code"] == "not_configured"


@pytest.mark.server
def test_a_closed_api_still_takes_signed_deliveries_and_tells_its_health(
    tmp_path: Path, embedded: sa.Engine
) -> None:
    with running_api(tmp_path, embedded, admin_api_token=None) as api:
        assert api.deliver({"city_slug": "town"}).status_code == 202
        assert api.http.get("/v1/api/health").json()["checks"]["database"]["ok"]


@pytest.mark.parametrize(
    "content", [b"{", b'{"city_slug": 1}', b'{"city_slug": "nowhere"}', b"x" * 99_999]
)
def test_a_strangers_body_is_not_looked_at(api: Api, content: bytes) -> None:
    assert api.ask("POST", OSM, None, content=content).status_code == 401
    assert api.ask("POST", OSM, "wrong", content=content).status_code == 403


def test_health_and_metrics_need_no_token(api: Api) -> None:
    assert api.ask("GET", "/v1/api/health", None).status_code in (200, 503)
    assert api.ask("GET", "/metrics", None).status_code == 200


def test_all_tokens_are_compared() -> None:
    tokens = (b"one", b"two", b"three")
    assert [is_accepted(token, tokens) for token in tokens] == [True] * 3
    assert not is_accepted(b"", tokens)
    assert not is_accepted(b"one", ())


def test_no_token_and_no_signature_stands_in_a_log_or_a_reply(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="ingestion_pipeline")
    caplog.set_level(logging.DEBUG, logger="uvicorn")
    secret = "a-wrong-secret"
    replies = [
        api.ask("POST", OSM, secret),
        api.ask("POST", OSM, None, headers={"Authorization": f"Bearer {secret}"}),
        api.ask("POST", OSM, TOKEN, json={"city_slug": "town"}),
        api.ask("POST", OSM, TOKEN, content=b"{"),
        api.deliver({}, token=secret),
    ]
    assert caplog.text.count(OSM) == 4
    for text in (caplog.text, *(reply.text + str(reply.headers) for reply in replies)):
        assert secret not in text
        assert TOKEN not in text
