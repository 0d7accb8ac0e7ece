"""A provider of one extract, over HTTP.

Belongs here: a real server that says in what state its file is. Does not belong here: expectations.
"""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Provider:
    """A real HTTP server of one extract, which says in what state it is.

    Attributes:
        file: The extract.
        says: Whether it sends an ETag.
        sent: How often it sent the file.
        pause_s: How long it takes to send it, in seconds.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.says = True
        self.sent = 0
        self.pause_s = 0.0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._head()

            def do_GET(self) -> None:
                body = self._head()
                provider.sent += bool(body)
                time.sleep(provider.pause_s)
                self.wfile.write(body)

            def _head(self) -> bytes:
                found = self.path == "/region.osm.pbf"
                body = provider.file.read_bytes() if found else b""
                self.send_response(200 if found else 404)
                self.send_header("Content-Length", str(len(body)))
                if found and provider.says:
                    self.send_header("ETag", hashlib.sha256(body).hexdigest())
                self.end_headers()
                return body

            def log_message(self, format: str, *_: object) -> None:  # noqa: A002
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/region.osm.pbf"


@contextmanager
def running_provider(file: Path) -> Iterator[Provider]:
    """Serve an extract from a thread of this process."""
    provider = Provider(file)
    thread = threading.Thread(target=provider.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield provider
    finally:
        provider.http.shutdown()
        thread.join()
        provider.http.server_close()
