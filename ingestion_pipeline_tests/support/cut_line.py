"""A line to a TCP server that can be cut, as a network is: nothing arrives, and nobody is told."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class CutLine:
    """Forwards connections of a port of its own; use it in `with`."""

    def __init__(self, port: int) -> None:
        """Forward to a port of this machine."""
        self._to = port
        self._through = threading.Event()
        self._through.set()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def port(self) -> int:
        """The port to connect to."""
        port: int = self._listener.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for each in self._sockets:
            each.close()
        self._through.set()

    def cut(self) -> None:
        """Hold back whatever is sent, and new connections."""
        self._through.clear()

    def mend(self) -> None:
        """Let everything through, also what was held back."""
        self._through.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                self._sockets.append(ours)
                threading.Thread(target=self._serve, args=(ours,), daemon=True).start()

    def _serve(self, ours: socket.socket) -> None:
        self._through.wait()
        with suppress(OSError):
            theirs = socket.create_connection(("127.0.0.1", self._to))
            self._sockets.append(theirs)
            threading.Thread(target=self._pump, args=(theirs, ours), daemon=True).start()
            self._pump(ours, theirs)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._through.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
