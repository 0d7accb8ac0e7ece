"""What is sent to Dagster's webserver, and what its answers come to."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from ingestion_pipeline.cli.backfill import Backfill, DagsterRefused, DagsterUnavailable, submit
from ingestion_pipeline.config.settings import SettingsError
from ingestion_pipeline_tests.support.overpass_server import OverpassServer, Reply, refusing_url

TAKEN = {"__typename": "LaunchBackfillSuccess", "backfillId": "abcdefgh"}


def told(answer: object) -> Reply:
    return Reply(body=json.dumps({"data": {"launchPartitionBackfill": answer}}))


def submit_to(url: str) -> Backfill:
    with httpx.Client() as http:
        return submit(
            http,
            url,
            assets=["first", "second"],
            partitions=["town|2024-06-01", "town|2024-06-02"],
            tags={"ingestion/trigger": "backfill"},
            title="two days",
        )


def address_of(server: OverpassServer, user: str = "") -> str:
    return server.url.replace("/api/interpreter", "").replace("://", f"://{user}")


@pytest.mark.server
def test_all_days_go_in_one_request_and_the_page_of_the_backfill_is_told() -> None:
    with OverpassServer(told(TAKEN)) as server:
        submitted = submit_to(address_of(server) + "/")
        assert submitted == Backfill("abcdefgh", f"{address_of(server)}/runs/b/abcdefgh")
        (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/graphql")
    sent: dict[str, Any] = json.loads(request.body)
    assert "launchPartitionBackfill" in sent["query"]
    assert sent["variables"]["parameters"] == {
        "assetSelection": [{"path": ["first"]}, {"path": ["second"]}],
        "partitionNames": ["town|2024-06-01", "town|2024-06-02"],
        "tags": [{"key": "ingestion/trigger", "value": "backfill"}],
        "title": "two days",
    }


@pytest.mark.server
def test_a_password_is_used_and_never_shown() -> None:
    with OverpassServer(told(TAKEN)) as server:
        submitted = submit_to(address_of(server, "me:Unspeakable@"))
        assert server.requests[0].headers["authorization"].startswith("Basic ")
        server.default = Reply(403, "Unspeakable is not welcome", "text/html")
        with pytest.raises(DagsterRefused) as caught:
            submit_to(address_of(server, "me:Unspeakable@"))
    assert "Unspeakable" not in submitted.address + str(caught.value)


@pytest.mark.server
def test_a_webserver_that_is_not_there_is_worth_another_try() -> None:
    with pytest.raises(DagsterUnavailable, match="DAGSTER_URL") as caught:
        submit_to(refusing_url())
    assert caught.value.should_retry


@pytest.mark.server
@pytest.mark.parametrize(
    "reply",
    [
        Reply(500, "Internal Server Error", "text/plain"),
        Reply(502, "<html>bad gateway</html>", "text/html"),
        Reply(hang_up=True),
    ],
    ids=["500", "502", "hangs up"],
)
def test_where_nobody_knows_whether_it_was_taken_on_the_reader_is_sent_to_look(
    reply: Reply,
) -> None:
    with (
        OverpassServer(reply) as server,
        pytest.raises(DagsterUnavailable, match="may have accepted this one"),
    ):
        submit_to(address_of(server))


@pytest.mark.server
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            told({"__typename": "PartitionKeysNotFoundError", "message": "no town|2024-06-02"}),
            "PartitionKeysNotFoundError: no town",
        ),
        (told({"__typename": "UnauthorizedError", "message": "read-only"}), "read-only"),
        (told({"__typename": "RunConflict"}), "no reason is given"),
        (Reply(body='{"errors": [{"message": "Cannot query field"}]}'), "Cannot query field"),
        (Reply(body='{"data": null}'), "not an answer of Dagster's webserver"),
        (Reply(body="[]"), "not an answer of Dagster's webserver"),
        (Reply(404, "<html>nothing here</html>", "text/html"), "HTTP 404"),
        (Reply(401, "who are you?", "text/plain"), "proxy"),
    ],
)
def test_a_refusal_is_told_and_is_final(reply: Reply, words: str) -> None:
    with OverpassServer(reply) as server, pytest.raises(DagsterRefused, match=words) as caught:
        submit_to(address_of(server))
    assert not caught.value.should_retry


@pytest.mark.parametrize("url", ["localhost:3000", "ftp://localhost", "http://"])
def test_an_address_that_is_none_names_the_setting(url: str) -> None:
    with pytest.raises(SettingsError, match="DAGSTER_URL"):
        submit_to(url)
