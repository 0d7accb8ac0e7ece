"""Deliveries: at least once, in any order, signed or not."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from ingestion_pipeline.admin_api import signature
from ingestion_pipeline.staging.tables import ingestion_run
from ingestion_pipeline_tests.support.api_server import (
    CALLBACK,
    NEXT_SIGNING_KEY,
    SIGNING_KEY,
    Api,
    claim,
    running_api,
    sign,
    succeed,
)

if TYPE_CHECKING:
    from pathlib import Path

BODY = {"city_slug": "town", "day": "2024-06-01"}
RAW = json.dumps(BODY).encode()
MESSAGE = {"Upstash-Message-Id": "msg_1"}
DELIVERIES = 100
AT_ONCE = 5


def jobs(api: Api) -> int:
    with api.engine.connect() as connection:
        query = sa.select(sa.func.count()).select_from(ingestion_run)
        return connection.execute(query).scalar_one()


def url_of(api: Api) -> str:
    return api.url + CALLBACK


# At least once


@pytest.mark.parametrize("headers", [MESSAGE, {}], ids=["with an id", "without an id"])
def test_many_deliveries_of_one_message_give_one_job(
    fresh_api: Api, headers: dict[str, str]
) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        replies = list(pool.map(lambda _: fresh_api.deliver(BODY, **headers), range(DELIVERIES)))
    assert sorted(reply.status_code for reply in replies) == [200] * (DELIVERIES - 1) + [202]
    assert len({reply.json()["job_id"] for reply in replies}) == 1
    assert {reply.json()["trigger"] for reply in replies} == {"callback"}
    assert jobs(fresh_api) == 1


@pytest.mark.parametrize("headers", [MESSAGE, {}], ids=["with an id", "without an id"])
def test_a_delivery_after_the_job_has_ended_gives_that_job(
    fresh_api: Api, headers: dict[str, str]
) -> None:
    first = fresh_api.deliver(BODY, **headers).json()
    succeed(fresh_api.engine, claim(fresh_api.engine))
    late = fresh_api.deliver(BODY, **headers)
    assert late.status_code == 200
    assert (late.json()["job_id"], late.json()["status"]) == (first["job_id"], "SUCCEEDED")
    assert jobs(fresh_api) == 1


def test_messages_that_come_out_of_order_and_again_give_one_job_each(fresh_api: Api) -> None:
    days = [f"2024-05-0{number}" for number in range(1, 6)]
    order = days[::-1] + days + days[2:] + days[:2]
    replies = [
        fresh_api.deliver({"city_slug": "town", "day": day}, **{"Upstash-Message-Id": day})
        for day in order
    ]
    assert [reply.status_code for reply in replies] == [202] * 5 + [200] * 10
    assert [reply.json()["day"] for reply in replies] == order
    assert jobs(fresh_api) == 5


def test_another_message_for_the_same_day_joins_the_active_job_or_starts_a_new_one(
    fresh_api: Api,
) -> None:
    first = fresh_api.deliver(BODY, **MESSAGE).json()["job_id"]
    joined = fresh_api.deliver(BODY, **{"Upstash-Message-Id": "msg_2"})
    assert (joined.status_code, joined.json()["job_id"]) == (200, first)
    succeed(fresh_api.engine, claim(fresh_api.engine))
    new = fresh_api.deliver(BODY, **{"Upstash-Message-Id": "msg_3"})
    assert new.status_code == 202
    assert new.json()["job_id"] != first
    assert fresh_api.deliver(BODY, **{"Upstash-Message-Id": "msg_2"}).json()["job_id"] == first


def test_a_message_without_an_id_and_a_day_is_another_one_tomorrow(fresh_api: Api) -> None:
    body = {"city_slug": "town"}
    assert fresh_api.deliver(body).status_code == 202
    assert fresh_api.deliver(body).status_code == 200
    fresh_api.clock.sleep(timedelta(days=1).total_seconds())
    tomorrow = fresh_api.deliver(body)
    assert (tomorrow.status_code, tomorrow.json()["day"]) == (202, "2024-06-02")


def test_a_delivery_names_its_job_type_and_refetch(fresh_api: Api) -> None:
    job = fresh_api.deliver(BODY | {"job_type": "helpers_import", "refetch": True}).json()
    assert (job["job_type"], job["refetch"]) == ("helpers_import", True)
    assert fresh_api.deliver(BODY).json()["job_type"] == "osm_import"


# Signatures


@pytest.mark.parametrize("key", [SIGNING_KEY, NEXT_SIGNING_KEY])
def test_the_current_and_the_next_key_sign(api: Api, key: str) -> None:
    token = sign(RAW, url=url_of(api), key=key)
    assert api.deliver(RAW, token=token).status_code in (200, 202)


@pytest.mark.server
def test_after_the_rotation_the_old_key_does_not_sign_any_more(
    tmp_path: Path, embedded: sa.Engine
) -> None:
    with running_api(tmp_path, embedded, callback_signing_keys=NEXT_SIGNING_KEY) as api:
        for key, statuses in ((NEXT_SIGNING_KEY, (200, 202)), (SIGNING_KEY, (401,))):
            token = sign(RAW, url=url_of(api), key=key)
            assert api.deliver(RAW, token=token).status_code in statuses


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": datetime.now(UTC) - timedelta(hours=1)},
        {"nbf": datetime.now(UTC) + timedelta(hours=1)},
    ],
)
def test_a_delivery_outside_of_its_time_leads_to_the_clocks(
    api: Api, caplog: pytest.LogCaptureFixture, claims: dict[str, Any]
) -> None:
    caplog.set_level(logging.WARNING)
    for key, is_named in ((SIGNING_KEY, True), ("somebody else's key of the same length", False)):
        caplog.clear()
        token = sign(RAW, url=url_of(api), key=key, **claims)
        assert api.deliver(RAW, token=token).status_code == 401
        assert ("clock" in caplog.text) == is_named


@pytest.mark.parametrize("padding", ["", "="])
def test_a_digest_may_be_padded_or_not(api: Api, padding: str) -> None:
    claims = jwt.decode(sign(RAW, url="x"), options={"verify_signature": False})
    token = sign(RAW, url=url_of(api), body=claims["body"].rstrip("=") + padding)
    assert api.deliver(RAW, token=token).status_code in (200, 202)


LONG_AGO, FAR_AHEAD = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)

BAD_CLAIMS: list[dict[str, Any]] = [
    *({claim: None} for claim in ("iss", "sub", "exp", "nbf", "body")),
    {"iss": "Somebody"},
    {"sub": "https://elsewhere.example/v1/jobs/callback"},
    {"sub": 7},
    {"exp": LONG_AGO},
    {"exp": "soon"},
    {"exp": float("inf")},
    {"exp": [1]},
    {"nbf": FAR_AHEAD},
    {"aud": "somebody else"},
    {"body": "0" * 43},
    {"body": ""},
    {"body": 7},
    {"body": "é" * 43},
]


@pytest.mark.parametrize("claims", BAD_CLAIMS, ids=str)
def test_a_signature_that_claims_something_else_is_401(api: Api, claims: dict[str, Any]) -> None:
    before = jobs(api)
    reply = api.deliver(RAW, token=sign(RAW, url=url_of(api), **claims))
    assert reply.status_code == 401
    assert reply.json()["code"] == "signature_invalid"
    assert jobs(api) == before


def test_a_body_that_was_changed_on_its_way_is_401(api: Api) -> None:
    token = sign(RAW, url=url_of(api))
    for changed in (RAW + b" ", RAW.replace(b"town", b"other-town"), b""):
        assert api.deliver(changed, token=token).status_code == 401


def segments(token: str) -> tuple[str, str, str]:
    head, claims, signed = token.split(".")
    return head, claims, signed


def test_only_hs256_signs(api: Api) -> None:
    url = url_of(api)
    nested = jwt.utils.base64url_encode(b"[" * 8_000).decode()
    _, claims, signed = segments(sign(RAW, url=url))
    tokens = [
        sign(RAW, url=url, algorithm="HS384", key=SIGNING_KEY * 2),
        jwt.encode({"iss": "Upstash"}, "", algorithm="none"),
        f"{segments(jwt.encode({}, '', algorithm='none'))[0]}.{claims}.",
        f"{nested}.{claims}.{signed}",
        sign(RAW, url=url, key="another-key-of-the-right-length--"),
        "",
        "a.b.c",
        "ü",
    ]
    for token in tokens:
        headers = [(b"Upstash-Signature", token.encode("latin-1"))]
        reply = api.http.post(CALLBACK, content=RAW, headers=headers)
        assert reply.status_code == 401, token[:50]


def test_a_delivery_without_a_signature_is_401(api: Api) -> None:
    reply = api.http.post(CALLBACK, content=RAW)
    assert reply.status_code == 401
    assert "Upstash-Signature" in reply.headers["WWW-Authenticate"]


def test_an_unsigned_body_is_not_looked_at(api: Api) -> None:
    assert api.deliver(b"{", token="a.b.c").status_code == 401
    assert api.deliver(b"{").status_code == 422
    assert api.deliver({"city_slug": "nowhere"}).status_code == 404
    assert api.deliver({"city_slug": "town", "what": 1}).json()["errors"][0]["field"] == "what"


def test_a_message_id_without_end_is_422(api: Api) -> None:
    reply = api.deliver(BODY, **{"Upstash-Message-Id": "x" * 201})
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["field"] == "Upstash-Message-Id"


@pytest.mark.server
def test_the_url_that_a_proxy_hides_is_configured(tmp_path: Path, embedded: sa.Engine) -> None:
    public = "https://jobs.example.org/v1/jobs/callback"
    with running_api(tmp_path, embedded, callback_url=public) as api:
        assert api.deliver(RAW, token=sign(RAW, url=public)).status_code in (200, 202)
        assert api.deliver(RAW).status_code == 401


@pytest.mark.server
@pytest.mark.parametrize("unset", [None, "", " , "])
def test_without_keys_the_callback_is_closed(
    tmp_path: Path, embedded: sa.Engine, unset: str | None
) -> None:
    with running_api(tmp_path, embedded, callback_signing_keys=unset) as api:
        for token in (sign(RAW, url=url_of(api)), jwt.encode({}, "", algorithm="none")):
            reply = api.deliver(RAW, token=token)
            assert reply.status_code == 503
            assert reply.json()["code"] == "not_configured"
        assert api.enqueue().status_code in (200, 202)


@given(st.text(st.characters(max_codepoint=0xFF)) | st.from_regex(r"[\w-]+\.[\w-]+\.[\w-]+"))
def test_no_text_is_a_signature_and_none_is_an_error(text: str) -> None:
    assert not signature.is_valid(text, keys=[SIGNING_KEY.encode()], url="http://x", body=RAW)
