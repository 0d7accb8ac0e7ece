"""Dagster's webserver, which changes something only when its own pages or a program ask for it.

Belongs here: starting it, and refusing requests that a foreign web page or a redirect can cause.
Does not belong here: who may use it: it has no authentication (docs/api.md, Safety).
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
"""How often the pages ask for news."""


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
        read_only: Whether it refuses whatever changes something.
        allowed_hosts: The names by which it is asked, where a proxy passes them on. A server that
            listens on loopback is also asked by its names there, and by no other.
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
    """ASGI middleware: refuses what a page of another origin, a link or a redirect can send.

    Dagster executes mutations that come by GET, and takes bodies of any type. A browser sends both
    to this server for any page that is open beside the UI. A page whose own name has got the
    address of this server is of the same origin for the browser; it is known by that name.
    """

    def __init__(self, app: "ASGIApp", names: Collection[str] | None = None) -> None:
        """Wrap an application.

        Args:
            app: The application.
            names: The hosts, without ports, by which it may be asked; None for any.
        """
        self._app = app
        self._names = names

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on, or answer it with the reason why not."""
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
        return 403, "This server is not asked by this name; allow it with --allow-host."
    method = scope.get("method", "GET")
    is_graphql = scope["path"].rstrip("/").endswith("/graphql")
    reads_only = scope["type"] == "http" and method in ("GET", "HEAD", "OPTIONS")
    if not reads_only and _is_foreign(headers):
        return 403, "Requests from pages of another origin are refused."
    if is_graphql and reads_only and "query" in parse_qs(scope["query_string"].decode("latin-1")):
        return 405, "GraphQL is answered by POST only. Send the query as JSON in the body."
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if is_graphql and method == "POST" and content_type != "application/json":
        return 415, "Send GraphQL as JSON, with Content-Type: application/json."
    return None


def _is_foreign(headers: Mapping[str, str]) -> bool:
    """Return whether a browser says that a page of another origin sends this.

    Programs send no Origin. A page can set neither Host nor X-Forwarded-Host without being allowed
    to by this server first.
    """
    origin = headers.get("origin")
    if origin is None:
        return False
    return urlsplit(origin).netloc not in (headers.get("host"), headers.get("x-forwarded-host"))
