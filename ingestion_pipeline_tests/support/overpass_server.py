"""A real HTTP server on this machine that answers as an Overpass server does, faults included.

Belongs here: replaying scripted replies byte by byte, breaking connections on demand, and bodies
in Overpass's form. Does not belong here: anything that understands Overpass QL.

    with OverpassServer() as server:
        server.enqueue(Reply(status=504, body="busy"), Reply(body=overpass_json([node])))
        ...                               # talk to server.url
        assert [request.query for request in server.requests] == [...]

Replies are used in the order in which they were enqueued, whatever is asked, `/api/status`
included unless `status` is set. When none is left, `default` answers; where there is no default, a
500 says so. Two kinds of requests are answered beside the script: `/api/timestamp` by `timestamp`,
and a query for objects by id, which asks for proof of history, by `history`.

Into a JSON body goes what `make asked` of the query would print, as a real server does.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

COPYRIGHT = (
    "The data included in this document is from www.openstreetmap.org. "
    "The data is made available under ODbL."
)


@dataclass(frozen=True)
class Request:
    """A request as it came: header names in lower case, the path with its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def query(self) -> str:
        """The Overpass QL of the form field `data`."""
        return parse_qs(self.body.decode(), strict_parsing=True)["data"][0]

    @property
    def question(self) -> str:
        """The same, or an empty text where something else is asked for."""
        return self.query if self.body.startswith(b"data=") else ""


@dataclass(frozen=True)
class Reply:
    """What the server sends, and how.

    Attributes:
        status: The HTTP status.
        body: The body; a text is sent as UTF-8.
        content_type: The header, or None for none.
        headers: Further headers, or others in the place of those that the server makes.
        compressed: Send the body by gzip.
        framing: With Content-Length, or chunked.
        delay_s: Wait before the first byte of the reply.
        piece_bytes: Send the body in pieces of this size.
        pause_s: Wait before every piece.
        cut_after: Break the connection after this many bytes of the body as it is sent.
        ending: How a cut looks: closed (FIN) or reset (RST).
        silent: Read the request and never answer; with `cut_after`, stop there and keep silent.
        hang_up: Close the connection without a word.
        repeats: Whether a JSON body repeats what the query has made.
    """

    status: int = 200
    body: bytes | str = b""
    content_type: str | None = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    compressed: bool = False
    framing: Literal["length", "chunked"] = "length"
    delay_s: float = 0.0
    piece_bytes: int = 65_536
    pause_s: float = 0.0
    cut_after: int | None = None
    ending: Literal["close", "reset"] = "close"
    silent: bool = False
    hang_up: bool = False
    repeats: bool = True

    @classmethod
    def recorded(cls, folder: Path, name: str) -> Self:
        """Replay a recorded exchange (`NAME.response-head.txt` and `NAME.body.*`)."""
        head = (folder / f"{name}.response-head.txt").read_text(encoding="utf-8")
        first, *lines = head.partition("\n\n")[0].splitlines()
        headers = dict(line.split(": ", 1) for line in lines)
        suffix = {
            "application/json": "json",
            "text/html": "html",
            "text/plain": "txt",
            "text/csv": "txt",
        }[headers["Content-Type"].partition(";")[0]]
        path = folder / f"{name}.body.{suffix}"
        body = (
            path.read_bytes()
            if path.exists()
            else gzip.decompress(path.with_name(f"{path.name}.gz").read_bytes())
        )
        return cls(
            status=int(first.split()[1]),
            body=body,
            content_type=headers["Content-Type"],
            compressed=headers.get("Content-Encoding") == "gzip",
            framing="chunked" if "Transfer-Encoding" in headers else "length",
        )

    def repeating(self, query: str) -> bytes:
        """The body with what `make asked` of the query prints at its beginning."""
        body = self.body.encode() if isinstance(self.body, str) else self.body
        made = re.search(r"make asked (.*?);out;", query)
        begun = re.search(rb'"elements": \[(?=(\s*)(.))', body, re.DOTALL)
        if not (self.repeats and made and begun):
            return body
        tags = dict(re.findall(r'(\w+)="(.*?)"', made[1]))
        element = json.dumps({"type": "asked", "id": 1, "tags": tags}, indent=2).encode()
        comma = b"" if begun[2] == b"]" else b","
        return body[: begun.end()] + b"\n\n" + element + comma + body[begun.end() :]

    def payload(self, query: str = "") -> bytes:
        """The bytes of the body as they are sent."""
        body = self.repeating(query)
        return gzip.compress(body) if self.compressed else body


def overpass_json(
    selected: Sequence[Mapping[str, Any]] = (),
    *,
    boundary: Sequence[Mapping[str, Any]] | None = None,
    base: str | None = "2026-11-20T12:00:00Z",
    remark: str | None = None,
) -> bytes:
    """Write a body as Overpass does for `selection.overpass_query`.

    Args:
        selected: The elements of the first section, in Overpass's form.
        boundary: Those of the second section, or None for no second section.
        base: The time of the server's data, or None to leave it out.
        remark: What stands at the end when something went wrong.
    """
    elements = [_count(selected), *selected]
    if boundary is not None:
        elements += [_count(boundary), *boundary]
    document: dict[str, Any] = {
        "version": 0.6,
        "generator": "Overpass API 0.7.62 7c32a7d5",
        "osm3s": {"timestamp_osm_base": base, "copyright": COPYRIGHT},
        "elements": elements,
    }
    if base is None:
        del document["osm3s"]["timestamp_osm_base"]
    if remark is not None:
        document["remark"] = remark
    return json.dumps(document, indent=2, ensure_ascii=False).encode()


def known_before(request: Request, *, version: int = 1, at: str = "2005-08-01T00:00:00Z") -> Reply:
    """Answer a query for objects by id as a server does that knows them all as they were before."""
    elements: list[dict[str, Any]] = []
    for kind, ids in re.findall(r"(node|way|relation)\(id:([\d,]+)\)", request.query):
        place = {"lat": 0.0, "lon": 0.0} if kind == "node" else {}
        elements += [
            {"type": kind, "id": int(osm_id), **place, "timestamp": at, "version": version}
            for osm_id in ids.split(",")
        ]
    return Reply(body=overpass_json(elements, base=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"))


def _count(elements: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    kinds = Counter(element["type"] for element in elements)
    numbers = {f"{kind}s": str(kinds[kind]) for kind in ("node", "way", "relation")}
    return {"type": "count", "id": 0, "tags": {**numbers, "total": str(len(elements))}}


def error_page(*lines: str) -> str:
    """Write a page as Overpass does when it refuses a query."""
    said = "".join(
        f'<p><strong style="color:#FF0000">Error</strong>: {line} </p>\n' for line in lines
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<html lang="en">\n<head>\n'
        f"  <title>OSM3S Response</title>\n</head>\n<body>\n\n<p>{COPYRIGHT}</p>\n{said}\n"
        "</body>\n</html>\n"
    )


def refusing_url() -> str:
    """Return an address where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}/api/interpreter"


class OverpassServer:
    """The server; a context manager that stops every connection at its end.

    Attributes:
        requests: What came, in order.
        default: Answers when no enqueued reply is left: a reply, or a function of the request.
        most_at_once: How many requests were under way at the same time, at most.
        timestamp: What `/api/timestamp` says; None for a server that does not have it.
        status: What `/api/status` says beside the script; None for a reply of the script.
        history: Answers a query for objects by id.
        asides: The requests that these answered, in order; they are not among `requests`.
    """

    def __init__(
        self,
        default: Reply | Callable[[Request], Reply] | None = None,
        *,
        address: str = "127.0.0.1",
    ) -> None:
        """Listen on a free port of an address; requests are answered from `__enter__` on."""
        self.requests: list[Request] = []
        self.default = default
        self.timestamp: str | None = None
        self.status: str | None = None
        self.history: Callable[[Request], Reply] = known_before
        self.asides: list[Request] = []
        self.most_at_once = 0
        self._under_way = 0
        self._replies: deque[Reply] = deque()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._http = _ThreadingServer((address, 0), self._handler_class())
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self) -> Self:
        """Start to answer."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop: silent replies end, every thread is joined, and a fault of the server is raised."""
        self._closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        if self._http.faults and error is None:
            raise self._http.faults[0]

    @property
    def url(self) -> str:
        """The address of the interpreter."""
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}/api/interpreter"

    @property
    def queries(self) -> list[str]:
        """The Overpass QL of every POST, in order."""
        return [request.query for request in self.requests if request.method == "POST"]

    @property
    def unused(self) -> int:
        """How many enqueued replies have not been used."""
        return len(self._replies)

    def enqueue(self, *replies: Reply) -> None:
        """Add replies to the script."""
        self._replies.extend(replies)

    def _next(self, request: Request) -> Reply:
        beside = self._beside_script(request)
        if beside is not None:
            self.asides.append(request)
            return beside
        with self._lock:
            self.requests.append(request)
            if self._replies:
                return self._replies.popleft()
        if callable(self.default):
            return self.default(request)
        return self.default or Reply(500, "the script has no further reply", "text/plain")

    def _beside_script(self, request: Request) -> Reply | None:
        resource = request.path.partition("?")[0].rpartition("/")[2]
        if resource == "timestamp":
            if self.timestamp is None:
                return Reply(404, "404 Not Found", "text/plain")
            return Reply(200, f"{self.timestamp}\n", "text/plain")
        if resource == "status" and self.status is not None:
            return Reply(200, self.status, "text/plain")
        return self.history(request) if "(id:" in request.question else None

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            length = int(handler.headers.get("Content-Length", "0"))
            request = Request(
                method=handler.command,
                path=handler.path,
                headers={name.lower(): value for name, value in handler.headers.items()},
                body=handler.rfile.read(length),
            )
            reply = self._next(request)
            self._wait(reply.delay_s)
            if reply.hang_up:
                _break(handler, reply.ending)
            elif reply.silent and reply.cut_after is None:
                self._closing.wait()
                _break(handler, "close")
            else:
                self._send(handler, reply, request.question)
        finally:
            with self._lock:
                self._under_way -= 1

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply, query: str) -> None:
        payload = reply.payload(query)
        handler.send_response(reply.status)
        headers: dict[str, str] = {}
        if reply.content_type is not None:
            headers["Content-Type"] = reply.content_type
        if reply.compressed:
            headers["Content-Encoding"] = "gzip"
        if reply.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(len(payload))
        headers |= reply.headers
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        sent = payload if reply.cut_after is None else payload[: reply.cut_after]
        for start in range(0, len(sent), reply.piece_bytes):
            self._wait(reply.pause_s)
            piece = sent[start : start + reply.piece_bytes]
            if reply.framing == "chunked":
                piece = b"%x\r\n%b\r\n" % (len(piece), piece)
            handler.wfile.write(piece)
        if reply.cut_after is not None:
            if reply.silent:
                self._closing.wait()
            _break(handler, reply.ending)
        elif reply.framing == "chunked":
            handler.wfile.write(b"0\r\n\r\n")

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        if seconds and self._closing.wait(deadline - time.monotonic()):
            raise ConnectionAbortedError

    def _handler_class(self) -> type[BaseHTTPRequestHandler]:
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                answer(self)

            def do_POST(self) -> None:
                answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Keep quiet."""

        return Handler


class _ThreadingServer(ThreadingHTTPServer):
    daemon_threads = False  # joined by server_close(), so that no test leaves a thread behind
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.faults: list[BaseException] = []
        self._connections: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def server_close(self) -> None:
        """Wake the threads that wait for another request of a connection that is kept alive."""
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it was closed before
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Take it for granted that a client hangs up; keep anything else for `__exit__`."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.faults.append(error)


def _break(handler: BaseHTTPRequestHandler, ending: Literal["close", "reset"]) -> None:
    """End the connection here and now."""
    handler.close_connection = True
    handler.wfile.flush()
    if ending == "reset":
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.connection.close()
    else:
        handler.connection.shutdown(socket.SHUT_RDWR)
