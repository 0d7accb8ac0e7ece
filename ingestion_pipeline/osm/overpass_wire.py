"""One request to an Overpass server and its reply, whatever the reply says.

Belongs here: sending, streaming to a file, time limits, broken connections, the lock. Does not
belong here: what a reply means and when to ask again (`overpass.py`).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ingestion_pipeline.osm.errors import OverpassError, OverpassTruncated, OverpassUnreachable
from ingestion_pipeline.osm.server_lock import one_request_at_a_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    import httpx

    from ingestion_pipeline.clock import Clock
    from ingestion_pipeline.locations import Endpoint

STATUS_TIMEOUT_S = 10
"""How long `/api/status`, which answers at once, is waited for."""

TEXT_BYTES = 65_536
"""How much is read of a body that is for people."""


class Refusal(Exception):
    """The server's reply, or its silence, is not data.

    Attributes:
        kind: The public error that says so.
        what: What happened.
        status: The HTTP status, or None where there was no reply.
    """

    def __init__(self, kind: type[OverpassError], what: str, status: int | None = None) -> None:
        """Keep what is needed to decide on another try and to write the public error."""
        super().__init__(what)
        self.kind = kind
        self.what = what
        self.status = status


class Patience(NamedTuple):
    """How long the client waits for an answer.

    A client that hangs up leaves its query running and its slot taken, so it has to wait longer
    than the server does.

    Attributes:
        connect_s: For the connection.
        beyond_timeout_s: For the next byte, on top of the time that the query declares.
        transfer_s: For the whole body, on top of both.
    """

    connect_s: float = 30.0
    beyond_timeout_s: float = 30.0
    transfer_s: float = 600.0


@dataclass(frozen=True)
class Reply:
    """What came over the wire; the body is in a file, without its HTTP compression.

    Attributes:
        status: The HTTP status.
        content_type: The media type without parameters, in lower case.
        redirect: Where a redirect points to, or an empty text.
        path: The file with the body.
        requested_at: When the request was sent (UTC).
        received_at: When the last byte had come (UTC).
    """

    status: int
    content_type: str
    redirect: str
    path: Path
    requested_at: datetime
    received_at: datetime

    def text(self) -> str:
        """Give the beginning of a body that is for people."""
        with self.path.open("rb") as file:
            return file.read(TEXT_BYTES).decode("utf-8", "replace")


class Wire:
    """The way to one server: one request at a time over all processes of the machine."""

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        http: httpx.Client,
        clock: Clock,
        lock_dir: Path,
        user_agent: str,
        patience: Patience,
    ) -> None:
        """Keep the tools; see `OverpassClient`."""
        self.endpoint = endpoint
        self._http = http
        self._clock = clock
        self._lock_dir = lock_dir
        self._user_agent = user_agent
        self._patience = patience

    def longest_s(self, timeout_s: int) -> float:
        """Give the time after which a query that declares `timeout_s` is given up."""
        return timeout_s + self._patience.beyond_timeout_s + self._patience.transfer_s

    def query(self, text: str, *, timeout_s: int, to: Path) -> Reply:
        """Send a query by POST (a long GET is answered with 414), and its answer to a file.

        Raises:
            Refusal: There was no reply, or it broke off.
        """
        return self._exchange(
            "POST", self.endpoint.target, form={"data": text}, timeout_s=timeout_s, to=to
        )

    def status(self, *, to: Path) -> Reply:
        """Read `/api/status`, which needs no slot.

        Raises:
            Refusal: There was no reply, or it broke off.
        """
        address = self.endpoint.sibling("status")
        return self._exchange("GET", address, form=None, timeout_s=STATUS_TIMEOUT_S, to=to)

    def _exchange(
        self, method: str, address: str, *, form: dict[str, str] | None, timeout_s: int, to: Path
    ) -> Reply:
        import httpx

        with one_request_at_a_time(self.endpoint.server, lock_dir=self._lock_dir):
            requested_at = self._clock.now()
            try:
                with self._http.stream(
                    method,
                    address,
                    data=form,
                    headers={"User-Agent": self._user_agent, "Accept-Encoding": "gzip"},
                    timeout=httpx.Timeout(
                        self._patience.connect_s,
                        read=timeout_s + self._patience.beyond_timeout_s,
                    ),
                    # A redirected POST would become a GET (301, 302, 303) or carry the
                    # credentials elsewhere.
                    follow_redirects=False,
                    auth=self.endpoint.auth or httpx.USE_CLIENT_DEFAULT,
                ) as response:
                    self._save(response, to=to, before=requested_at, timeout_s=timeout_s)
            except httpx.TransportError as error:
                raise Refusal(OverpassUnreachable, _named(error)) from error
            return Reply(
                status=response.status_code,
                content_type=_media_type(response),
                redirect=response.headers.get("Location", ""),
                path=to,
                requested_at=requested_at,
                received_at=self._clock.now(),
            )

    def _save(
        self, response: httpx.Response, *, to: Path, before: datetime, timeout_s: int
    ) -> None:
        """Write the body to a file.

        Raises:
            Refusal: It broke off, or came too slowly.
        """
        import httpx

        status = response.status_code
        try:
            with to.open("wb") as file:
                for piece in _decompressed(response):
                    file.write(piece)
                    waited = (self._clock.now() - before).total_seconds()
                    if waited > self.longest_s(timeout_s):
                        raise Refusal(
                            OverpassUnreachable,
                            f"the body was still coming after {waited:.0f} s",
                            status,
                        )
        except httpx.TimeoutException as error:
            raise Refusal(
                OverpassUnreachable, f"the body stopped coming ({_named(error)})", status
            ) from error
        except (httpx.TransportError, zlib.error) as error:
            raise Refusal(
                OverpassTruncated, f"the body broke off ({_named(error)})", status
            ) from error


def _decompressed(response: httpx.Response) -> Iterator[bytes]:
    """Give the body piece by piece as it comes, also a piece that decompresses to nothing.

    httpx would decompress too, but holds empty pieces back, so that a trickle could not be
    noticed, and takes a gzip stream that breaks off for whole.

    Raises:
        Refusal: The body is compressed in a way that was not asked for, or its end is missing.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding == "identity":
        yield from response.iter_raw()
        return
    if encoding != "gzip":
        raise Refusal(
            OverpassTruncated,
            f"the body is compressed by {encoding!r}, which was not asked for",
            response.status_code,
        )
    gzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    for piece in response.iter_raw():
        yield gzip.decompress(piece)
    if not gzip.eof:
        raise Refusal(
            OverpassTruncated, "the compressed body ends before its end", response.status_code
        )


def _media_type(response: httpx.Response) -> str:
    content_type: str = response.headers.get("Content-Type", "")
    return content_type.partition(";")[0].strip().lower()


def _named(error: Exception) -> str:
    """Name a library's error; several of httpx's have no text."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
