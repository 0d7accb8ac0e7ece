"""One request to an Overpass server and its response: transport, timeouts and size limits."""

from __future__ import annotations

import socket
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ingestion_pipeline.core.errors import quoted
from ingestion_pipeline.core.progress import Progress
from ingestion_pipeline.osm.errors import (
    OverpassError,
    OverpassLeaseLost,
    OverpassTooBig,
    OverpassTruncated,
    OverpassUnreachable,
)
from ingestion_pipeline.staging.upstream import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    import httpx

    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.core.locations import Endpoint
    from ingestion_pipeline.sources.gate import Gate, Turn

STATUS_TIMEOUT_S = 10
"""The timeout of `/api/status` and `/api/timestamp`, which respond at once."""

TEXT_BYTES = 65_536
"""How much is read of a body for people."""

_DAY_S = 86_400.0

_PIECE_BYTES = 1 << 20
"""How much is decompressed at a time."""


class Refusal(Exception):
    """A response, or a missing response, that is not data.

    Attributes:
        kind: The public error.
        what: What happened.
        status: The HTTP status, or None without a response.
        less_helps: Whether the server may have room for a query that declares less.
        retry_after_s: The wait in seconds that the server asks for, or None.
        more_helps: Whether the server may answer a query that declares more.
    """

    def __init__(
        self,
        kind: type[OverpassError],
        what: str,
        status: int | None = None,
        *,
        less_helps: bool = False,
        more_helps: bool = True,
        retry_after_s: float | None = None,
    ) -> None:
        """Store the data for the decision on a retry and for the public error."""
        super().__init__(what)
        self.kind = kind
        self.what = what
        self.status = status
        self.less_helps = less_helps
        self.more_helps = more_helps
        self.retry_after_s = retry_after_s


class Patience(NamedTuple):
    """Timeouts of the client.

    A client that disconnects leaves its query running and its slot occupied, so it waits longer
    than the server does.

    Attributes:
        connect_s: For the connection.
        beyond_timeout_s: For the next byte, in addition to the time that the query declares.
        transfer_s: For the whole body, in addition to both.
    """

    connect_s: float = 30.0
    beyond_timeout_s: float = 30.0
    transfer_s: float = 600.0


@dataclass(frozen=True)
class Reply:
    """A response; its body is in a file, without HTTP compression.

    Attributes:
        status: The HTTP status.
        content_type: The media type without parameters, in lower case.
        redirect: The target of a redirect, or an empty text.
        retry_after_s: The wait in seconds that the server asks for, or None.
        path: The file with the body.
        requested_at: The time of the request (UTC).
        received_at: The time when the last byte arrived (UTC).
    """

    status: int
    content_type: str
    redirect: str
    retry_after_s: float | None
    path: Path
    requested_at: datetime
    received_at: datetime

    def text(self) -> str:
        """Return the beginning of a body for people."""
        with self.path.open("rb") as file:
            return file.read(TEXT_BYTES).decode("utf-8", "replace")


class Line:
    """The connection of a client that sends one request at a time and keeps the connection open."""

    def __init__(self) -> None:
        """Begin without a connection."""
        self._stream: Any = None

    def look(self, turn: Turn) -> Callable[[str, dict[str, Any]], None]:
        """Return what httpx calls at every event of a request; it notes the connection.

        The request is not sent if the right to send it is lost by then.
        """

        def note(event: str, info: dict[str, Any]) -> None:
            if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
                self._stream = info["return_value"]
            elif event.endswith(".send_request_headers.started") and turn.lost is not None:
                raise Refusal(OverpassLeaseLost, turn.lost)

        return note

    def cut(self) -> None:
        """End the connection; a thread that waits for its bytes goes on at once."""
        line = self._stream and self._stream.get_extra_info("socket")
        if line is not None:
            with suppress(OSError):  # it has ended
                # That of TLS would first forget its keys, under the hands of the other thread.
                socket.socket.shutdown(line, socket.SHUT_RDWR)


@dataclass(frozen=True, kw_only=True)
class Wire:
    """The connection to one server: one request at a time across all workers.

    Attributes: see `OverpassClient`, and

        line: The open connection.
    """

    endpoint: Endpoint
    http: httpx.Client
    clock: Clock
    gate: Gate
    user_agent: str
    patience: Patience
    line: Line = field(default_factory=Line)

    @property
    def server(self) -> Server:
        """The server, as its requests are counted."""
        return Server("overpass", self.endpoint.server)

    def longest_s(self, timeout_s: int) -> float:
        """Return the time after which the client gives up a query that declares `timeout_s`."""
        return timeout_s + self.patience.beyond_timeout_s + self.patience.transfer_s

    def query(self, text: str, *, timeout_s: int, most_bytes: int, to: Path) -> Reply:
        """Send a query by POST (a long GET is answered with 414), and write the body to a file.

        Raises:
            Refusal: There is no response, or it is incomplete or larger than `most_bytes`.
        """
        return self._exchange(
            "POST",
            self.endpoint.target,
            form={"data": text},
            timeout_s=timeout_s,
            most_bytes=most_bytes,
            to=to,
        )

    def resource(self, name: Literal["status", "timestamp"], *, to: Path) -> Reply:
        """Read `/api/status` or `/api/timestamp`, which need no slot.

        Raises:
            Refusal: There is no response, or it is incomplete or too long.
        """
        return self._exchange(
            "GET",
            self.endpoint.sibling(name),
            form=None,
            timeout_s=STATUS_TIMEOUT_S,
            most_bytes=TEXT_BYTES,
            to=to,
        )

    @contextmanager
    def _turn(self) -> Iterator[Turn]:
        """Wait for the right to send a request; it is ended if the right is lost."""
        with self.gate.request(self.server) as turn:
            turn.abort_by(self.line.cut)
            try:
                yield turn
            except Exception as error:
                if turn.lost is None:
                    raise
                raise Refusal(
                    OverpassLeaseLost, f"the request was ended, because {turn.lost}"
                ) from error

    def _exchange(
        self,
        method: str,
        address: str,
        *,
        form: dict[str, str] | None,
        timeout_s: int,
        most_bytes: int,
        to: Path,
    ) -> Reply:
        import httpx

        with self._turn() as turn:
            requested_at = self.clock.now()
            try:
                with self.http.stream(
                    method,
                    address,
                    data=form,
                    headers={
                        "User-Agent": self.user_agent,
                        "Accept-Encoding": "gzip",
                        "Cache-Control": "no-cache",  # so that proxies return no older data
                    },
                    timeout=httpx.Timeout(
                        self.patience.connect_s,
                        read=timeout_s + self.patience.beyond_timeout_s,
                    ),
                    # A redirected POST would become a GET (301, 302, 303) or carry the
                    # credentials elsewhere.
                    follow_redirects=False,
                    auth=self.endpoint.auth or httpx.USE_CLIENT_DEFAULT,
                    extensions={"trace": self.line.look(turn)},
                ) as response:
                    self._save(
                        response,
                        turn,
                        to=to,
                        before=requested_at,
                        timeout_s=timeout_s,
                        most_bytes=most_bytes,
                    )
            except httpx.TransportError as error:
                raise Refusal(OverpassUnreachable, _named(error)) from error
            received_at = self.clock.now()
            return Reply(
                status=response.status_code,
                content_type=_media_type(response),
                redirect=response.headers.get("Location", ""),
                retry_after_s=_retry_after_s(response, now=received_at),
                path=to,
                requested_at=requested_at,
                received_at=received_at,
            )

    def _save(
        self,
        response: httpx.Response,
        turn: Turn,
        *,
        to: Path,
        before: datetime,
        timeout_s: int,
        most_bytes: int,
    ) -> None:
        """Write the body to a file.

        Raises:
            Refusal: It is incomplete, too slow or too long.
        """
        import httpx

        status = response.status_code
        try:
            with (
                to.open("wb") as file,
                Progress("bytes of the answer received", None) as progress,
            ):
                for piece in _decompressed(response):
                    turn.received(response.num_bytes_downloaded - turn.received_bytes)
                    file.write(piece)
                    progress.advance(len(piece))
                    if file.tell() > most_bytes:
                        raise Refusal(
                            OverpassTooBig,
                            f"the body is larger than the limit of {most_bytes:,} bytes "
                            "(after decompression)",
                            status,
                        )
                    waited = (self.clock.now() - before).total_seconds()
                    if waited > self.longest_s(timeout_s):
                        raise Refusal(
                            OverpassUnreachable,
                            f"the body was not complete after {waited:.0f} s",
                            status,
                        )
        except httpx.TimeoutException as error:
            raise Refusal(
                OverpassUnreachable, f"the body timed out ({_named(error)})", status
            ) from error
        except (httpx.TransportError, zlib.error) as error:
            raise Refusal(
                OverpassTruncated, f"the body was cut off ({_named(error)})", status
            ) from error


def _retry_after_s(response: httpx.Response, *, now: datetime) -> float | None:
    """Return the seconds of the header Retry-After (RFC 9110, 10.2.3), at most a day."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:10])
    else:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
    return min(max(seconds, 0.0), _DAY_S)


def _decompressed(response: httpx.Response) -> Iterator[bytes]:
    """Yield the body piece by piece as it arrives, also a piece that decompresses to nothing.

    httpx can decompress too, but it holds back empty pieces, so a slow stream would not be noticed,
    and it accepts a truncated gzip stream.

    Raises:
        Refusal: The body has a compression that was not requested, or is truncated.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding == "identity":
        yield from response.iter_raw()
        return
    if encoding != "gzip":
        raise Refusal(
            OverpassTruncated,
            f"the body is compressed by {quoted(encoding, most=20)!r}, which was not requested",
            response.status_code,
        )
    gzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    for piece in response.iter_raw():
        # In steps, because a piece can decompress to a thousand times its size.
        plain = gzip.decompress(piece, _PIECE_BYTES)
        yield plain
        while gzip.unconsumed_tail or len(plain) == _PIECE_BYTES:
            plain = gzip.decompress(gzip.unconsumed_tail, _PIECE_BYTES)
            yield plain
    if not gzip.eof:
        raise Refusal(OverpassTruncated, "the compressed body is truncated", response.status_code)


def _media_type(response: httpx.Response) -> str:
    content_type: str = response.headers.get("Content-Type", "")
    return content_type.partition(";")[0].strip().lower()


def _named(error: Exception) -> str:
    """Return the type and the text of a library's error; several of httpx's have no text."""
    text = quoted(error)  # h11 repeats the whole of an invalid header
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
