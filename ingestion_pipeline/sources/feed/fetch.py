"""Bytes of a feed: fetched once, over HTTP or fsspec, within limits of size and time."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import unquote, urljoin

from ingestion_pipeline.config.feeds import is_http
from ingestion_pipeline.core.json_paths import value_at
from ingestion_pipeline.core.locations import (
    Endpoint,
    days_in,
    keep_secrets_out_of_httpx_log,
    redacted,
)
from ingestion_pipeline.core.redirects import RedirectGuard, RedirectRefused
from ingestion_pipeline.sources.feed.content import unreadable
from ingestion_pipeline.sources.feed.documents import parsed, records_of
from ingestion_pipeline.sources.feed.errors import (
    FeedChecksumMismatch,
    FeedError,
    FeedForbidden,
    FeedNotConfigured,
    FeedNotData,
    FeedNotFound,
    FeedNotOfDay,
    FeedRedirected,
    FeedTooBig,
    FeedTruncated,
    FeedUnreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import date, datetime
    from pathlib import Path

    import httpx

    from ingestion_pipeline.config.feeds import Feed, Pages
    from ingestion_pipeline.core.clock import Clock

_Taken = TypeVar("_Taken")

MAXIMUM_REDIRECTS = 5

_CHUNK_BYTES = 1 << 16
_PAGES = ("text/html", "application/xhtml+xml")
_PAGE_BEGINNINGS = (b"<!doctype html", b"<html")
_SNIFFED_BYTES = 512
_UNPACKED_LATER = ("gzip", "x-gzip")
"""Encodings of stores that send a file as it is stored, whatever is asked for. The reader unpacks
it, as it does a `.gz` file."""

_MARK = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8."""


class Patience(NamedTuple):
    """Timeouts of a feed.

    Attributes:
        connect_s: For the connection.
        silence_s: For the next byte.
        whole_s: For everything, redirects included.
    """

    connect_s: float = 30.0
    silence_s: float = 60.0
    whole_s: float = 600.0


PATIENCE = Patience()


class Validators(NamedTuple):
    """The validators of an HTTP response (RFC 9110).

    Attributes:
        etag: The header ETag, unchanged.
        last_modified: The header Last-Modified, unchanged.
    """

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True)
class Fetched:
    """A feed's bytes on this machine.

    Attributes:
        path: The file; its suffix is the format.
        sha256: Their digest.
        raw_bytes: Their number.
        location: Their origin, without credentials.
        validators: The validators of the response; empty for a file.
        requested_at: The time of the request (UTC).
        received_at: The time when the last byte arrived (UTC).
    """

    path: Path
    sha256: str
    raw_bytes: int
    location: str
    validators: Validators
    requested_at: datetime
    received_at: datetime


@dataclass(frozen=True)
class NotModified:
    """The answer of a server that the feed has not changed since it was fetched (304).

    Attributes:
        location: Its origin, without credentials.
        validators: The validators of the response.
        requested_at: The time of the request (UTC).
        received_at: The time of the response (UTC).
    """

    location: str
    validators: Validators
    requested_at: datetime
    received_at: datetime


def fetch(
    feed: Feed,
    day: date,
    *,
    http: httpx.Client,
    clock: Clock,
    workdir: Path,
    patience: Patience = PATIENCE,
    headers: Mapping[str, str] | None = None,
    known: Validators | None = None,
) -> Fetched | NotModified:
    """Fetch a feed's bytes.

    There are no retries: an error says whether one may succeed. Messages contain no user, password
    or query of a URL, and no text of a server.

    Args:
        feed: The feed.
        day: The UTC day, for a dated location.
        http: Sends requests; its own redirects and timeouts are not used.
        clock: The current time.
        workdir: An empty folder for the bytes.
        patience: Timeouts.
        headers: Secret headers for the server of the location.
        known: The validators of bytes that the caller has. The server may then answer that the feed
            has not changed.

    Raises:
        FeedError: See `sources/feed/errors.py`.
    """
    path = workdir / f"{feed.slug}.{feed.format}"
    fetching = _Fetching(feed, day, clock, patience, path, headers=headers or {})
    location = feed.location_on(day)
    if not is_http(location):
        fetched: Fetched | NotModified = fetching.over_fsspec(location)
    elif feed.pages is not None:
        fetched = fetching.pages_over_http(location, http)
    else:
        fetched = fetching.over_http(location, http, known)
    if isinstance(fetched, Fetched):
        _require_expected(feed, fetched)
    return fetched


def fetch_metadata(
    feed: Feed,
    day: date,
    *,
    http: httpx.Client,
    clock: Clock,
    workdir: Path,
    patience: Patience = PATIENCE,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Fetch the JSON document at a feed's `metadata_location`; see `fetch`.

    The secret headers are sent only if it is on the server of the feed's location.

    Raises:
        FeedError: See `sources/feed/errors.py`.
    """
    assert feed.metadata_location is not None
    location = feed.metadata_location.format(day=day)
    same_server = Endpoint.parse(location).server == _server_of(feed.location_on(day))
    own = headers if same_server and headers else {}
    fetching = _Fetching(feed, day, clock, patience, workdir, headers=own)
    return fetching.document_over_http(location, http)


def server_of(feed: Feed, day: date) -> str | None:
    """Return the server that is asked for a feed's bytes, `host:port`; None for a file or store."""
    return _server_of(feed.location_on(day))


def _server_of(location: str) -> str | None:
    return Endpoint.parse(location).server if is_http(location) else None


class _Fetching:
    """One attempt to fetch one feed."""

    def __init__(
        self,
        feed: Feed,
        day: date,
        clock: Clock,
        patience: Patience,
        path: Path,
        *,
        headers: Mapping[str, str],
    ) -> None:
        self.feed = feed
        self.clock = clock
        self.patience = patience
        self.path = path
        self.day = day
        self.headers = headers
        self.requested_at = clock.now()

    def over_http(
        self, location: str, http: httpx.Client, known: Validators | None
    ) -> Fetched | NotModified:
        first = Endpoint.parse(location)
        public = redacted(location)

        def taken(response: httpx.Response, here: Endpoint) -> Fetched | NotModified:
            validators = _validators_of(response)
            if response.status_code == HTTPStatus.NOT_MODIFIED and _conditions(known):
                now = self.clock.now()
                return NotModified(public, validators, self.requested_at, now)
            self._require_data(response, here.public, encodings=_UNPACKED_LATER)
            if here.target != first.target:
                self._require_dated(here)
            size = self._announced(response.headers.get("Content-Length"), here.public)
            # Pieces as they arrive; pieces of a fixed size would hide a slow server.
            is_page = _is_typed_as_page(response)
            return self._fetched(
                response.iter_raw(), size, public, validators, is_typed_as_page=is_page
            )

        guard = RedirectGuard(first.target)
        return self._answer(first, taken, first=first, guard=guard, http=http, known=known)

    def document_over_http(self, location: str, http: httpx.Client) -> bytes:
        """Return a JSON document, without the byte order mark."""
        first = Endpoint.parse(location)
        take = partial(self._document, before=0)
        return self._answer(first, take, first=first, guard=RedirectGuard(first.target), http=http)

    def pages_over_http(self, location: str, http: httpx.Client) -> Fetched:
        """Fetch page after page into one JSON array, until a page is the last.

        Raises:
            FeedTooBig: There are more pages than the feed's `pages.maximum`.
            FeedUnreadable: A page is not JSON, or repeats an earlier one.
        """
        pages = self.feed.pages
        assert pages is not None
        first = Endpoint.parse(location)
        guard = RedirectGuard(first.target)
        bodies: list[bytes] = []
        seen: set[str] = set()
        offset = 0
        here: Endpoint | None = first if pages.next else _at_offset(first, pages, 0)
        while here is not None:
            if len(bodies) == pages.maximum:
                raise FeedTooBig(
                    f"{first.public}: feed {self.feed.slug} has more than {pages.maximum} pages. "
                    "Check the feed, or raise pages.maximum or pages.size."
                )
            take = partial(self._document, before=sum(map(len, bodies)))
            body = self._answer(here, take, first=first, guard=guard, http=http)
            digest = hashlib.sha256(body).hexdigest()
            document = parsed(body, self.feed)
            records = records_of(document, self.feed)
            if records and digest in seen:
                raise unreadable(
                    self.feed,
                    f"an API whose page {len(bodies) + 1} repeats an earlier one",
                    "Correct the feed's pages: the server does not know the parameter.",
                )
            seen.add(digest)
            bodies.append(body)
            offset += len(records)
            if pages.next is None:
                here = _at_offset(first, pages, offset) if records else None
            else:
                here = self._next_page(guard, here, value_at(document, pages.next))
        return self._fetched([b"[" + b",\n".join(bodies) + b"]"], None, first.public, Validators())

    def _next_page(self, guard: RedirectGuard, here: Endpoint, link: object) -> Endpoint | None:
        if link is None or link == "" or link is False:
            return None
        if not isinstance(link, str):
            raise unreadable(
                self.feed, "an API whose next page is not a URL", "Correct pages.next."
            )
        with self._reachable(here.public):
            return self._followed(guard, here, link)

    def _document(self, response: httpx.Response, here: Endpoint, *, before: int) -> bytes:
        """Return a JSON document, without the byte order mark; `before` bytes came before it."""
        self._require_data(response, here.public)
        self._announced(response.headers.get("Content-Length"), here.public)
        body = bytearray()
        for piece in response.iter_raw():
            body += piece
            self._require_small(before + len(body), "sent", here.public)
            self._require_fast(here.public, before + len(body))
        self._require_no_page(bytes(body), _is_typed_as_page(response), here.public)
        return bytes(body).removeprefix(_MARK)

    def _answer(
        self,
        here: Endpoint,
        take: Callable[[httpx.Response, Endpoint], _Taken],
        *,
        first: Endpoint,
        guard: RedirectGuard,
        http: httpx.Client,
        known: Validators | None = None,
    ) -> _Taken:
        """Send a request, follow redirects, and return what `take` makes of the answer.

        Credentials are sent to the server of the configured location only, `first`.
        """
        import httpx

        keep_secrets_out_of_httpx_log()
        seen = {here.target}
        while True:
            same_server = here.server == first.server
            with (
                self._reachable(here.public),
                http.stream(
                    "GET",
                    here.target,
                    # Content-Length is then the number of bytes to come, and no small response
                    # unpacks to a huge one.
                    headers={
                        "Accept-Encoding": "identity",
                        **_conditions(known),
                        **(self.headers if same_server else {}),
                    },
                    timeout=httpx.Timeout(self.patience.silence_s, connect=self.patience.connect_s),
                    follow_redirects=False,
                    auth=(first.auth if same_server else None) or httpx.USE_CLIENT_DEFAULT,
                    extensions=guard.extensions(httpx.URL(here.target).host),
                ) as response,
            ):
                if not response.has_redirect_location:
                    return take(response, here)
                here = self._redirected(guard, here, response.headers["Location"], seen)

    def over_fsspec(self, location: str) -> Fetched:
        import fsspec

        safe = redacted(location)
        try:
            filesystem, remote = fsspec.url_to_fs(location)
        except (ImportError, ValueError) as error:
            raise FeedNotConfigured(
                f"There is no file system for {safe} of feed {self.feed.slug} "
                f"({type(error).__name__}). Check the scheme of the URL, and install the package "
                "that fsspec needs for it (s3fs for s3://, ...)."
            ) from None
        with self._readable(safe):
            before = filesystem.info(remote)
            size = before.get("size")
            if size is not None:
                self._require_small(size, "has", safe)
            with filesystem.open(remote, "rb") as stored:
                pieces = iter(lambda: stored.read(_CHUNK_BYTES), b"")
                fetched = self._fetched(pieces, size, safe, Validators())
            if filesystem.info(remote).get("mtime") != before.get("mtime"):
                raise FeedTruncated(
                    f"{safe}: feed {self.feed.slug} changed while it was read: another program "
                    "rewrites it in place. Try again when it is complete."
                )
            return fetched

    def _fetched(
        self,
        pieces: Iterable[bytes],
        announced: int | None,
        location: str,
        validators: Validators,
        *,
        is_typed_as_page: bool = False,
    ) -> Fetched:
        """Write the bytes to the file as they arrive, and stop when they exceed a limit."""
        digest = hashlib.sha256()
        count = 0
        beginning = b""
        with self.path.open("wb") as file:
            for piece in pieces:
                count += len(piece)
                self._require_small(count, "sent", location)
                self._require_fast(location, count)
                if len(beginning) < _SNIFFED_BYTES:
                    beginning += piece[:_SNIFFED_BYTES]
                digest.update(piece)
                file.write(piece)
        if announced is not None and count != announced:
            raise FeedTruncated(
                f"{location}: received {count:,} of {announced:,} announced bytes of feed "
                f"{self.feed.slug}. Try again."
            )
        self._require_no_page(beginning, is_typed_as_page, location)
        return Fetched(
            path=self.path,
            sha256=digest.hexdigest(),
            raw_bytes=count,
            location=location,
            validators=validators,
            requested_at=self.requested_at,
            received_at=self.clock.now(),
        )

    def _require_fast(self, public: str, count: int) -> None:
        waited = (self.clock.now() - self.requested_at).total_seconds()
        if waited > self.patience.whole_s:
            raise FeedUnreachable(
                f"{public}: feed {self.feed.slug} was not complete after {waited:.0f} s, "
                f"at {count:,} bytes. Try again later."
            )

    def _redirected(
        self, guard: RedirectGuard, here: Endpoint, to: str, seen: set[str]
    ) -> Endpoint:
        there = self._followed(guard, here, to)
        if there.target in seen:
            raise FeedRedirected(
                f"{here.public} redirects feed {self.feed.slug} in a loop, back to {there.public}. "
                "Open it in a browser and correct the feed's location."
            )
        if len(seen) > MAXIMUM_REDIRECTS:
            raise FeedRedirected(
                f"Feed {self.feed.slug} was redirected more than {MAXIMUM_REDIRECTS} times, lastly "
                f"to {there.public}. Correct the feed's location."
            )
        seen.add(there.target)
        return there

    def _followed(self, guard: RedirectGuard, here: Endpoint, to: str) -> Endpoint:
        """Return the endpoint of a redirect or of the link to the next page, if it is allowed."""
        try:
            there = Endpoint.parse(urljoin(here.target, to))
        except ValueError:
            raise FeedRedirected(
                f"{here.public} redirects feed {self.feed.slug} to a URL that is not http(s). "
                "Correct the feed's location."
            ) from None
        guard.require(there.target)
        return there

    def _require_dated(self, there: Endpoint) -> None:
        """Reject an undated URL for a day that only a dated one proves."""
        if self.feed.as_of.source != "day_in_location":
            return
        forms = days_in(self.feed.location, self.day)
        if not all(form in unquote(there.target) for form in forms):
            raise FeedNotOfDay(
                f"Feed {self.feed.slug} was redirected to {there.public}, which does not name "
                f"{self.day}, so nothing proves that it is of that day. Correct the feed's "
                "location, or set as_of to a date in the data."
            )

    def _require_data(
        self, response: httpx.Response, public: str, *, encodings: Sequence[str] = ()
    ) -> None:
        """Reject a response whose headers show that it is not data."""
        status = response.status_code
        what = f"{public} answered {status} for feed {self.feed.slug}"
        if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise FeedNotFound(f"{what}. Check its location, and whether it exists for that day.")
        if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT) or (
            status >= HTTPStatus.INTERNAL_SERVER_ERROR
        ):
            raise FeedUnreachable(f"{what}. Try again later.")
        if status != HTTPStatus.OK:
            raise FeedForbidden(f"{what}. Check its location, credentials and terms of use.")
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("identity", "", *encodings):
            raise FeedTruncated(
                f"{public} sends feed {self.feed.slug} compressed by {encoding[:20]!r}, which "
                "was not requested. Try again, or ask the publisher for plain bytes."
            )

    def _require_no_page(self, body: bytes, is_typed_as_page: bool, public: str) -> None:
        """Reject HTML: by how it begins, or by its type, if it does not begin as data does."""
        beginning = body[:_SNIFFED_BYTES].removeprefix(_MARK).lstrip().lower()
        is_markup = beginning.startswith(b"<") and not beginning.startswith(b"<?xml")
        if not (beginning.startswith(_PAGE_BEGINNINGS) or (is_typed_as_page and is_markup)):
            return
        why = "it is of type text/html" if is_typed_as_page else "its body is HTML"
        raise FeedNotData(
            f"{public} returned an HTML page instead of feed {self.feed.slug} ({why}): a login, a "
            "notice of maintenance, or a wrong URL. Open it in a browser and correct the feed's "
            "location."
        )

    def _announced(self, length: str | None, public: str) -> int | None:
        if length is None or not length.isdecimal():
            return None
        self._require_small(int(length), "announces", public)
        return int(length)

    def _require_small(self, count: int, verb: str, public: str) -> None:
        if count > self.feed.maximum_bytes:
            raise FeedTooBig(
                f"{public} {verb} {count:,} bytes for feed {self.feed.slug}, more than its "
                f"{self.feed.maximum_bytes:,}. Check the feed, or raise its maximum_bytes."
            )

    @contextmanager
    def _reachable(self, public: str) -> Iterator[None]:
        """Convert errors of a connection, without the library's text."""
        import httpx

        try:
            yield
        except RedirectRefused as error:
            raise FeedRedirected(
                f"{public} redirects feed {self.feed.slug} to {error}. Correct the feed's "
                "location, or ask the publisher."
            ) from None
        except (httpx.RemoteProtocolError, httpx.ReadError) as error:
            raise FeedTruncated(
                f"{public} closed the connection within feed {self.feed.slug} "
                f"({type(error).__name__}). Try again."
            ) from None
        except httpx.TransportError as error:
            raise FeedUnreachable(
                f"{public} does not return feed {self.feed.slug} ({type(error).__name__}). Check "
                "the URL and the network, or try again later."
            ) from None

    @contextmanager
    def _readable(self, safe: str) -> Iterator[None]:
        """Convert errors of a file system without their text, which may contain credentials."""
        try:
            yield
        except FeedError:
            raise
        except FileNotFoundError:
            raise FeedNotFound(
                f"There is no {safe} for feed {self.feed.slug}. Check its location, and whether it "
                "exists for that day."
            ) from None
        except Exception as error:  # noqa: BLE001 - every file system of fsspec has errors of its own
            raise FeedUnreachable(
                f"{safe} of feed {self.feed.slug} cannot be read ({type(error).__name__}). Check "
                "the location and its credentials, or try again later."
            ) from None


def _conditions(known: Validators | None) -> dict[str, str]:
    """Return the headers of a conditional request (RFC 9110, section 13)."""
    if known is None:
        return {}
    given = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in given.items() if value is not None}


def _validators_of(response: httpx.Response) -> Validators:
    return Validators(response.headers.get("ETag"), response.headers.get("Last-Modified"))


def _at_offset(first: Endpoint, pages: Pages, offset: int) -> Endpoint:
    import httpx

    assert pages.offset is not None
    assert pages.limit is not None
    values = {pages.offset: str(offset), pages.limit: str(pages.size)}
    return Endpoint.parse(str(httpx.URL(first.target).copy_merge_params(values)))


def _is_typed_as_page(response: httpx.Response) -> bool:
    media_type: str = response.headers.get("Content-Type", "").partition(";")[0]
    return media_type.strip().lower() in _PAGES


def _require_expected(feed: Feed, fetched: Fetched) -> None:
    for what, expected, actual in (
        ("SHA-256", feed.sha256, fetched.sha256),
        ("ETag", feed.etag, fetched.validators.etag),
    ):
        if expected is not None and actual != expected:
            raise FeedChecksumMismatch(
                f"{fetched.location}: the {what} of feed {feed.slug} is {actual}, but the cities "
                f"file expects {expected}. Check what changed, then update "
                f"{'sha256' if what == 'SHA-256' else 'etag'} in the cities file."
            )
