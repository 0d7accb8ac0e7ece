"""Feeds over a real connection: what is taken, and everything that is refused, with its reason."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import time
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import SecretStr

from ingestion_pipeline.core.clock import SystemClock
from ingestion_pipeline.sources.feed.acquire import (
    FeedAcquisition,
    Known,
    acquire,
    require_usable,
)
from ingestion_pipeline.sources.feed.errors import (
    FeedChecksumMismatch,
    FeedError,
    FeedForbidden,
    FeedNotConfigured,
    FeedNotData,
    FeedNotFound,
    FeedNotOfDay,
    FeedRedirected,
    FeedStale,
    FeedTooBig,
    FeedTruncated,
    FeedUnreachable,
    FeedUnreadable,
    FeedWithoutTime,
)
from ingestion_pipeline.sources.feed.fetch import (
    MAXIMUM_REDIRECTS,
    Fetched,
    NotModified,
    Patience,
    Validators,
)
from ingestion_pipeline.sources.feed.records import read_records
from ingestion_pipeline_tests.support.feed_server import (
    FOUNTAINS,
    LAST_MODIFIED,
    TOILETS,
    FeedServer,
    feed_of,
    fountains,
    geojson,
    served,
    toilet,
    toilets,
)
from ingestion_pipeline_tests.support.overpass_server import Reply, refusing_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ingestion_pipeline.config.feeds import Feed

    Ask = Callable[..., FeedAcquisition]

pytestmark = pytest.mark.server

DAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
QUICK = Patience(connect_s=2, silence_s=0.3, whole_s=60)


class StandingClock:
    """The same moment for ever."""

    def now(self) -> datetime:
        return NOW

    def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with FeedServer() as server:
        yield server


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    """Acquire a feed for the day."""
    with httpx.Client() as http:

        def acquired(feed: Feed, day: date = DAY, **more: Any) -> FeedAcquisition:
            tools: dict[str, Any] = {"clock": StandingClock(), "patience": QUICK} | more
            return acquire(feed, day, http=http, workdir=tmp_path, **tools)

        yield acquired


def fetched_of(got: FeedAcquisition) -> Fetched:
    assert isinstance(got.fetched, Fetched)
    return got.fetched


def of(server: FeedServer, path: str = "toilets.geojson", **changes: Any) -> Feed:
    return feed_of(TOILETS, location=server.address(path), **changes)


# What is taken


def test_a_feed_comes_with_its_bytes_and_their_evidence(server: FeedServer, ask: Ask) -> None:
    server.enqueue(served(toilets()))
    got = ask(of(server, "toilets.geojson?token=hush"))
    assert fetched_of(got).path.read_bytes() == toilets()
    assert fetched_of(got).path.suffix == ".geojson"
    assert fetched_of(got).sha256 == hashlib.sha256(toilets()).hexdigest()
    assert fetched_of(got).raw_bytes == len(toilets())
    assert got.fetched.location == server.address("toilets.geojson")
    assert got.fetched.validators == Validators('"v1"', LAST_MODIFIED)
    assert got.evidence.as_of == datetime(2026, 11, 19, 6, 30, tzinfo=UTC)
    assert (got.evidence.as_of_source, got.evidence.obtained) == ("last_modified", "feed")
    assert (got.evidence.licence, got.evidence.attribution) == ("CC-BY-4.0", "© Town of Exempel")
    assert server.requests[0].path == "/toilets.geojson?token=hush"
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_not_modified_is_no_answer_to_a_plain_question(server: FeedServer, ask: Ask) -> None:
    server.enqueue(Reply(304))
    with pytest.raises(FeedForbidden, match="answered 304"):
        ask(of(server))


def test_a_dated_feed_is_of_the_first_moment_of_its_day(server: FeedServer, ask: Ask) -> None:
    server.enqueue(served(fountains(), content_type="text/csv"))
    feed = feed_of(FOUNTAINS, location=server.address("fountains-{day:%Y%m%d}.csv"))
    got = ask(feed)
    assert got.evidence.as_of == datetime(2026, 11, 20, tzinfo=UTC)
    assert got.evidence.as_of_source == "day_in_location"
    assert server.requests[0].path == "/fountains-20261120.csv"


@pytest.mark.parametrize(
    ("as_of", "source"), [("record:SEEN", "newest_record"), ("document:meta.made", "document")]
)
def test_records_or_the_document_tell_the_time(
    server: FeedServer, ask: Ask, as_of: str, source: str
) -> None:
    features = [toilet(1, SEEN="2026-11-18"), toilet(2, SEEN="2026-11-19T12:00:00+03:00")]
    body = geojson(features, meta={"made": "2026-11-19T09:00:00"})
    server.enqueue(served(body, headers={"Last-Modified": "never"}))
    got = ask(of(server, as_of=as_of))
    assert got.evidence.as_of == datetime(2026, 11, 19, 9, tzinfo=UTC)
    assert got.evidence.as_of_source == source


def test_a_redirect_is_followed_without_credentials_to_another_server(
    server: FeedServer, ask: Ask
) -> None:
    with FeedServer() as other:
        server.enqueue(
            Reply(301, headers={"Location": "/new.geojson"}),
            Reply(302, headers={"Location": other.address("there.geojson?signed=hush")}),
        )
        other.enqueue(served(toilets()))
        location = server.address("toilets.geojson").replace("://", "://user:hush@")
        got = ask(feed_of(TOILETS, location=location))
        assert got.fetched.location == server.address("toilets.geojson")
        assert [request.path for request in server.requests] == [
            "/toilets.geojson",
            "/new.geojson",
        ]
        assert all("authorization" in request.headers for request in server.requests)
        assert "authorization" not in other.requests[0].headers


def test_a_file_is_read_where_it_is(tmp_path: Path, ask: Ask) -> None:
    stored = tmp_path / "published-2026-11-20.csv"
    stored.write_bytes(fountains())
    got = ask(feed_of(FOUNTAINS, location=str(tmp_path / "published-{day}.csv")))
    assert fetched_of(got).path != stored
    assert fetched_of(got).path.read_bytes() == fountains()
    assert got.fetched.validators == Validators()


# What is refused


def test_a_late_feed_is_refused(server: FeedServer, ask: Ask) -> None:
    server.enqueue(served(toilets(), headers={"Last-Modified": "Mon, 02 Nov 2026 06:30:00 GMT"}))
    with pytest.raises(FeedStale, match="18 days old on 2026-11-20, and 7 are allowed"):
        ask(of(server))


def test_data_of_after_a_past_day_does_not_stand_for_it(server: FeedServer, ask: Ask) -> None:
    server.enqueue(served(toilets()))
    with pytest.raises(FeedNotOfDay, match="after the end of 2026-11-17"):
        ask(of(server), date(2026, 11, 17))


def test_the_first_moment_after_a_day_is_not_of_it() -> None:
    feed = feed_of(TOILETS)  # a date without a time is its first moment
    end = datetime(2026, 11, 20, tzinfo=UTC)
    require_usable(feed, DAY, as_of=end, now=NOW)
    with pytest.raises(FeedNotOfDay, match="after the end of 2026-11-19"):
        require_usable(feed, date(2026, 11, 19), as_of=end, now=NOW)


@pytest.mark.parametrize(
    ("to", "is_dated"), [("/latest.csv", False), ("/store/a%20b/20261120/f.csv?sig=1", True)]
)
def test_a_redirect_away_from_the_day_proves_nothing_of_it(
    server: FeedServer, ask: Ask, to: str, is_dated: bool
) -> None:
    server.enqueue(Reply(302, headers={"Location": to}), served(fountains()))
    feed = feed_of(FOUNTAINS, location=server.address("fountains-{day:%Y%m%d}.csv"))
    if is_dated:
        assert ask(feed).evidence.as_of == datetime(2026, 11, 20, tzinfo=UTC)
    else:
        with pytest.raises(FeedNotOfDay, match="does not name 2026-11-20"):
            ask(feed)


def test_a_past_day_takes_what_was_the_newest_then() -> None:
    feed = feed_of(TOILETS)
    as_of = datetime(2026, 11, 12, tzinfo=UTC)
    require_usable(feed, date(2026, 11, 17), as_of=as_of, now=NOW)
    with pytest.raises(FeedStale):
        require_usable(feed, DAY, as_of=as_of, now=NOW)


def test_data_of_the_future_is_refused(server: FeedServer, ask: Ask) -> None:
    server.enqueue(served(toilets(), headers={"Last-Modified": "Fri, 20 Nov 2026 09:30:00 GMT"}))
    with pytest.raises(FeedNotOfDay, match="after the current time 2026-11-20T09:00:00Z"):
        ask(of(server))


@pytest.mark.parametrize(
    "stated", ["", "yesterday", "1763622000", "Fri, 31 Dec 9999 23:59:59 -1400"]
)
def test_a_feed_without_a_time_is_refused(server: FeedServer, ask: Ask, stated: str) -> None:
    server.enqueue(served(toilets(), headers={"Last-Modified": stated}))
    with pytest.raises(FeedWithoutTime, match="Last-Modified"):
        ask(of(server))


@pytest.mark.parametrize("as_of", ["record:TITLE", "document:meta.made", "document:type.made"])
def test_a_field_without_a_time_is_refused(server: FeedServer, ask: Ask, as_of: str) -> None:
    server.enqueue(served(toilets()))
    with pytest.raises(FeedWithoutTime, match="is not a time"):
        ask(of(server, as_of=as_of))


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<p>Please log in</p>", "text/html; charset=utf-8"),
        (b"\xef\xbb\xbf \r\n<!DOCTYPE html><title>Back soon</title>", "application/geo+json"),
        (b"<HTML>", None),
    ],
)
def test_a_page_instead_of_data_is_refused_by_its_name(
    server: FeedServer, ask: Ask, body: bytes, content_type: str | None
) -> None:
    server.enqueue(served(body, content_type=content_type))
    with pytest.raises(FeedNotData, match="an HTML page instead of feed toilets"):
        ask(of(server))


def test_data_that_a_server_calls_a_page_is_taken(server: FeedServer, ask: Ask) -> None:
    server.enqueue(served(toilets(), content_type="text/html"))
    assert fetched_of(ask(of(server))).path.read_bytes() == toilets()


def test_ten_gigabytes_are_refused_before_they_come(server: FeedServer, ask: Ask) -> None:
    server.enqueue(served(toilets(), headers={"Content-Length": "10000000000"}, silent=False))
    with pytest.raises(FeedTooBig, match=r"announces 10,000,000,000 bytes .* its 50,000,000"):
        ask(of(server))


def test_too_many_bytes_are_refused_while_they_come(
    server: FeedServer, ask: Ask, tmp_path: Path
) -> None:
    server.enqueue(served(toilets(2000), framing="chunked"))
    with pytest.raises(FeedTooBig, match="more than its 100,000"):
        ask(of(server, maximum_bytes=100_000))
    (kept,) = tmp_path.iterdir()
    assert kept.stat().st_size <= 100_000


def test_a_file_that_is_too_big_is_not_read(tmp_path: Path, ask: Ask) -> None:
    (tmp_path / "2026-11-20.csv").write_bytes(fountains())
    with pytest.raises(FeedTooBig, match=r"has .* bytes"):
        ask(feed_of(FOUNTAINS, location=str(tmp_path / "{day}.csv"), maximum_bytes=100))


def test_a_circle_of_redirects_is_refused(server: FeedServer, ask: Ask) -> None:
    server.default = lambda request: Reply(
        302, headers={"Location": "/b?t=hush" if request.path == "/a" else "/a"}
    )
    with pytest.raises(FeedRedirected, match=r"in a loop, back to") as caught:
        ask(of(server, "a"))
    assert "hush" not in str(caught.value)
    assert len(server.requests) == 2


def test_redirects_without_an_end_are_refused(server: FeedServer, ask: Ask) -> None:
    server.default = lambda request: Reply(302, headers={"Location": request.path + "x"})
    with pytest.raises(FeedRedirected, match="more than 5 times"):
        ask(of(server, "x"))
    assert len(server.requests) == MAXIMUM_REDIRECTS + 1


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_to_no_server_is_refused(server: FeedServer, ask: Ask, to: str) -> None:
    server.enqueue(Reply(302, headers={"Location": to}))
    with pytest.raises(FeedRedirected, match="not http"):
        ask(of(server))


def test_a_redirect_into_another_inner_network_is_refused(server: FeedServer, ask: Ask) -> None:
    to = "http://169.254.169.254/graphql?query=mutation"
    server.enqueue(Reply(302, headers={"Location": to}))
    with pytest.raises(FeedRedirected, match="inner network") as caught:
        ask(of(server))
    assert "mutation" not in str(caught.value)


def test_a_slow_drip_is_given_up(server: FeedServer, ask: Ask) -> None:
    server.enqueue(served(toilets(), piece_bytes=1, pause_s=0.05))
    began = time.monotonic()
    with pytest.raises(FeedUnreachable, match="was not complete after"):
        ask(of(server), clock=SystemClock(), patience=QUICK._replace(whole_s=0.3))
    assert time.monotonic() - began < 5


def test_silence_is_given_up(server: FeedServer, ask: Ask) -> None:
    server.enqueue(served(toilets(), cut_after=100, silent=True))
    with pytest.raises(FeedUnreachable, match="ReadTimeout"):
        ask(of(server))


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_body_that_is_cut_in_the_middle_is_refused(
    server: FeedServer, ask: Ask, framing: Any, ending: Any
) -> None:
    server.enqueue(served(toilets(), cut_after=1000, framing=framing, ending=ending))
    with pytest.raises(FeedTruncated, match="closed the connection within"):
        ask(of(server))


def test_a_body_that_is_stored_compressed_is_taken_as_it_is(server: FeedServer, ask: Ask) -> None:
    server.enqueue(served(toilets(), compressed=True))
    got = ask(of(server))
    assert gzip.decompress(fetched_of(got).path.read_bytes()) == toilets()


def test_a_body_that_is_compressed_in_another_way_is_refused(server: FeedServer, ask: Ask) -> None:
    server.enqueue(served(toilets(), headers={"Content-Encoding": "br"}))
    with pytest.raises(FeedTruncated, match="compressed by 'br'"):
        ask(of(server))


def test_another_checksum_is_refused(server: FeedServer, ask: Ask) -> None:
    digest = hashlib.sha256(toilets()).hexdigest()
    server.enqueue(served(toilets()), served(toilets(21)))
    assert fetched_of(ask(of(server, sha256=digest))).sha256 == digest
    with pytest.raises(FeedChecksumMismatch, match=f"expects {digest}"):
        ask(of(server, sha256=digest))


def test_another_etag_is_refused(server: FeedServer, ask: Ask) -> None:
    server.enqueue(served(toilets()))
    with pytest.raises(FeedChecksumMismatch, match='the ETag of feed toilets is "v1"'):
        ask(of(server, etag='"v0"'))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (204, FeedForbidden),
        (300, FeedForbidden),
        (401, FeedForbidden),
        (403, FeedForbidden),
        (404, FeedNotFound),
        (410, FeedNotFound),
        (429, FeedUnreachable),
        (500, FeedUnreachable),
        (503, FeedUnreachable),
    ],
)
def test_another_status_than_200_is_refused(
    server: FeedServer, ask: Ask, status: int, error: type[FeedError]
) -> None:
    server.enqueue(Reply(status, content_type="text/html"))
    with pytest.raises(error, match=f"answered {status}"):
        ask(of(server))


def test_a_server_that_is_not_there_is_told_without_secrets(ask: Ask) -> None:
    location = refusing_url().replace("://", "://user:hush@") + "?token=hush"
    with pytest.raises(FeedUnreachable, match="ConnectError") as caught:
        ask(feed_of(TOILETS, location=location))
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("location", ["/nowhere/{day}.csv", "memory://nowhere/{day}.csv"])
def test_a_file_that_is_not_there_is_told(ask: Ask, location: str) -> None:
    with pytest.raises(FeedNotFound, match=r"nowhere/2026-11-20\.csv"):
        ask(feed_of(FOUNTAINS, location=location))


def test_a_file_that_is_rewritten_while_it_is_read_is_refused(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "fountains-2026-11-20.csv"
    path.write_bytes(fountains())

    class RewritingClock(StandingClock):
        """Each look at the time comes after another piece of the file."""

        def now(self) -> datetime:
            with path.open("r+b") as file:  # as rsync --inplace does
                file.write(fountains())
            moment = path.stat().st_mtime_ns + 1_000_000
            os.utime(path, ns=(moment, moment))
            return NOW

    feed = feed_of(FOUNTAINS, location=str(tmp_path / "fountains-{day}.csv"))
    with pytest.raises(FeedTruncated, match="changed while it was read") as caught:
        ask(feed, clock=RewritingClock())
    assert caught.value.should_retry
    assert fetched_of(ask(feed)).path.read_bytes() == fountains()


def test_a_location_without_a_file_system_is_refused(ask: Ask) -> None:
    with pytest.raises(FeedNotConfigured, match="no file system for nowhere://a/b") as caught:
        ask(feed_of(FOUNTAINS, location="nowhere://user:hush@a/b?{day}"))
    assert "hush" not in str(caught.value)


def test_bytes_that_end_early_inside_are_unreadable(server: FeedServer, ask: Ask) -> None:
    server.enqueue(served(toilets()[:-100]))
    with pytest.raises(FeedUnreadable, match="not complete JSON"):
        ask(of(server, as_of="record:HOURS"))


def test_no_secret_reaches_the_log(
    server: FeedServer, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    server.enqueue(served(toilets()))
    with caplog.at_level(logging.INFO):
        ask(of(server, "toilets.geojson?token=hush"))
    assert "/toilets.geojson" in caplog.text
    assert "hush" not in caplog.text


def test_a_feed_does_not_show_its_location_in_a_repr() -> None:
    feed = feed_of(TOILETS, location="https://user:hush@example.org/x?token=hush")
    assert "hush" not in repr(feed)
    assert feed.public_location == "https://example.org/x"


# Secret headers

SECRETS = {"exempel": SecretStr("Bearer hush")}
KEYED: dict[str, Any] = {"headers": {"Authorization": "exempel", "X-Api-Key": "exempel"}}


def test_secret_headers_are_sent_to_the_server_of_the_location_alone(
    server: FeedServer, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    with FeedServer() as other, caplog.at_level(logging.DEBUG):
        server.enqueue(
            Reply(302, headers={"Location": "/new.geojson"}),
            Reply(302, headers={"Location": other.address("there.geojson")}),
        )
        other.enqueue(served(toilets()))
        got = ask(of(server, **KEYED), secrets=SECRETS)
        for request in server.requests:
            assert request.headers["authorization"] == "Bearer hush"
            assert request.headers["x-api-key"] == "Bearer hush"
        assert not {"authorization", "x-api-key"} & other.requests[0].headers.keys()
    assert "hush" not in caplog.text
    assert "hush" not in repr(got)


def test_a_secret_that_is_not_set_is_named_and_nothing_is_sent(
    server: FeedServer, ask: Ask
) -> None:
    with pytest.raises(FeedNotConfigured, match="Set the environment variable FEED_SECRET__EXEMP"):
        ask(of(server, **KEYED), secrets={"other": SecretStr("hush")})
    assert server.requests == []


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_refusal_of_a_server_does_not_show_the_secret(
    server: FeedServer, ask: Ask, status: int
) -> None:
    server.enqueue(Reply(status, body="no: Bearer hush"))
    with pytest.raises(FeedError) as caught:
        ask(of(server, **KEYED), secrets=SECRETS)
    assert "hush" not in str(caught.value)


# Pages


def records(first: int, count: int) -> list[dict[str, Any]]:
    return [
        {"OBJECTID": number, "TYPE": "WC", "TITLE": f"T {number}", "at": "60.16, 24.95"}
        for number in range(first, first + count)
    ]


def paged(server: FeedServer, pages: dict[str, Any], path: str = "api?key=hush") -> Feed:
    return of(
        server,
        path,
        format="json",
        records="items",
        pages=pages,
        lat_lon="at",
        fields={"name": "TITLE"},
        attributes=None,
        values=None,
        as_of="fetched",
        maximum_age_days=1,
    )


def test_pages_follow_their_links(server: FeedServer, ask: Ask) -> None:
    server.enqueue(
        Reply(body=json.dumps({"items": records(1, 3), "links": {"next": "/api?page=2&key=hush"}})),
        Reply(body="\ufeff" + json.dumps({"items": records(4, 2), "links": {"next": None}})),
    )
    got = ask(paged(server, {"next": "links.next"}))
    assert [request.path for request in server.requests] == [
        "/api?key=hush",
        "/api?page=2&key=hush",
    ]
    first, second = json.loads(fetched_of(got).path.read_bytes())
    assert [*first["items"], *second["items"]] == records(1, 5)
    assert got.fetched.location == server.address("api")
    assert got.evidence.as_of == NOW


def test_pages_of_an_ogc_api_are_geojson(server: FeedServer, ask: Ask) -> None:
    links = [
        {"rel": "self", "href": "/items"},
        {"rel": "next", "href": server.address("items?offset=2")},
    ]
    server.enqueue(
        Reply(body=geojson([toilet(1), toilet(2)], links=links)),
        Reply(body=geojson([toilet(3)], links=links[:1])),
    )
    feed = of(
        server,
        "items",
        pages={"next": "links[?rel=='next'].href | [0]"},
        as_of="fetched",
    )
    ids = read_records(fetched_of(ask(feed)).path, feed).ids
    assert ids == ["1", "2", "3"]


def test_pages_by_offset_end_with_one_that_has_no_records(server: FeedServer, ask: Ask) -> None:
    """A server may send fewer records than asked for: that is no sign of the end."""
    for first, count in ((1, 3), (4, 3), (7, 1), (8, 0)):
        server.enqueue(Reply(body=json.dumps({"items": records(first, count)})))
    ask(paged(server, {"offset": "$offset", "limit": "$limit", "size": 5}))
    asked = [httpx.URL(request.path).params for request in server.requests]
    assert [dict(each) for each in asked] == [
        {"key": "hush", "$offset": offset, "$limit": "5"} for offset in ("0", "3", "6", "7")
    ]


def test_an_api_that_ignores_the_offset_is_refused(server: FeedServer, ask: Ask) -> None:
    server.default = lambda _: Reply(body=json.dumps({"items": records(1, 3)}))
    with pytest.raises(FeedUnreadable, match=r"page 2 repeats an earlier one\. Correct the feed"):
        ask(paged(server, {"offset": "skip", "limit": "top"}))


def test_more_pages_than_the_limit_are_refused(server: FeedServer, ask: Ask) -> None:
    server.default = lambda request: Reply(
        body=json.dumps({"items": records(len(request.path), 1), "next": request.path + "1"})
    )
    with pytest.raises(FeedTooBig, match="more than 4 pages") as caught:
        ask(paged(server, {"next": "next", "maximum": 4}))
    assert len(server.requests) == 4
    assert "hush" not in str(caught.value)


def test_pages_together_may_not_exceed_the_limit_of_bytes(server: FeedServer, ask: Ask) -> None:
    body = json.dumps({"items": records(1, 100)})
    server.default = lambda request: Reply(
        body=body.replace("{", f'{{"path": "{request.path}", "next": "{request.path}1", ', 1)
    )
    feed = paged(server, {"next": "next"})
    with pytest.raises(FeedTooBig, match="more than its 20,000"):
        ask(of(server, **{**vars_of(feed), "maximum_bytes": 20_000}))
    assert len(server.requests) == 3


def vars_of(feed: Feed) -> dict[str, Any]:
    """Return the keys by which `paged` differs."""
    names = ("format", "records", "lat_lon", "fields", "maximum_age_days")
    return {
        **{name: getattr(feed, name) for name in names},
        "pages": {"next": "next"},
        "as_of": "fetched",
        "attributes": None,
        "values": None,
    }


@pytest.mark.parametrize(
    ("link", "error", "said"),
    [
        ("http://169.254.169.254/latest", FeedRedirected, "inner network"),
        ("file:///etc/passwd", FeedRedirected, "not http"),
        ("http://127.0.0.1:99999/", FeedRedirected, "not http"),
        (7, FeedUnreadable, "next page is not a URL"),
    ],
)
def test_a_link_to_a_page_is_followed_as_a_redirect_is(
    server: FeedServer, ask: Ask, link: Any, error: type[FeedError], said: str
) -> None:
    server.enqueue(Reply(body=json.dumps({"items": records(1, 3), "next": link})))
    with pytest.raises(error, match=said):
        ask(paged(server, {"next": "next"}))
    assert len(server.requests) == 1


def test_a_page_on_another_server_gets_no_secret(server: FeedServer, ask: Ask) -> None:
    with FeedServer() as other:
        link = other.address("api?page=2")
        server.enqueue(Reply(body=json.dumps({"items": records(1, 3), "next": link})))
        other.enqueue(Reply(body=json.dumps({"items": records(4, 3)})))
        keys = {**vars_of(paged(server, {"next": "next"})), **KEYED}
        location = server.address("api").replace("://", "://user:hush@")
        ask(feed_of(TOILETS, location=location, **keys), secrets=SECRETS)
        assert server.requests[0].headers["x-api-key"] == "Bearer hush"
        assert not {"authorization", "x-api-key"} & other.requests[0].headers.keys()


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        ("{", FeedUnreadable, "not complete JSON"),
        ('{"rows": [{"a": 1}]}', FeedUnreadable, 'Set records = "rows"'),
        ("<html>", FeedNotData, "an HTML page"),
    ],
)
def test_a_page_that_is_not_data_refuses_the_feed(
    server: FeedServer, ask: Ask, body: str, error: type[FeedError], said: str
) -> None:
    server.enqueue(Reply(body=json.dumps({"items": records(1, 3), "next": "/b"})), Reply(body=body))
    with pytest.raises(error, match=said):
        ask(paged(server, {"next": "next"}))


# Conditional requests

KNOWN = Known("0" * 64, Validators('"v1"', LAST_MODIFIED), datetime(2026, 11, 19, 6, tzinfo=UTC))


@pytest.mark.parametrize(
    ("as_of", "headers", "moment"),
    [
        ("last_modified", {}, datetime(2026, 11, 19, 6, 30, tzinfo=UTC)),
        (
            "last_modified",
            {"Last-Modified": "Thu, 19 Nov 2026 07:00:00 GMT"},
            datetime(2026, 11, 19, 7, tzinfo=UTC),
        ),
        ("record:OBJECTID", {}, datetime(2026, 11, 19, 6, tzinfo=UTC)),
        ("fetched", {}, NOW),
    ],
)
def test_an_unchanged_feed_is_not_sent_again_and_keeps_its_time(
    server: FeedServer, ask: Ask, as_of: str, headers: dict[str, str], moment: datetime
) -> None:
    server.enqueue(Reply(304, headers=headers, content_type=None))
    got = ask(of(server, as_of=as_of), known=KNOWN)
    assert isinstance(got.fetched, NotModified)
    assert server.requests[0].headers["if-none-match"] == '"v1"'
    assert server.requests[0].headers["if-modified-since"] == LAST_MODIFIED
    assert got.evidence.as_of == moment


def test_a_feed_that_changed_is_taken(server: FeedServer, ask: Ask) -> None:
    server.enqueue(served(toilets()))
    got = ask(of(server), known=KNOWN)
    assert fetched_of(got).path.read_bytes() == toilets()


def test_an_unchanged_feed_that_is_too_old_is_refused(server: FeedServer, ask: Ask) -> None:
    server.enqueue(Reply(304))
    old = Known("0" * 64, Validators('"v1"', None), datetime(2026, 11, 1, tzinfo=UTC))
    with pytest.raises(FeedStale, match="19 days old on 2026-11-20"):
        ask(of(server, as_of="record:OBJECTID"), known=old)


def test_known_bytes_without_validators_prove_nothing(server: FeedServer, ask: Ask) -> None:
    server.enqueue(Reply(304))
    known = Known("0" * 64, Validators(), datetime(2026, 11, 19, tzinfo=UTC))
    with pytest.raises(FeedForbidden, match="answered 304"):
        ask(of(server), known=known)
    assert not {"if-none-match", "if-modified-since"} & server.requests[0].headers.keys()


@pytest.mark.parametrize("required", [{"sha256": "1" * 64}, {"etag": '"v2"'}])
def test_known_bytes_that_are_not_the_required_ones_are_fetched_again(
    server: FeedServer, ask: Ask, required: dict[str, str]
) -> None:
    server.enqueue(served(toilets()))
    with pytest.raises(FeedChecksumMismatch):
        ask(of(server, **required), known=KNOWN)
    assert "if-none-match" not in server.requests[0].headers


# Time


def test_the_time_of_a_feed_without_one_is_that_of_the_request(
    server: FeedServer, ask: Ask
) -> None:
    server.enqueue(Reply(body=toilets()))
    got = ask(of(server, as_of="fetched"))
    assert (got.evidence.as_of, got.evidence.as_of_source) == (NOW, "fetched")


@pytest.mark.parametrize("day", [date(2026, 11, 19), date(2026, 11, 21)])
def test_such_a_feed_is_refused_for_another_day_and_not_even_asked_for(
    server: FeedServer, ask: Ask, day: date
) -> None:
    with pytest.raises(FeedNotOfDay, match=r"the current day only, 2026-11-20, and not for 202"):
        ask(of(server, as_of="fetched"), day)
    assert server.requests == []


def portal(server: FeedServer, **changes: Any) -> Feed:
    return of(
        server,
        as_of="metadata:result.modified",
        metadata_location=server.address("meta?key=hush&day={day}"),
        **changes,
    )


def test_the_time_may_be_in_metadata(server: FeedServer, ask: Ask) -> None:
    server.enqueue(
        served(toilets()), Reply(body=b"\xef\xbb\xbf" + b'{"result": {"modified": "2026-11-18"}}')
    )
    got = ask(portal(server))
    assert got.evidence.as_of == datetime(2026, 11, 18, tzinfo=UTC)
    assert got.evidence.as_of_source == "metadata"
    assert server.requests[1].path == "/meta?key=hush&day=2026-11-20"
    assert fetched_of(got).path.read_bytes() == toilets()


def test_metadata_of_an_unchanged_feed_are_asked_for_again(server: FeedServer, ask: Ask) -> None:
    server.enqueue(Reply(304), Reply(body='{"result": {"modified": "2026-11-20"}}'))
    got = ask(portal(server), known=KNOWN)
    assert got.evidence.as_of == datetime(2026, 11, 20, tzinfo=UTC)
    assert "if-none-match" not in server.requests[1].headers


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(404), FeedNotFound),
        (Reply(body="{}"), FeedWithoutTime),
        (Reply(body="<html>"), FeedNotData),
        (Reply(body="{"), FeedUnreadable),
    ],
)
def test_metadata_without_a_time_refuse_the_feed(
    server: FeedServer, ask: Ask, reply: Reply, error: type[FeedError]
) -> None:
    server.enqueue(served(toilets()), reply)
    with pytest.raises(error) as caught:
        ask(portal(server))
    assert "hush" not in str(caught.value)


def test_metadata_on_another_server_get_no_secret(server: FeedServer, ask: Ask) -> None:
    with FeedServer() as other:
        server.enqueue(served(toilets()))
        other.enqueue(Reply(body='{"result": {"modified": "2026-11-18"}}'))
        feed = of(
            server,
            as_of="metadata:result.modified",
            metadata_location=other.address("meta"),
            **KEYED,
        )
        ask(feed, secrets=SECRETS)
        assert not {"authorization", "x-api-key"} & other.requests[0].headers.keys()
