"""Dagster's webserver with protection against cross-origin requests.

It has no authentication (docs/api.md, Safety).
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import dagster as dg

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

STATEMENT_TIMEOUT_MS = 15_000
POOL_RECYCLE_S = 3600
POOL_OVERFLOW = 20
"""The defaults of `dagster-webserver`."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

POLL_MS = 2000
"""The polling interval of the UI."""


def serve(
    instance: dg.DagsterInstance,
    workspace: Path,
    *,
    host: str,
    port: int,
    read_only: bool,
    allowed_hosts: Collection[str] = (),
) -> None:
    """Run the webserver until this process is interrupted.

    Args:
        instance: Dagster's instance.
        workspace: The `workspace.yaml` that names the code location.
        host: The address to listen on.
        port: The port.
        read_only: Whether it rejects mutations.
        allowed_hosts: Host names that a proxy passes on. A server on loopback also accepts its
            loopback names, and no others.
    """
    import uvicorn
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster_webserver.app import create_app_from_workspace_process_context
    from dagster_webserver.version import __version__

    instance.optimize_for_webserver(STATEMENT_TIMEOUT_MS, POOL_RECYCLE_S, POOL_OVERFLOW)
    with WorkspaceProcessContext(
        instance,
        WorkspaceFileTarget([str(workspace)]),
        version=__version__,
        read_only=read_only,
    ) as process_context:
        app = create_app_from_workspace_process_context(
            process_context, live_data_poll_rate=POLL_MS, lifespan=_lifespan
        )
        names = {*allowed_hosts, *LOOPBACK} if host in LOOPBACK or allowed_hosts else None
        app.add_middleware(SameOriginMiddleware, names=names)
        uvicorn.run(app, host=host, port=port, log_level="warning")


@asynccontextmanager
async def _lifespan(_: Any) -> AsyncIterator[None]:
    """End quietly on Ctrl-C, which cancels the task."""
    from asyncio import CancelledError

    with suppress(CancelledError):
        yield


class SameOriginMiddleware:
    """ASGI middleware that rejects requests of other origins, links and redirects.

    Dagster executes mutations sent by GET, and accepts bodies of any type. A browser sends both for
    any page. Against DNS rebinding, where the page's host name resolves to this server, the
    middleware checks the host name.
    """

    def __init__(self, app: "ASGIApp", names: Collection[str] | None = None) -> None:
        """Wrap an application.

        Args:
            app: The application.
            names: The allowed host names, without ports; None for any.
        """
        self._app = app
        self._names = names

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on, or respond with the reason for its rejection."""
        from starlette.responses import PlainTextResponse
        from starlette.websockets import WebSocketClose

        refused = _rejection(scope, self._names)
        if refused is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(code=1008, reason=refused[1])(scope, receive, send)
        else:
            status, why = refused
            await PlainTextResponse(f"{why}\n", status_code=status)(scope, receive, send)


def _rejection(scope: "Scope", names: Collection[str] | None) -> tuple[int, str] | None:
    """Return the HTTP status and the reason; None where the request is passed on."""
    if scope["type"] not in ("http", "websocket"):
        return None
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
    }
    if names is not None and urlsplit(f"//{headers.get('host', '')}").hostname not in names:
        return 403, "Host name not allowed. Allow it with --allow-host."
    method = scope.get("method", "GET")
    is_graphql = scope["path"].rstrip("/").endswith("/graphql")
    reads_only = scope["type"] == "http" and method in ("GET", "HEAD", "OPTIONS")
    if not reads_only and _is_foreign(headers):
        return 403, "Cross-origin requests are rejected."
    if is_graphql and reads_only and "query" in parse_qs(scope["query_string"].decode("latin-1")):
        return 405, "GraphQL needs POST. Send the query as JSON in the body."
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if is_graphql and method == "POST" and content_type != "application/json":
        return 415, "Send GraphQL as JSON, with Content-Type: application/json."
    return None


def _is_foreign(headers: Mapping[str, str]) -> bool:
    """Return whether the Origin header names another origin.

    Programs send no Origin. A page cannot set Host or X-Forwarded-Host without permission of this
    server.
    """
    origin = headers.get("origin")
    if origin is None:
        return False
    return urlsplit(origin).netloc not in (headers.get("host"), headers.get("x-forwarded-host"))
