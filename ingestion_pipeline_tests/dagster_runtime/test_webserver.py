"""Dagster's webserver: what a foreign page, a link or a redirect can send changes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from ingestion_pipeline.dagster_runtime.webserver import LOOPBACK, SameOriginMiddleware

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request
    from starlette.websockets import WebSocket

UI = "http://127.0.0.1:3000"
JSON = {"Content-Type": "application/json"}
ELSEWHERE = {"Origin": "https://elsewhere.example"}


async def _reached(_: Request) -> PlainTextResponse:
    return PlainTextResponse("reached")


async def _connected(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


def guarded(names: Collection[str] | None = None) -> Starlette:
    methods = ["GET", "POST"]
    app = Starlette(
        routes=[
            Route("/graphql", _reached, methods=methods),
            Route("/dagster/graphql", _reached, methods=methods),
            Route("/report_asset_materialization/{key}", _reached, methods=methods),
            Route("/runs", _reached),
            WebSocketRoute("/graphql", _connected),
        ]
    )
    app.add_middleware(SameOriginMiddleware, names=names)
    return app


def answer(
    method: str, path: str, *, names: Collection[str] | None = None, **request: Any
) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=guarded(names))
        async with httpx.AsyncClient(transport=transport, base_url=UI) as client:
            return await client.request(method, path, **request)

    return asyncio.run(ask())


@pytest.mark.parametrize("path", ["/graphql", "/dagster/graphql", "/graphql/"])
def test_a_mutation_that_comes_by_get_is_refused(path: str) -> None:
    refused = answer("GET", path, params={"query": "mutation { launchRun }"})
    assert refused.status_code == 405
    assert "POST" in refused.text


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_body_that_a_form_can_send_is_refused(content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert answer("POST", "/graphql", content=b"{}", headers=headers).status_code == 415


@pytest.mark.parametrize("path", ["/graphql", "/report_asset_materialization/poi"])
@pytest.mark.parametrize("origin", ["https://elsewhere.example", "http://127.0.0.1:3001", "null"])
def test_a_page_of_another_origin_is_refused(path: str, origin: str) -> None:
    refused = answer("POST", path, content=b"{}", headers=JSON | {"Origin": origin})
    assert refused.status_code == 403


@pytest.mark.parametrize(
    ("headers"),
    [
        JSON,
        JSON | {"Origin": UI},
        {"Content-Type": "application/json; charset=utf-8", "Origin": UI},
        JSON | {"Origin": "https://dagster.example", "X-Forwarded-Host": "dagster.example"},
    ],
    ids=["a program", "its own page", "with a charset", "behind a proxy"],
)
def test_its_own_pages_and_programs_are_answered(headers: dict[str, str]) -> None:
    assert answer("POST", "/graphql", content=b"{}", headers=headers).text == "reached"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:3000", 200),
        ("localhost", 200),
        ("[::1]:3000", 200),
        ("dagster.example", 200),
        ("elsewhere.example:3000", 403),
        ("127.0.0.1.elsewhere.example", 403),
        ("", 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_whose_name_has_got_this_servers_address_is_refused(
    method: str, host: str, status: int
) -> None:
    headers = JSON | {"Host": host, "Origin": f"http://{host}"}
    names = {*LOOPBACK, "dagster.example"}
    assert answer(method, "/graphql", names=names, headers=headers).status_code == status


@pytest.mark.parametrize("path", ["/graphql", "/runs", "/runs?query=failed"])
def test_pages_are_shown_whoever_links_to_them(path: str) -> None:
    assert answer("GET", path, headers=ELSEWHERE).text == "reached"


def websocket(origin: str) -> list[dict[str, Any]]:
    """Ask for a websocket as a browser does; give what the server sends."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/graphql",
        "raw_path": b"/graphql",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:3000"), (b"origin", origin.encode())],
        "subprotocols": [],
    }
    asyncio.run(guarded()(scope, receive, send))
    return sent


def test_a_page_of_another_origin_gets_no_websocket() -> None:
    assert [message["type"] for message in websocket("https://elsewhere.example")] == [
        "websocket.close"
    ]
    assert [message["type"] for message in websocket(UI)] == ["websocket.accept", "websocket.close"]
