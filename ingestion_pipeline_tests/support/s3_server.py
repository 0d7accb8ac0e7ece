"""A real S3 server (moto's), and a proxy in front of it that counts requests and injects faults.

Belongs here: what tests of the lake on an object store start. Does not belong here: expectations.
"""

from __future__ import annotations

import http.client
import logging
import re
import threading
import uuid
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

KEY, SECRET = "AKIDEXAMPLE", "hush-hush-secret"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class Request:
    """A request as it came: `target` is the decoded path, with the query."""

    method: str
    target: str
    body: bytes = field(repr=False)

    @property
    def is_listing(self) -> bool:
        return "list-type=2" in self.target

    @property
    def prefix(self) -> str:
        """The prefix of a listing."""
        return self.target.partition("prefix=")[2].partition("&")[0]


@dataclass(frozen=True)
class Answer:
    """What the proxy sends instead of, or on top of, what the server answers.

    Attributes:
        status: The status of an answer of its own; None for the server's answer.
        code: The code of S3 in it.
        text: The message of S3 in it.
        cut: Close the connection after half of the answer's body.
        corrupt: Change a byte of the answer's body.
        forward: Let the server do what is asked, although the client hears something else.
    """

    status: int | None = None
    code: str = ""
    text: str = "no"
    cut: bool = False
    corrupt: bool = False
    forward: bool = False


SLOW_DOWN = Answer(503, "SlowDown", "Please reduce your request rate.")
BROKEN = Answer(500, "InternalError", "We encountered an internal error.")
CUT_UPLOAD = Answer()
"""The connection ends while the client sends: the proxy closes it and forwards nothing."""


class S3:
    """The server behind its proxy.

    Attributes:
        url: Where clients ask: the proxy's address.
        bucket: An empty bucket.
        requests: What was asked, in order.
        fault: Called with each request; what it returns happens instead of the server's answer.
    """

    def __init__(self, upstream: tuple[str, int], *, address: str = "127.0.0.1") -> None:
        self.bucket = ""
        self.requests: list[Request] = []
        self.fault: Callable[[Request], Answer | None] | None = None
        self._upstream = upstream
        s3 = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return lambda: s3._handle(self)
                raise AttributeError(name)

            def log_message(self, format: str, *_: object) -> None:  # noqa: A002
                pass

        self.http = ThreadingHTTPServer((address, 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://{address}:{self.http.server_port}"

    def renew(self) -> None:
        """Create another bucket, and forget requests and faults."""
        self.bucket = f"lake-{uuid.uuid4()}"
        connection = http.client.HTTPConnection(*self._upstream)
        connection.request("PUT", f"/{self.bucket}")
        assert connection.getresponse().status == 200
        connection.close()
        self.requests.clear()
        self.fault = None

    @property
    def lake(self) -> str:
        """The URL of a lake in the bucket."""
        return f"s3://{self.bucket}/lake"

    def objects(self) -> list[str]:
        """Return the keys of all objects of the lake, without counting the request."""
        connection = http.client.HTTPConnection(*self._upstream)
        connection.request("GET", f"/{self.bucket}?list-type=2&prefix=lake/")
        listed = connection.getresponse().read().decode()
        connection.close()
        return [key.removeprefix("lake/") for key in re.findall("<Key>(.*?)</Key>", listed)]

    def sent(self, method: str, part: str = "") -> list[Request]:
        """Return the requests with a method whose target contains a text."""
        return [each for each in self.requests if each.method == method and part in each.target]

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = _body(handler)
        request = Request(handler.command, unquote(handler.path), body)
        self.requests.append(request)
        answer = self.fault(request) if self.fault else None
        if answer is CUT_UPLOAD:
            handler.close_connection = True
            return
        if answer is None or answer.status is None or answer.forward:
            status, headers, content = self._forwarded(handler, body)
        if answer is not None and answer.status is not None:
            status, headers = answer.status, [("Content-Type", "application/xml")]
            content = (
                f"<?xml version='1.0'?><Error><Code>{answer.code}</Code>"
                f"<Message>{answer.text}</Message></Error>"
            ).encode()
        self._send(handler, status, headers, content, answer or Answer())

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        headers: list[tuple[str, str]],
        content: bytes,
        answer: Answer,
    ) -> None:
        is_head = handler.command == "HEAD"
        handler.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                handler.send_header(name, value)
        length = dict(headers).get("Content-Length") if is_head else None
        handler.send_header("Content-Length", length or str(len(content)))
        handler.end_headers()
        if is_head:
            return
        if answer.corrupt and content:
            content = bytes([content[0] ^ 1, *content[1:]])
        if answer.cut:
            handler.wfile.write(content[: len(content) // 2])
            handler.close_connection = True
            return
        handler.wfile.write(content)

    def _forwarded(
        self, handler: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self._upstream)
        headers = {
            name: value
            for name, value in handler.headers.items()
            if name.lower() not in ("connection", "expect", "transfer-encoding", "content-length")
        }
        connection.request(handler.command, handler.path, body=body, headers=headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, response.getheaders(), content


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    chunks = []
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        chunks.append(handler.rfile.read(size))
        handler.rfile.readline()
    handler.rfile.readline()
    return b"".join(chunks)


@contextmanager
def running_s3(
    address: str = "127.0.0.1", listening: AbstractContextManager[object] | None = None
) -> Iterator[S3]:
    """Run the server and its proxy in threads of this process.

    Args:
        address: Where the proxy listens.
        listening: Entered while the proxy's socket is made, such as a network namespace.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    with listening or nullcontext():
        s3 = S3(server.get_host_and_port(), address=address)
    thread = threading.Thread(target=s3.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield s3
    finally:
        s3.http.shutdown()
        thread.join()
        s3.http.server_close()
        server.stop()


def times(number: int, answer: Answer, *, when: Callable[[Request], bool]) -> Any:
    """Return a fault for `S3.fault`: the first requests that match get an answer, others none."""
    left = [number]

    def fault(request: Request) -> Answer | None:
        if left[0] and when(request):
            left[0] -= 1
            return answer
        return None

    return fault
