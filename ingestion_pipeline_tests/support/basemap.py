"""A server with the style of a basemap: one colour."""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

BASEMAP_COLOUR = (0, 255, 0)


class _Basemap(BaseHTTPRequestHandler):
    style = json.dumps(
        {
            "version": 8,
            "sources": {},
            "layers": [{"id": "b", "type": "background", "paint": {"background-color": "#00ff00"}}],
        }
    ).encode()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(self.style)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving_basemap() -> Iterator[str]:
    """Serve `/style.json` on a free port of this machine; give the host."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Basemap)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
