"""The Overpass client and reader, against a real HTTP server that fails in every known way."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import shapely

from ingestion_pipeline.core.clock import SystemClock
from ingestion_pipeline.core.file_lock import one_at_a_time
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.errors import (
    BoundaryBroken,
    BoundaryNotFound,
    FutureDay,
    NoEvidenceForDay,
    OsmError,
    OverpassBusy,
    OverpassDuplicateQuery,
    OverpassError,
    OverpassForbidden,
    OverpassNoAttic,
    OverpassNoMetadata,
    OverpassNotConfigured,
    OverpassOtherQuestion,
    OverpassRejected,
    OverpassSnapshotMoved,
    OverpassTooBig,
    OverpassTruncated,
    OverpassUnreachable,
    StaleUpstream,
)
from ingestion_pipeline.osm.selection import POIS
from ingestion_pipeline.sources.gate import LocalGate
from ingestion_pipeline.sources.overpass.answer import without_users
from ingestion_pipeline.sources.overpass.client import (
    LONGEST_WAIT_S,
    Limits,
    OverpassClient,
    read,
    seconds_to_slot,
)
from ingestion_pipeline.sources.overpass.wire import Patience
from ingestion_pipeline_tests.support.overpass_server import (
    OverpassServer,
    Reply,
    Request,
    error_page,
    known_before,
    overpass_json,
    refusing_url,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.osm.features import Reading
    from ingestion_pipeline.sources.base import Acquisition, RawPart

pytestmark = pytest.mark.server

TODAY = date(2026, 11, 20)
YESTERDAY = date(2026, 11, 19)
NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
BASE = "2026-11-20T12:00:00Z"

BBOX = Area(Bbox(7.40, 43.72, 7.44, 43.76), boundary_relation=None)
CITY = replace(BBOX, boundary_relation=7001)

TIMED_OUT = 'runtime error: Query timed out in "query" at line 2 after 181 seconds.'
MUSEUM = (
    "runtime error: Tried to use museum file but no museum files available on this instance."
    "runtime error: open64: 2 No such file or directory /db/nodes_attic.bin File_Blocks::1"
)
DISPATCHER = "runtime error: open64: 0 Success /osm3s_osm_base Dispatcher_Client::"
"""How the server names its own doorkeeper; what is wrong follows."""

META = {"timestamp": "2023-10-24T15:35:37Z", "changeset": 5, "user": "mapper", "uid": 77}


def node(osm_id: int, *, lon: float = 7.42, lat: float = 43.74, **tags: str) -> dict[str, Any]:
    tags = tags or {"amenity": "cafe"}
    place = {"lat": lat, "lon": lon}
    return {"type": "node", "id": osm_id, **place, "version": 3, **META, "tags": tags}


def kept_of(reply: Reply, part: RawPart) -> bytes:
    """What is kept of a body: everything but who changed an element."""
    return without_users(reply.repeating(part.query or ""))


def vertices(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    return [{"lat": lat, "lon": lon} for lon, lat in pairs]


def way(
    osm_id: int, nodes: list[int], geometry: list[dict[str, float] | None], **tags: str
) -> dict[str, Any]:
    shape = {"nodes": nodes, "geometry": geometry}
    return {"type": "way", "id": osm_id, "version": 2, **META, **shape, "tags": tags}


def square(osm_id: int) -> dict[str, Any]:
    corners = [(7.41, 43.73), (7.42, 43.73), (7.42, 43.74), (7.41, 43.74), (7.41, 43.73)]
    return way(osm_id, [1, 2, 3, 4, 1], list(vertices(*corners)), leisure="park")


def boundary(tags: dict[str, str] | None = None, *, closed: bool = True) -> dict[str, Any]:
    """A boundary of two ways: the south-eastern half and, if closed, the north-western one."""
    south_east = vertices((7.40, 43.72), (7.44, 43.72), (7.44, 43.76))
    north_west = vertices((7.44, 43.76), (7.40, 43.76), (7.40, 43.72))
    halves = [south_east, north_west] if closed else [south_east]
    members = [
        {"type": "way", "ref": 100 + index, "role": "outer", "geometry": geometry}
        for index, geometry in enumerate(halves)
    ]
    names = {"type": "boundary", "boundary": "administrative", "name": "Город", **(tags or {})}
    return {"type": "relation", "id": 7001, "version": 9, **META, "members": members, "tags": names}


def remark(text: str, *, base: str = BASE) -> Reply:
    return Reply(body=overpass_json([node(1)], base=base, remark=text))


def page(*lines: str, status: int = 200) -> Reply:
    return Reply(status, error_page(*lines), "text/html; charset=utf-8")


def whole(*selected: dict[str, Any], base: str = BASE) -> Reply:
    return Reply(body=overpass_json(selected or [node(1)], base=base))


@dataclass
class FakeClock:
    """A clock that only waiting moves."""

    moment: datetime = NOW
    sleeps: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.moment += timedelta(seconds=seconds)


@dataclass
class Bench:
    """A client in front of a server."""

    server: OverpassServer
    http: httpx.Client
    folder: Path
    clock: FakeClock = field(default_factory=FakeClock)

    @property
    def workdir(self) -> Path:
        return self.folder / "work"

    @property
    def lock_dir(self) -> Path:
        return self.folder / "locks"

    def client(
        self, *, url: str | None = None, clock: Clock | None = None, **settings: Any
    ) -> OverpassClient:
        return OverpassClient(
            url=url or self.server.url,
            http=self.http,
            clock=clock or self.clock,
            gate=LocalGate(self.lock_dir),
            user_agent="poi-tests/1 (tests@example.org)",
            **settings,
        )

    def acquire(
        self,
        *replies: Reply,
        area: Area = BBOX,
        day: date = TODAY,
        client: OverpassClient | None = None,
    ) -> Acquisition:
        self.server.enqueue(*replies)
        client = client or self.client()
        return client.acquire(area, day=day, maximum_age=timedelta(hours=24), workdir=self.workdir)

    def fails(
        self,
        kind: type[OsmError],
        *replies: Reply,
        area: Area = BBOX,
        day: date = TODAY,
        client: OverpassClient | None = None,
    ) -> str:
        """Expect this very error, nothing left in the folder, and give the message."""
        with pytest.raises(OsmError) as caught:
            self.acquire(*replies, area=area, day=day, client=client)
        assert type(caught.value) is kind, caught.value
        assert not self.workdir.exists() or list(self.workdir.iterdir()) == []
        return str(caught.value)

    def reading(self, *replies: Reply, area: Area = BBOX) -> Reading:
        acquisition = self.acquire(*replies, area=area)
        return read([part.path for part in acquisition.parts], area=area)


@pytest.fixture
def server() -> Iterator[OverpassServer]:
    with OverpassServer() as server:
        yield server


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client() as http:
        yield http


@pytest.fixture
def bench(server: OverpassServer, http: httpx.Client, tmp_path: Path) -> Bench:
    return Bench(server, http, tmp_path)


# --- a good answer -------------------------------------------------------------------------------


def test_the_query_is_sent_by_post_with_contact_and_gzip(bench: Bench) -> None:
    bench.acquire(whole())
    (request,) = bench.server.requests
    assert (request.method, request.path) == ("POST", "/api/interpreter")
    assert request.headers["user-agent"] == "poi-tests/1 (tests@example.org)"
    assert request.headers["accept-encoding"] == "gzip"
    assert request.headers["cache-control"] == "no-cache"
    assert request.query.startswith("[out:json][timeout:180][maxsize:268435456];")


def test_an_accepted_body_is_kept_byte_by_byte(bench: Bench) -> None:
    reply = whole(node(1), square(2))
    acquisition = bench.acquire(reply)
    (part,) = acquisition.parts
    assert part.path == bench.workdir / "overpass-000.json"
    assert part.path.read_bytes() == kept_of(reply, part)
    assert [path.name for path in bench.workdir.iterdir()] == ["overpass-000.json"]
    assert part.query == bench.server.queries[0]


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_compressed_body_is_kept_without_its_compression(bench: Bench, framing: Any) -> None:
    reply = replace(whole(), compressed=True, framing=framing, piece_bytes=50)
    (part,) = bench.acquire(reply).parts
    assert part.path.read_bytes() == kept_of(reply, part)


def test_the_current_day_is_as_of_the_servers_data(bench: Bench) -> None:
    acquired = bench.acquire(whole())
    evidence = acquired.evidence
    assert evidence.as_of == datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert evidence.as_of_source == "timestamp_osm_base"
    assert evidence.location == bench.server.url
    assert "[date:" not in (acquired.parts[0].query or "")


def test_a_past_day_is_as_of_its_last_second(bench: Bench) -> None:
    evidence = bench.acquire(whole(), day=YESTERDAY).evidence
    assert '[date:"2026-11-19T23:59:59Z"]' in bench.server.queries[0]
    assert evidence.as_of == datetime(2026, 11, 19, 23, 59, 59, tzinfo=UTC)
    assert evidence.as_of_source == "attic_date"


def test_the_boundary_comes_in_the_same_question(bench: Bench) -> None:
    bench.acquire(Reply(body=overpass_json([node(1)], boundary=[boundary()])), area=CITY)
    assert "rel(7001)" in bench.server.queries[0]


# --- days that may not be staged -----------------------------------------------------------------


def test_a_future_day_needs_no_network(bench: Bench) -> None:
    bench.fails(FutureDay, day=TODAY + timedelta(days=1))
    assert bench.server.requests == []


def test_current_data_that_is_too_old_is_refused(bench: Bench) -> None:
    message = bench.fails(StaleUpstream, whole(base="2026-11-19T12:00:00Z"))
    assert "24 hours" in message


def test_a_server_that_has_not_got_to_the_end_of_a_past_day_is_refused(bench: Bench) -> None:
    message = bench.fails(StaleUpstream, whole(base="2026-11-19T23:59:58Z"), day=YESTERDAY)
    assert "2026-11-19T23:59:59Z" in message


@pytest.mark.parametrize("base", [None, "", "soon", "2026-11-20T12:00:00"])
def test_data_without_a_time_is_refused(bench: Bench, base: str | None) -> None:
    bench.fails(NoEvidenceForDay, Reply(body=overpass_json([node(1)], base=base)))


def test_a_boundary_that_the_server_lacks_is_named(bench: Bench) -> None:
    reply = Reply(body=overpass_json([node(1)], boundary=[]))
    assert "relation/7001" in bench.fails(BoundaryNotFound, reply, area=CITY)
    assert len(bench.server.requests) == 1


# --- permanent failures: one question, no waiting ------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 406, 414])
def test_what_asking_again_cannot_mend_is_not_asked_again(bench: Bench, status: int) -> None:
    kind = OverpassRejected if status == 400 else OverpassForbidden
    message = bench.fails(kind, page("line 1: parse error: &quot;(&quot; found.", status=status))
    assert f"status {status}" in message
    assert 'line 1: parse error: "(" found.' in message
    assert len(bench.server.requests) == 1
    assert bench.clock.sleeps == []


def test_all_error_lines_of_a_rejected_query_are_shown(bench: Bench) -> None:
    message = bench.fails(OverpassRejected, page("line 1: first", "line 2: second", status=400))
    assert "line 1: first; line 2: second" in message


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(bench: Bench, status: int) -> None:
    with OverpassServer() as elsewhere:
        reply = Reply(status, content_type=None, headers={"Location": elsewhere.url})
        assert elsewhere.url in bench.fails(OverpassForbidden, reply)
        assert elsewhere.requests == []


def test_a_server_without_history_is_told_on_a_past_day(bench: Bench) -> None:
    bench.fails(OverpassNoAttic, remark(MUSEUM), day=YESTERDAY)
    assert len(bench.server.requests) == 1


def test_a_server_without_metadata_is_named(bench: Bench) -> None:
    lacking = (
        "runtime error: open64: 2 No such file or directory /db/{} File_Blocks::File_Blocks::1"
    )
    for file in ("user_data.bin", "nodes_meta.bin", "ways_meta.bin", "relations_meta.bin"):
        message = bench.fails(OverpassNoMetadata, remark(lacking.format(file)))
        assert "--meta" in message
    bare = {key: value for key, value in node(1).items() if key not in ("version", *META)}
    assert "--meta" in bench.fails(OverpassNoMetadata, whole(bare, bare | {"id": 2}))
    assert len(bench.server.requests) == 5
    assert not OverpassNoMetadata.should_retry


def test_one_object_without_metadata_is_taken(bench: Bench) -> None:
    bare = {key: value for key, value in node(1).items() if key not in ("version", *META)}
    bench.acquire(whole(bare, node(2)))


def test_a_time_out_on_a_past_day_is_a_time_out(bench: Bench) -> None:
    bench.server.default = remark(TIMED_OUT)
    bench.fails(OverpassTooBig, day=YESTERDAY)


@pytest.mark.parametrize(
    "url", ["", "overpass.example/api", "ftp://host/", "http://", "http://h:x/"]
)
def test_an_address_that_is_none_is_refused_at_once(bench: Bench, url: str) -> None:
    with pytest.raises(OverpassNotConfigured, match="OVERPASS_URL") as caught:
        OverpassClient(
            url=url.replace("://", "://user:hush@"),
            http=bench.http,
            clock=bench.clock,
            gate=LocalGate(bench.lock_dir),
            user_agent="x",
        )
    assert "hush" not in str(caught.value)


# --- passing failures: the client waits and asks again -------------------------------------------


NODE_9 = json.dumps(node(9)).encode()
NUMBERED = {**node(1), "tags": {"amenity": 5}}


def without_last_element(body: bytes) -> bytes:
    """Leave the last element out, and keep the count."""
    return body[: body.rindex(b',\n    {\n      "type"')] + b"\n  ]\n}"


PASSING: dict[str, tuple[Reply, type[OverpassError]]] = {
    "504 overload": (
        page(f"{DISPATCHER}request_read_and_idx::timeout. Too busy.", status=504),
        OverpassBusy,
    ),
    "504 dispatcher down": (
        page("runtime error: The dispatcher is turned off.", status=504),
        OverpassBusy,
    ),
    "502": (Reply(502, "An error occurred while reading CGI reply", "text/plain"), OverpassBusy),
    "503": (Reply(503, "maintenance", "text/plain"), OverpassBusy),
    "protocol_error": (page(f"{DISPATCHER}request_read_and_idx::protocol_error"), OverpassBusy),
    "dispatcher in a remark": (remark(f"{DISPATCHER}request_read_and_idx::timeout"), OverpassBusy),
    "duplicate_query": (
        page(f"{DISPATCHER}request_read_and_idx::duplicate_query"),
        OverpassDuplicateQuery,
    ),
    "unknown remark": (remark("runtime error: something new"), OverpassTruncated),
    "empty remark": (remark(""), OverpassTruncated),
    "somebody else's page": (Reply(200, "<p>Please log in</p>", "text/html"), OverpassTruncated),
    "no type": (replace(whole(), content_type=None), OverpassTruncated),
    "csv": (Reply(200, "@id\n1\n", "text/csv"), OverpassTruncated),
    "empty body": (Reply(200, b""), OverpassTruncated),
    "json of another form": (Reply(200, b'{"elements": "none"}'), OverpassTruncated),
    "tags that are no text": (Reply(body=overpass_json([NUMBERED])), OverpassTruncated),
    "no repetition": (replace(whole(), repeats=False), OverpassOtherQuestion),
    "a repetition in the middle": (
        Reply(body=overpass_json([{"type": "asked", "id": 2, "tags": {}}, node(1)])),
        OverpassTruncated,
    ),
    "something after the end": (Reply(200, overpass_json() + b"}"), OverpassTruncated),
    "no count": (Reply(200, b'{"osm3s": {}, "elements": []}'), OverpassTruncated),
    "elements before the count": (
        Reply(
            200, overpass_json([node(1)]).replace(b'"elements": [', b'"elements": [%b,' % NODE_9)
        ),
        OverpassTruncated,
    ),
    "two counts": (Reply(200, overpass_json([node(1)], boundary=[])), OverpassTruncated),
    "fewer than counted": (
        Reply(200, without_last_element(overpass_json([node(1), node(2)]))),
        OverpassTruncated,
    ),
    "connection closed without a word": (Reply(hang_up=True), OverpassUnreachable),
    "connection reset without a word": (Reply(hang_up=True, ending="reset"), OverpassUnreachable),
    "cut by length": (replace(whole(), cut_after=300), OverpassTruncated),
    "cut in chunks": (replace(whole(), cut_after=300, framing="chunked"), OverpassTruncated),
    "reset in mid-body": (replace(whole(), cut_after=300, ending="reset"), OverpassTruncated),
    "gzip cut": (replace(whole(), cut_after=200, compressed=True), OverpassTruncated),
    "gzip stream without its end": (
        Reply(
            200,
            replace(whole(), compressed=True).payload()[:-8],
            headers={"Content-Encoding": "gzip"},
        ),
        OverpassTruncated,
    ),
    "not gzip": (replace(whole(), headers={"Content-Encoding": "gzip"}), OverpassTruncated),
    "brotli": (replace(whole(), headers={"Content-Encoding": "br"}), OverpassTruncated),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_asked_again_after_a_wait(bench: Bench, name: str) -> None:
    reply, _ = PASSING[name]
    bench.server.status = ""
    (part,) = bench.acquire(reply, whole(node(5))).parts
    assert part.path.read_bytes() == kept_of(whole(node(5)), part)
    assert len(bench.clock.sleeps) == 1


@pytest.mark.parametrize("name", PASSING)
def test_what_does_not_pass_is_told_after_all_attempts(bench: Bench, name: str) -> None:
    reply, kind = PASSING[name]
    bench.server.status = ""
    bench.server.default = reply
    message = bench.fails(kind, client=bench.client(attempts=3))
    assert kind.should_retry
    assert len(bench.server.requests) == 3
    for part in ("127.0.0.1:", "7.4,43.72,7.44,43.76", "2026-11-20", "attempt 3 of 3)", ". "):
        assert part in message


def test_a_body_cut_in_a_string_with_a_regular_end_of_transfer_is_refused(bench: Bench) -> None:
    body = overpass_json([node(1, name="Café")])
    cut = body[: body.index("Café".encode()) + 3]
    bench.server.default = Reply(body=cut, framing="chunked")
    bench.fails(OverpassTruncated)


@pytest.mark.parametrize("kind", ["nodes", "ways", "relations"])
def test_every_kind_of_element_is_counted(bench: Bench, kind: str) -> None:
    body = overpass_json([node(1), square(2), boundary()])
    bench.server.default = Reply(
        body=body.replace(f'"{kind}": "1"'.encode(), b'"%b": "2"' % kind.encode())
    )
    assert "counted" in bench.fails(OverpassTruncated)


def test_the_boundary_is_counted_too(bench: Bench) -> None:
    body = without_last_element(overpass_json([node(1)], boundary=[boundary()]))
    bench.server.default = Reply(body=body)
    bench.fails(OverpassTruncated, area=CITY)


def test_an_answer_without_the_section_of_the_boundary_is_refused(bench: Bench) -> None:
    bench.server.default = whole()
    bench.fails(OverpassTruncated, area=CITY)


def test_nobody_listening_is_told(bench: Bench) -> None:
    bench.fails(OverpassUnreachable, client=bench.client(url=refusing_url()))
    assert len(bench.clock.sleeps) == 3


def test_a_server_that_is_silent_is_given_up(bench: Bench) -> None:
    client = bench.client(
        attempts=1, limits=Limits(1, 1_000_000), patience=Patience(beyond_timeout_s=-0.7)
    )
    bench.fails(OverpassUnreachable, Reply(silent=True), client=client)


def test_a_body_that_stops_coming_is_given_up(bench: Bench) -> None:
    client = bench.client(
        attempts=1, limits=Limits(1, 1_000_000), patience=Patience(beyond_timeout_s=-0.7)
    )
    reply = replace(whole(), cut_after=100, silent=True)
    assert "the body timed out" in bench.fails(OverpassUnreachable, reply, client=client)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_body_that_trickles_is_given_up(bench: Bench, compressed: bool) -> None:
    clock = SystemClock()
    client = bench.client(
        clock=clock,
        attempts=1,
        limits=Limits(1, 1_000_000),
        patience=Patience(beyond_timeout_s=0, transfer_s=-0.5),
    )
    base = f"{clock.now():%Y-%m-%dT%H:%M:%SZ}"
    reply = replace(whole(base=base), piece_bytes=1, pause_s=0.05, compressed=compressed)
    message = bench.fails(OverpassUnreachable, reply, day=clock.now().date(), client=client)
    assert "was not complete" in message


def test_a_slow_answer_within_its_time_is_taken(bench: Bench) -> None:
    reply = replace(whole(), delay_s=0.3, piece_bytes=100, pause_s=0.02, framing="chunked")
    (part,) = bench.acquire(reply).parts
    assert part.path.read_bytes() == kept_of(reply, part)


def test_waits_grow_and_are_jittered(bench: Bench) -> None:
    bench.server.default = Reply(502, "", "text/plain")
    bench.fails(OverpassBusy, client=bench.client(jitter=lambda: 0.5))
    assert bench.clock.sleeps == [15.0, 30.0, 60.0]


def test_every_attempt_is_another_text(bench: Bench) -> None:
    bench.server.default = page(f"{DISPATCHER}request_read_and_idx::duplicate_query")
    bench.fails(OverpassDuplicateQuery)
    timeouts = [re.findall(r"\[timeout:(\d+)\]", query) for query in bench.server.queries]
    assert timeouts == [["180"], ["181"], ["182"], ["183"]]


@pytest.mark.parametrize(
    "said",
    [
        "runtime error: The dispatcher (i.e. the database management system) is turned off.",
        "runtime error: open64: 2 Dispatcher_Client::1. Probably the server is down.",
    ],
)
def test_after_a_stopped_dispatcher_no_less_is_declared(bench: Bench, said: str) -> None:
    bench.acquire(page(said, status=504), page(said, status=504), whole())
    declared = [re.findall(r"(?:timeout|maxsize):(\d+)", query) for query in bench.server.queries]
    assert declared == [["180", "268435456"], ["181", "268435456"], ["182", "268435456"]]


def test_after_a_504_less_is_declared(bench: Bench) -> None:
    overload = PASSING["504 overload"][0]
    bench.server.status = ""
    bench.acquire(overload, overload, whole())
    declared = [re.findall(r"(?:timeout|maxsize):(\d+)", query) for query in bench.server.queries]
    assert declared == [["180", "268435456"], ["91", "134217728"], ["47", "67108864"]]


# --- 429: no free slot ---------------------------------------------------------------------------

NO_SLOT = page(f"{DISPATCHER}request_read_and_idx::rate_limited.", status=429)
STATUS_HEAD = "Connected as: 1\nCurrent time: 2026-11-20T12:30:00Z\nRate limit: 2\n"


def status(text: str) -> Reply:
    return Reply(200, STATUS_HEAD + text, "text/plain; charset=utf-8")


def running(*queries: tuple[int, str]) -> str:
    """Write what `/api/status` says of running queries: their time limits and starts."""
    lines = [f"{7}\t268435456\t{limit}\t2026-11-20T{start}Z\n" for limit, start in queries]
    return "Currently running queries (pid, space limit, time limit, start time):\n" + "".join(
        lines
    )


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("", 30),
        ("2 slots available now.\n", 30),
        ("Slot available after: 2026-11-20T12:30:04Z, in 4 seconds.\n", 30),
        ("Slot available after: 2026-11-20T12:29:00Z, in -60 seconds.\n", 30),
        (
            "Slot available after: x, in 240 seconds.\nSlot available after: x, in 85 seconds.\n",
            85,
        ),
        ("1 slots available now.\nSlot available after: x, in 85 seconds.\n", 30),
        (running((180, "12:28:00"), (120, "12:29:15")), 60),
        (running((900, "12:29:59")), 90),
        (running((60, "12:00:00")), 30),
        ("Slot available after: x, in 40 seconds.\n" + running((180, "12:29:59")), 40),
        ("Slot available after: x, in 80 seconds.\n" + running((75, "12:29:30")), 45),
    ],
)
def test_a_slot_is_waited_for_as_long_as_the_server_says(
    bench: Bench, text: str, least: int
) -> None:
    bench.acquire(NO_SLOT, status(text), whole())
    (waited,) = bench.clock.sleeps
    assert least <= waited < least + 2
    assert [request.method for request in bench.server.requests] == ["POST", "GET", "POST"]
    assert bench.server.requests[1].path == "/api/status"


def test_after_an_overload_the_status_is_read_for_the_wait(bench: Bench) -> None:
    overload = PASSING["504 overload"][0]
    bench.acquire(overload, status("Slot available after: x, in 70 seconds.\n"), whole())
    assert bench.clock.sleeps == [70]
    assert [request.method for request in bench.server.requests] == ["POST", "GET", "POST"]


@pytest.mark.parametrize("code", [429, 502, 503, 504])
@pytest.mark.parametrize("text", ["75", "Fri, 20 Nov 2026 12:31:15 GMT"])
def test_a_wait_that_the_server_asks_for_is_kept(bench: Bench, code: int, text: str) -> None:
    bench.server.status = ""
    bench.acquire(replace(page("busy", status=code), headers={"Retry-After": text}), whole())
    (waited,) = bench.clock.sleeps
    assert 75 <= waited < 77


@pytest.mark.parametrize("text", ["soon", "-5", "", "Fri, 20 Nov 2026 11:00:00 GMT", "٣٠"])
def test_a_wait_that_is_none_is_that_of_the_back_off(bench: Bench, text: str) -> None:
    headers = {"Retry-After": text.encode().decode("latin-1")}
    bench.acquire(
        replace(page("busy", status=503), headers=headers),
        whole(),
        client=bench.client(jitter=lambda: 0.5),
    )
    assert bench.clock.sleeps == [15]


def test_a_wait_that_the_server_asks_for_and_is_too_long_is_left_to_a_later_run(
    bench: Bench,
) -> None:
    away = Reply(503, "maintenance", "text/plain", headers={"Retry-After": "99999999999999"})
    with pytest.raises(OverpassBusy) as caught:
        bench.acquire(away)
    assert caught.value.retry_after_s == 86_400
    assert bench.clock.sleeps == []


def test_a_slot_that_was_free_before_now_is_free_now() -> None:
    assert seconds_to_slot("Slot available after: 2026-11-20T12:29:00Z, in -60 seconds.\n") == 0


@pytest.mark.parametrize(
    "answer", [Reply(hang_up=True), Reply(504, "Probably the server is down.", "text/plain")]
)
def test_a_slot_is_waited_for_when_the_status_cannot_be_read(bench: Bench, answer: Reply) -> None:
    bench.acquire(NO_SLOT, answer, whole())
    assert bench.clock.sleeps[0] >= 30


def test_a_slot_that_is_too_far_away_is_not_waited_for(bench: Bench) -> None:
    far = status(f"Slot available after: tomorrow, in {LONGEST_WAIT_S + 1:.0f} seconds.\n")
    bench.fails(OverpassBusy, NO_SLOT, far)
    assert bench.clock.sleeps == []


SOON = status("Slot available after: soon, in 50 seconds.\n")


def handed_over(bench: Bench, *replies: Reply, area: Area = BBOX) -> OsmError:
    """Ask as a step does whose waits a retry can do; give the error."""
    with pytest.raises(OsmError) as caught:
        bench.acquire(
            *replies, area=area, client=bench.client(caller_retries=True, jitter=lambda: 0.5)
        )
    assert caught.value.should_retry
    return caught.value


def test_the_wait_for_a_slot_is_left_to_a_caller_that_tries_again(bench: Bench) -> None:
    assert handed_over(bench, NO_SLOT, SOON).retry_after_s == 50.5
    assert bench.clock.sleeps == []
    assert len(bench.server.queries) == 1


def test_a_caller_that_tries_again_is_told_of_a_slot_that_is_far_away(bench: Bench) -> None:
    far = status("Slot available after: tomorrow, in 4000 seconds.\n")
    assert handed_over(bench, NO_SLOT, far).retry_after_s == 4000.5


def test_only_short_waits_of_a_back_off_are_done_for_a_caller_that_tries_again(
    bench: Bench,
) -> None:
    bench.server.default = Reply(502, "", "text/plain")
    assert handed_over(bench).retry_after_s == 30
    assert bench.clock.sleeps == [15]
    assert len(bench.server.requests) == 2


def test_no_wait_for_a_caller_that_tries_again_is_longer_for_its_jitter(bench: Bench) -> None:
    bench.server.default = Reply(502, "", "text/plain")
    client = bench.client(caller_retries=True, jitter=lambda: 0.99)
    bench.fails(OverpassBusy, client=client)
    assert bench.clock.sleeps == [15]


def test_the_parts_that_have_come_are_not_given_up_for_a_wait(bench: Bench) -> None:
    parts = [whole(node(number)) for number in range(1, 5)]
    acquisition = bench.acquire(
        *(remark(TIMED_OUT), remark(TIMED_OUT), parts[0]),
        *(NO_SLOT, SOON, *parts[1:]),
        client=bench.client(caller_retries=True, jitter=lambda: 0.5),
    )
    assert len(acquisition.parts) == 4
    assert bench.clock.sleeps == [50.5]


def test_an_error_after_all_attempts_leaves_no_wait(bench: Bench) -> None:
    bench.server.default = Reply(502, "", "text/plain")
    with pytest.raises(OverpassBusy) as caught:
        bench.acquire(client=bench.client())
    assert caught.value.retry_after_s is None


def test_the_server_is_not_locked_during_a_wait(bench: Bench) -> None:
    free: list[bool] = []
    server = bench.server.url.split("/")[2]

    @dataclass
    class Watching(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            run = threading.Thread(target=take, daemon=True)
            run.start()
            run.join(timeout=10)
            free.append(not run.is_alive())

    def take() -> None:
        with one_at_a_time(f"request to {server}", lock_dir=bench.lock_dir):
            pass

    busy = Reply(502, "", "text/plain")
    bench.acquire(busy, NO_SLOT, SOON, busy, whole(), client=bench.client(clock=Watching()))
    assert free == [True, True, True]


def test_no_slot_after_all_attempts_is_told(bench: Bench) -> None:
    bench.fails(OverpassBusy, NO_SLOT, status(""), NO_SLOT, client=bench.client(attempts=2))
    assert bench.server.unused == 0


# --- too big: more room once, then quarters ------------------------------------------------------


def quarter_of(query: str) -> str:
    found = re.search(r"\((43\.[\d.,]+)\)", query)
    assert found
    return found[1]


QUARTERS = [
    "43.7200000,7.4000000,43.7400000,7.4200000",
    "43.7200000,7.4200000,43.7400000,7.4400000",
    "43.7400000,7.4000000,43.7600000,7.4200000",
    "43.7400000,7.4200000,43.7600000,7.4400000",
]


@pytest.mark.parametrize(
    "text",
    [
        TIMED_OUT,
        'runtime error: Query ran out of memory in "query" at line 1. It would need 2 MB.',
        'runtime error: Query run out of memory in "recurse" at line 1 using about 512 MB of RAM.',
    ],
)
def test_what_is_too_big_gets_more_room_once_and_is_then_split(bench: Bench, text: str) -> None:
    acquisition = bench.acquire(remark(text), remark(text), *[whole(node(n)) for n in range(1, 5)])
    declared = [re.findall(r"(?:timeout|maxsize):(\d+)", query) for query in bench.server.queries]
    assert declared == [["180", "268435456"]] + [["360", "536870912"]] * 5
    assert [quarter_of(query) for query in bench.server.queries[2:]] == QUARTERS
    assert [part.path.name for part in acquisition.parts] == [
        f"overpass-00{index}.json" for index in range(4)
    ]
    assert bench.clock.sleeps == []


def test_more_room_may_be_enough(bench: Bench) -> None:
    assert len(bench.acquire(remark(TIMED_OUT), whole()).parts) == 1


def test_only_the_first_quarter_brings_the_boundary(bench: Bench) -> None:
    first = Reply(body=overpass_json([node(1)], boundary=[boundary()]))
    bench.acquire(remark(TIMED_OUT), remark(TIMED_OUT), first, *[whole()] * 3, area=CITY)
    assert ["rel(7001)" in query for query in bench.server.queries[2:]] == [True] + [False] * 3


def test_a_quarter_that_is_too_big_is_split_in_its_place(bench: Bench) -> None:
    big = remark(TIMED_OUT)
    acquisition = bench.acquire(big, big, whole(), big, *[whole()] * 6)
    asked = [quarter_of(part.query or "") for part in acquisition.parts]
    assert len(asked) == 7
    assert asked[0] == QUARTERS[0]
    assert asked[1] == "43.7200000,7.4200000,43.7300000,7.4300000"
    assert asked[5:] == QUARTERS[2:]


IMPOSSIBLE = TIMED_OUT.replace("181", "1074945")
"""What Overpass 0.7.62 says of dated queries that are too big for it."""


@pytest.mark.parametrize("day", [TODAY, YESTERDAY])
def test_a_time_out_after_longer_than_any_query_runs_is_split_at_once(
    bench: Bench, day: date
) -> None:
    acquisition = bench.acquire(remark(IMPOSSIBLE), *[whole(node(n)) for n in range(4)], day=day)
    declared = [re.findall(r"(?:timeout|maxsize):(\d+)", query) for query in bench.server.queries]
    assert declared == [["180", "268435456"]] * 5
    assert [quarter_of(part.query or "") for part in acquisition.parts] == QUARTERS


@pytest.mark.parametrize(("day", "kind"), [(YESTERDAY, OverpassNoAttic), (TODAY, OverpassTooBig)])
def test_such_a_time_out_of_the_smallest_parts_is_no_matter_of_size(
    bench: Bench, day: date, kind: type[OverpassError]
) -> None:
    bench.server.default = remark(IMPOSSIBLE)
    message = bench.fails(kind, day=day)
    assert len(bench.server.requests) == 5
    assert "1074945 seconds" in message
    assert "0.7.62" in message


@pytest.mark.parametrize("compressed", [False, True])
def test_a_body_larger_than_the_declared_memory_is_too_big(bench: Bench, compressed: bool) -> None:
    client = bench.client(limits=Limits(180, 20_000))
    bomb = Reply(body=overpass_json([node(1, note="x" * 3_000_000)]), compressed=compressed)
    bench.server.default = bomb
    message = bench.fails(OverpassTooBig, client=client)
    assert "larger than the limit of 40,000 bytes" in message
    assert len(bench.server.requests) == 6
    assert len(bomb.payload()) < 10_000 or not compressed


def test_a_body_that_needs_more_room_gets_it(bench: Bench) -> None:
    reply = Reply(body=overpass_json([node(1, note="x" * 15_000)]), compressed=True)
    (part,) = bench.acquire(reply, reply, client=bench.client(limits=Limits(180, 10_000))).parts
    assert part.path.read_bytes() == kept_of(reply, part)


def test_a_body_that_decompresses_to_many_pieces_is_kept_whole(bench: Bench) -> None:
    reply = Reply(body=overpass_json([node(1, note="x" * 5_000_000)]), compressed=True)
    (part,) = bench.acquire(reply).parts
    assert part.path.read_bytes() == kept_of(reply, part)


def test_what_stays_too_big_ends_after_four_levels(bench: Bench) -> None:
    bench.server.default = remark(TIMED_OUT)
    message = bench.fails(OverpassTooBig)
    assert len(bench.server.requests) == 6
    assert "split 4 times" in message
    assert not OverpassTooBig.should_retry


# --- the answer to this question -----------------------------------------------------------------


def answer_to(**other: str) -> Reply:
    """A good answer, which repeats another question in some respect."""
    question = {
        "day": "2026-11-20",
        "at": "now",
        "box": "43.7200000,7.4000000,43.7600000,7.4400000",
        "tags": POIS.digest,
    } | other
    body = json.loads(overpass_json([node(1)]))
    body["elements"].insert(0, {"type": "asked", "id": 1, "tags": question})
    return Reply(body=json.dumps(body), repeats=False)


def test_the_answer_repeats_the_question(bench: Bench) -> None:
    (part,) = bench.acquire(answer_to()).parts
    assert 'make asked day="2026-11-20",at="now",box="43.7200000,7.4' in (part.query or "")
    assert len(read([part.path], area=BBOX).features) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"day": "2026-11-19"},
        {"at": "2026-11-19T23:59:59Z"},
        {"box": QUARTERS[0]},
        {"tags": "0" * 32},
        {"more": "x"},
    ],
)
def test_the_answer_to_another_question_is_refused(bench: Bench, other: dict[str, str]) -> None:
    (key,) = other
    bench.server.default = answer_to(**other)
    message = bench.fails(OverpassOtherQuestion, client=bench.client(attempts=2))
    assert f"{key} is '{other[key]}'" in message
    assert "cache or proxy" in message
    bench.acquire(answer_to(**other), whole())


def test_an_object_that_is_newer_than_the_moment_is_refused(bench: Bench) -> None:
    newer = node(7) | {"timestamp": "2026-11-20T00:00:00Z"}
    bench.server.default = whole(node(1), newer)
    message = bench.fails(OverpassOtherQuestion, day=YESTERDAY)
    assert "node/7 of 2026-11-20T00:00:00Z" in message
    newest = node(7) | {"timestamp": "2026-11-19T23:59:59Z"}
    bench.acquire(whole(node(1), newest), day=YESTERDAY)


# --- the server's time, before anything large is asked for ---------------------------------------


@pytest.mark.parametrize(
    ("day", "timestamp"),
    [(TODAY, "2026-11-19T12:29:59Z"), (YESTERDAY, "2026-11-19T23:59:58Z")],
)
def test_a_server_that_is_behind_is_not_asked_for_a_city(
    bench: Bench, day: date, timestamp: str
) -> None:
    bench.server.timestamp = timestamp
    bench.fails(StaleUpstream, day=day)
    assert bench.server.requests == []
    (request,) = bench.server.asides
    assert (request.method, request.path) == ("GET", "/api/timestamp")


@pytest.mark.parametrize("timestamp", [None, "soon", "", "2026-11-20T12:00:00", BASE])
def test_a_server_that_does_not_say_its_time_beforehand_is_asked(
    bench: Bench, timestamp: str | None
) -> None:
    bench.server.timestamp = timestamp
    bench.acquire(whole())
    assert len(bench.server.requests) == 1


# --- midnight ------------------------------------------------------------------------------------

AFTER_MIDNIGHT = "2026-11-21T00:01:00Z"


@pytest.mark.parametrize(
    "clock",
    [
        datetime(2026, 11, 20, 23, 59, 50, tzinfo=UTC),
        datetime(2026, 11, 21, 0, 2, tzinfo=UTC),
    ],
)
def test_a_day_that_ends_while_it_is_asked_for_is_had_as_a_past_day(
    bench: Bench, clock: datetime
) -> None:
    bench.clock.moment = datetime(2026, 11, 20, 23, 59, 40, tzinfo=UTC)

    def answer(_: Request) -> Reply:
        bench.clock.moment = clock
        return whole(base=AFTER_MIDNIGHT)

    bench.server.default = answer
    acquisition = bench.acquire()
    first, second = bench.server.queries
    assert "[date:" not in first
    assert '[date:"2026-11-20T23:59:59Z"]' in second
    assert acquisition.evidence.as_of == datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)
    assert acquisition.evidence.as_of_source == "attic_date"
    assert acquisition.evidence.history is not None


def test_a_day_that_ended_before_the_first_question_is_asked_for_once(bench: Bench) -> None:
    bench.clock.moment = datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)
    bench.server.timestamp = AFTER_MIDNIGHT
    bench.acquire(whole(base=AFTER_MIDNIGHT))
    assert len(bench.server.requests) == 1


def test_data_of_the_ended_day_itself_is_taken_as_it_is(bench: Bench) -> None:
    bench.clock.moment = datetime(2026, 11, 20, 23, 59, 40, tzinfo=UTC)

    def answer(_: Request) -> Reply:
        bench.clock.moment = datetime(2026, 11, 21, 0, 0, 30, tzinfo=UTC)
        return whole(base="2026-11-20T23:59:00Z")

    bench.server.default = answer
    assert bench.acquire().evidence.as_of_source == "timestamp_osm_base"


def test_without_history_a_day_that_ended_is_gone(bench: Bench) -> None:
    bench.clock.moment = datetime(2026, 11, 20, 23, 59, 50, tzinfo=UTC)
    bench.fails(OverpassNoAttic, whole(base=AFTER_MIDNIGHT), remark(MUSEUM))


def test_data_from_the_future_is_of_no_day(bench: Bench) -> None:
    bench.fails(NoEvidenceForDay, whole(base="2026-11-21T00:01:00Z"))


# --- history that reaches back to the day --------------------------------------------------------


def test_a_version_from_before_proves_the_history(bench: Bench) -> None:
    evidence = bench.acquire(whole(node(1), square(2)), day=YESTERDAY).evidence
    assert evidence.history == (
        "node/1 is known in version 1, which was replaced by 2023-10-24T15:35:37Z (version 3)"
    )
    (aside,) = [request for request in bench.server.asides if request.method == "POST"]
    assert '[date:"2023-10-24T15:35:36Z"]' in aside.query
    assert "node(id:1);" in aside.query
    assert "way(id:2);" in aside.query


def unknown_before(_: Request) -> Reply:
    """What a server says whose history begins later: it left the objects out."""
    return Reply(body=overpass_json([]))


def same_before(request: Request) -> Reply:
    return known_before(request, version=3)


def later_before(request: Request) -> Reply:
    return known_before(request, version=2, at="2023-10-24T15:35:37Z")


@pytest.mark.parametrize("history", [unknown_before, same_before])
def test_without_a_version_from_before_nothing_proves_the_history(
    bench: Bench, history: Callable[[Request], Reply]
) -> None:
    bench.server.history = history
    message = bench.fails(OverpassNoAttic, whole(), day=YESTERDAY)
    assert "covers 2026-11-19T23:59:59Z" in message
    assert len(bench.server.requests) == 1


def test_a_version_that_is_newer_than_what_was_asked_for_proves_nothing(bench: Bench) -> None:
    bench.server.history = later_before
    bench.fails(OverpassOtherQuestion, whole(), day=YESTERDAY)


def test_objects_without_an_earlier_version_prove_nothing(bench: Bench) -> None:
    new = node(1) | {"version": 1}
    message = bench.fails(OverpassNoAttic, whole(new), day=YESTERDAY)
    assert "of the 0 objects" in message
    assert [request.method for request in bench.server.asides] == ["GET"]


def test_the_boundary_can_prove_the_history(bench: Bench) -> None:
    body = overpass_json([], boundary=[boundary()])
    evidence = bench.acquire(Reply(body=body), area=CITY, day=YESTERDAY).evidence
    assert (evidence.history or "").startswith("relation/7001 ")


def test_the_history_is_proven_once_for_all_parts(bench: Bench) -> None:
    bench.acquire(*SPLIT, *[whole(node(n)) for n in range(1, 5)], day=YESTERDAY)
    (aside,) = [request for request in bench.server.asides if request.method == "POST"]
    assert "node(id:4,3,2,1)" in aside.query


def test_a_history_that_is_proven_is_not_asked_for_again(bench: Bench) -> None:
    bench.server.enqueue(whole())
    acquisition = bench.client().acquire(
        BBOX,
        day=YESTERDAY,
        maximum_age=timedelta(hours=24),
        workdir=bench.workdir,
        histories={bench.server.url: "as before"},
    )
    assert acquisition.evidence.history == "as before"
    assert [request.method for request in bench.server.asides] == ["GET"]


def test_the_current_day_needs_no_history(bench: Bench) -> None:
    assert bench.acquire(whole()).evidence.history is None
    assert [request.method for request in bench.server.asides] == ["GET"]


# --- one snapshot --------------------------------------------------------------------------------

EARLY, LATE = "2026-11-20T12:00:00Z", "2026-11-20T12:01:00Z"
SPLIT = (remark(TIMED_OUT), remark(TIMED_OUT))


def test_a_snapshot_that_moved_is_pinned_to_the_first_part(bench: Bench) -> None:
    early, late = whole(base=EARLY), whole(base=LATE)
    acquisition = bench.acquire(*SPLIT, early, late, late, late, late)
    pins = [re.findall(r'\[date:"(.*?)"\]', query) for query in bench.server.queries[2:]]
    assert pins == [[], [], [EARLY], [EARLY], [EARLY]]
    assert len(acquisition.parts) == 4
    assert acquisition.evidence.as_of == datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert acquisition.evidence.as_of_source == "timestamp_osm_base"


def test_without_history_a_snapshot_that_moved_is_begun_again(bench: Bench) -> None:
    early, late = whole(node(1), base=EARLY), whole(node(2), base=LATE)
    acquisition = bench.acquire(*SPLIT, early, late, remark(MUSEUM), late, late, late, late)
    assert all(b'"id": 2' in part.path.read_bytes() for part in acquisition.parts)
    assert acquisition.evidence.as_of == datetime(2026, 11, 20, 12, 1, tzinfo=UTC)


def test_a_server_that_falls_back_in_time_is_begun_again(bench: Bench) -> None:
    early, late = whole(base=EARLY), whole(base=LATE)
    acquisition = bench.acquire(*SPLIT, late, early, early, early, early, early, early)
    assert len(acquisition.parts) == 4
    assert acquisition.evidence.as_of == datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_snapshot_that_never_stands_still_is_given_up(bench: Bench) -> None:
    seconds = count()
    split = iter(SPLIT)

    def moving(request: Request) -> Reply:
        if "[date:" in request.query:
            return remark(MUSEUM)
        return next(split, whole(base=f"2026-11-20T12:00:{next(seconds):02}Z"))

    bench.server.default = moving
    bench.fails(OverpassSnapshotMoved)
    assert len(bench.server.requests) == 2 + 3 + 2 + 2


def test_parts_of_a_past_day_may_come_from_a_server_that_moves(bench: Bench) -> None:
    early, late = whole(base=EARLY), whole(base=LATE)
    acquisition = bench.acquire(*SPLIT, early, late, early, late, day=YESTERDAY)
    assert len(acquisition.parts) == 4
    assert all('[date:"2026-11-19T23:59:59Z"]' in query for query in bench.server.queries)


# --- what upstream says, in messages -------------------------------------------------------------

LONG = "runtime error: something new " + "x" * 4_000_000


@pytest.mark.parametrize(
    "reply",
    [
        remark(LONG),
        page(LONG, LONG, status=400),
        page(*["line 1: parse error"] * 10_000, status=400),
        Reply(403, LONG, "text/plain"),
        Reply(200, LONG, "text/html"),
        Reply(302, headers={"Location": f"https://b.example/{'x' * 30_000}"}),
        Reply(200, "", "x" * 30_000),
        Reply(200, "", headers={"Content-Encoding": "x" * 30_000}),
        Reply(200, overpass_json().replace(b'"nodes": "0"', b'"nodes": "%b"' % (b"9" * 30_000))),
        answer_to(day="x" * 1_000_000),
    ],
    ids=str,
)
def test_a_message_quotes_no_more_than_it_can_hold(bench: Bench, reply: Reply) -> None:
    bench.server.default = reply
    with pytest.raises(OverpassError) as caught:
        bench.acquire(client=bench.client(attempts=1))
    assert len(str(caught.value)) < 1_200


# --- secrets -------------------------------------------------------------------------------------

SECRETS = ("s3cret!", "k3y/+", "alice")


def test_credentials_are_sent_and_never_shown(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = bench.server.url.replace("//", "//alice:s3cret%21@") + "?key=k3y%2F%2B"
    client = bench.client(url=url)
    acquisition = bench.acquire(NO_SLOT, status(""), whole(), client=client)
    assert {request.path.partition("?")[2] for request in bench.server.requests} == {
        "key=k3y%2F%2B"
    }
    assert all(request.headers["authorization"] for request in bench.server.requests)
    assert acquisition.evidence.location == bench.server.url
    for path in bench.workdir.iterdir():
        path.unlink()
    echo = Reply(403, "no, alice: /api/interpreter?key=k3y%2F%2B (k3y/+ s3cret!)", "text/plain")
    moved = Reply(302, headers={"Location": "https://alice:s3cret%21@b.example/?key=k3y%2F%2B"})
    messages = [bench.fails(OverpassForbidden, reply, client=client) for reply in (echo, moved)]
    bench.server.default = remark("runtime error: alice has no right to k3y/+")
    messages.append(bench.fails(OverpassTruncated, client=client))
    shown = "\n".join(
        [
            *(record.getMessage() for record in caplog.records if record.name != "httpcore.http11"),
            *messages,
            repr(acquisition),
            repr(vars(client)),
        ]
    )
    assert "POST http://127.0.0.1" in shown
    for secret in (*SECRETS, "s3cret%21", "k3y%2F%2B"):
        assert secret not in shown


# --- one request at a time -----------------------------------------------------------------------

ASK = """
import sys, pathlib, datetime, httpx
from ingestion_pipeline.core.clock import SystemClock
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.sources.gate import LocalGate
from ingestion_pipeline.sources.overpass.client import OverpassClient

url, lock_dir, workdir = sys.argv[1:]
clock = SystemClock()
with httpx.Client() as http:
    client = OverpassClient(
        url=url, http=http, clock=clock, gate=LocalGate(pathlib.Path(lock_dir)), user_agent="x"
    )
    for _ in range(3):
        client.acquire(
            Area(Bbox(7.40, 43.72, 7.44, 43.76), None), day=clock.now().date(),
            maximum_age=datetime.timedelta(hours=1), workdir=pathlib.Path(workdir),
        )
"""


def run_two_processes(url: str, *, lock_dirs: tuple[Path, Path], folder: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", ASK, url, str(lock_dir), str(folder / str(index))])
        for index, lock_dir in enumerate(lock_dirs)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]


def test_two_processes_never_ask_one_server_at_once(tmp_path: Path) -> None:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    with OverpassServer(default=replace(whole(base=now), delay_s=0.4, pause_s=0.2)) as server:
        locks = tmp_path / "locks"
        run_two_processes(server.url, lock_dirs=(locks, locks), folder=tmp_path)
        assert len(server.requests) == 6
        assert server.most_at_once == 1


def test_two_processes_without_a_common_lock_do_meet(tmp_path: Path) -> None:
    """The proof that the test above can fail: here each waits in the server for the other."""
    both = threading.Barrier(2, timeout=60)
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"

    def together(_: Request) -> Reply:
        both.wait()
        return whole(base=now)

    with OverpassServer(default=together) as server:
        run_two_processes(server.url, lock_dirs=(tmp_path / "a", tmp_path / "b"), folder=tmp_path)
        assert server.most_at_once == 2


def test_waiting_for_another_run_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    waiting = threading.Event()

    class Watcher(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("Waiting for the lock: another run has a request"):
                waiting.set()

    logger = logging.getLogger("ingestion_pipeline.core.file_lock")
    logger.addHandler(watcher := Watcher())
    bench.server.enqueue(whole())
    server = bench.server.url.split("/")[2]
    run = threading.Thread(target=bench.acquire)
    with one_at_a_time(f"request to {server}", lock_dir=bench.lock_dir):
        run.start()
        assert waiting.wait(timeout=30)
        assert bench.server.requests == []
    run.join(timeout=30)
    logger.removeHandler(watcher)
    assert len(bench.server.requests) == 1


# --- reading -------------------------------------------------------------------------------------


def test_parts_that_overlap_give_each_object_once(bench: Bench) -> None:
    reading = bench.reading(
        *SPLIT, whole(node(2), square(9)), whole(node(1), node(2)), whole(square(9)), whole(node(3))
    )
    found = list(zip(reading.features.osm_type, reading.features.osm_id, strict=True))
    assert found == [("node", 1), ("node", 2), ("node", 3), ("way", 9)]


def test_a_feature_keeps_tags_version_and_time_and_no_user(bench: Bench) -> None:
    features = bench.reading(whole(node(1, amenity="cafe", name="Кафе"))).features
    assert list(features.tags) == [{"amenity": "cafe", "name": "Кафе"}]
    assert features.version.tolist() == [3]
    assert features.timestamp.tolist() == [datetime(2023, 10, 24, 15, 35, 37)]  # noqa: DTZ001
    assert features.geometry[0] == shapely.Point(7.42, 43.74)
    assert "mapper" not in repr(features)


@pytest.mark.parametrize("layout", [{"indent": 2}, {"separators": (",", ":")}])
def test_users_are_taken_out_of_the_bytes_and_nothing_else_is(layout: dict[str, Any]) -> None:
    kept = {"type": "node", "id": 1, "version": 3}
    who = {"changeset": 5, "user": 'the "best" \\ mapper', "uid": 77}
    tags = {"tags": {"user": "mapper", "uid": "77", "changeset": "5"}}
    for rest in (tags, {}):
        raw = json.dumps([kept | who | rest] * 2, **layout).encode()
        assert json.loads(without_users(raw)) == [kept | rest] * 2


@pytest.mark.parametrize("who", [{"user": "mapper"}, {"uid": 7, "user": "mapper"}])
def test_an_answer_that_names_users_in_an_unknown_form_is_refused(
    bench: Bench, who: dict[str, Any]
) -> None:
    plain = {key: value for key, value in node(1).items() if key not in META}
    assert "cannot be removed" in bench.fails(OverpassForbidden, whole(plain | who))


@pytest.mark.parametrize(
    "who",
    [
        {"changeset": 5, "uid": 77},
        {"uid": 77},
        {"changeset": 5},
        {"changeset": 5, "user": "mapper"},
        {"user": "mapper", "uid": 77},
        {"changeset": 0, "user": "", "uid": 0},
    ],
)
def test_what_a_server_says_of_a_user_in_part_is_taken_out(
    bench: Bench, who: dict[str, Any]
) -> None:
    plain = {key: value for key, value in node(1, user="a tag").items() if key not in META}
    element = {"timestamp": META["timestamp"]} | who | plain
    (part,) = bench.acquire(whole(element, node(2))).parts
    kept = json.loads(part.path.read_text())["elements"][2]
    assert kept == {"timestamp": META["timestamp"]} | plain


def test_users_are_not_in_the_files_that_are_kept(bench: Bench) -> None:
    (part,) = bench.acquire(whole(node(1, amenity="cafe", user="a tag"))).parts
    assert "mapper" not in part.path.read_text()
    assert "a tag" in part.path.read_text()


def test_a_closed_way_is_an_area(bench: Bench) -> None:
    features = bench.reading(whole(square(9))).features
    assert features.geometry[0].equals(shapely.box(7.41, 43.73, 7.42, 43.74))


def test_a_way_whose_nodes_the_server_lacks_is_rejected(bench: Bench) -> None:
    reading = bench.reading(whole(node(1), way(9, [1, 2, 3], [], amenity="parking")))
    assert reading.features.osm_id.tolist() == [1]
    (rejection,) = reading.rejections
    assert (rejection.source_ref, rejection.reason) == ("way/9", "missing_nodes")
    assert "mapper" not in repr(rejection.raw)


def test_a_way_with_gaps_is_partial(bench: Bench) -> None:
    line = vertices((7.41, 43.73), (7.42, 43.73), (7.43, 43.73))
    reading = bench.reading(whole(way(9, [1, 2, 3, 4], [*line, None], historic="citywalls")))
    assert reading.features.geom_quality.tolist() == ["partial"]


def relation(osm_id: int, *members: dict[str, Any], **tags: str) -> dict[str, Any]:
    of = {"members": [{"role": "", **member} for member in members]}
    return {"type": "relation", "id": osm_id, "version": 2, **META, **of, "tags": tags}


def test_a_relation_has_the_members_of_the_relations_that_the_answer_holds(bench: Bench) -> None:
    site = {"type": "site", "tourism": "attraction"}
    stop = {"type": "node", "ref": 1, "lon": 7.41, "lat": 43.73}
    features = bench.reading(
        whole(
            relation(7, stop, type="public_transport", public_transport="stop_area"),
            relation(8, {"type": "relation", "ref": 7}, **site),
            relation(9, {"type": "relation", "ref": 7}, {"type": "relation", "ref": 99}, **site),
        )
    ).features
    assert [shape.wkt for shape in features.geometry] == ["POINT (7.41 43.73)"] * 3
    assert features.geom_quality.tolist() == ["exact", "exact", "partial"]


def test_a_relation_of_relations_that_the_answer_lacks_is_rejected(bench: Bench) -> None:
    member = {"type": "relation", "ref": 99}
    reading = bench.reading(whole(relation(8, member, type="site", tourism="attraction")))
    (rejection,) = reading.rejections
    assert (rejection.source_ref, rejection.reason) == ("relation/8", "no_geometry")


def test_a_closed_member_is_an_area_unless_its_tags_are_known_and_linear(bench: Bench) -> None:
    park, track = square(1), square(2) | {"tags": {"leisure": "track"}}
    features = bench.reading(
        whole(
            track,
            *(
                relation(
                    osm_id,
                    {"type": "way", "ref": osm_id, "geometry": park["geometry"]},
                    type="site",
                    tourism="attraction",
                )
                for osm_id in (2, 3)
            ),
        )
    ).features
    kinds = {
        ref: shape.geom_type
        for ref, shape in zip(features.source_refs(), features.geometry, strict=True)
    }
    assert kinds == {"way/2": "LineString", "relation/2": "LineString", "relation/3": "Polygon"}


def test_an_empty_area_is_an_honest_nothing(bench: Bench) -> None:
    reading = bench.reading(Reply(body=overpass_json([])))
    assert len(reading.features) == 0
    assert reading.boundary is None
    assert reading.boundary_names == frozenset()


def test_the_boundary_is_read_with_its_names(bench: Bench) -> None:
    relation = boundary(
        {
            "name:en": "City",
            "alt_name": "Town;Burg ",
            "official_name:de": "Stadt",
            "old_name": "Village",
            "name:etymology": "Somebody",
        }
    )
    reading = bench.reading(Reply(body=overpass_json([node(1)], boundary=[relation])), area=CITY)
    assert reading.boundary is not None
    assert reading.boundary.equals(shapely.box(7.40, 43.72, 7.44, 43.76))
    assert reading.boundary_names == {"Город", "City", "Town", "Burg", "Stadt"}
    assert reading.features.osm_id.tolist() == [1]


def test_a_boundary_that_is_a_poi_stays_a_poi(bench: Bench) -> None:
    relation = boundary({"tourism": "attraction"})
    body = overpass_json([node(1), relation], boundary=[relation])
    reading = bench.reading(Reply(body=body), area=CITY)
    assert reading.features.osm_type.tolist() == ["node", "relation"]
    assert reading.boundary is not None


def test_what_the_query_asks_for_too_much_is_left_out(bench: Bench) -> None:
    """Values are asked for as a part of a text, keys that may name a station with it alone."""
    found = {
        1: {"railway": "station; tram_stop"},
        2: {"railway": "substation"},
        3: {"railway": "construction", "construction": "station"},
        4: {"highway": "construction", "construction": "station"},
        5: {"amenity": " "},
        6: {"amenity": "Cafe"},
    }
    elements = [{**node(number), "tags": tags} for number, tags in found.items()]
    reading = bench.reading(Reply(body=overpass_json(elements)))
    assert reading.features.osm_id.tolist() == [1, 3, 6]
    assert list(reading.features.tags) == [found[1], found[3], found[6]]


def test_a_boundary_that_does_not_close_is_refused(bench: Bench) -> None:
    body = overpass_json([node(1)], boundary=[boundary(closed=False)])
    with pytest.raises(BoundaryBroken, match="relation/7001"):
        bench.reading(Reply(body=body), area=CITY)


def test_a_file_without_the_boundary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "part.json"
    path.write_bytes(overpass_json([node(1)]))
    with pytest.raises(BoundaryNotFound, match="relation/7001"):
        read([path], area=CITY)


def test_a_stored_file_that_was_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "part.json"
    for body in (
        overpass_json([node(1)])[:-9],
        overpass_json([node(1)], remark=TIMED_OUT),
        overpass_json([NUMBERED]),
    ):
        path.write_bytes(body)
        with pytest.raises(OverpassTruncated, match=r"part\.json"):
            read([path], area=BBOX)


# --- recorded exchanges with a real server -------------------------------------------------------

RECORDED_NOW = datetime(2025, 1, 18, 10, 0, tzinfo=UTC)
RECORDED_DAY = RECORDED_NOW.date()
RECORDED_FAILURES: dict[str, type[OverpassError]] = {
    "16-area-no-match": OverpassTruncated,
    "17-rel-area-not-generated-moscow": OverpassTruncated,
    "20-empty-json": OverpassTruncated,
    "22-bbox-wrapped-antimeridian": OverpassTruncated,
    "30-syntax-error": OverpassRejected,
    "31-unknown-setting": OverpassRejected,
    "32-bad-bbox": OverpassRejected,
    "33-bad-bbox-lat91": OverpassRejected,
    "34-bad-regex": OverpassRejected,
    "36-empty-data": OverpassRejected,
    "37-timeout-zero": OverpassRejected,
    "46-limit-truncates-silently": OverpassTruncated,
    "50-timeout-before-output": OverpassTooBig,
    "51-timeout-after-partial-output": OverpassTooBig,
    "53-timeout-partial-csv": OverpassTruncated,
    "54-maxsize-before-output": OverpassTooBig,
    "55-maxsize-partial": OverpassTooBig,
    "82-third-concurrent-429": OverpassBusy,
    "86-overload-504": OverpassBusy,
    "90-overload-no-ratelimit": OverpassBusy,
    "91-dup-4": OverpassDuplicateQuery,
    "94-interpreter-killed-mid-output": OverpassBusy,
    "95-interpreter-killed-mid-output-plain": OverpassTruncated,
    "96-interpreter-killed-before-output": OverpassBusy,
    "97-dispatcher-down": OverpassBusy,
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", RECORDED_FAILURES)
def test_a_recorded_failure_is_recognized(bench: Bench, osm_test_data: Path, name: str) -> None:
    bench.clock.moment = RECORDED_NOW
    bench.server.default = Reply.recorded(osm_test_data / "overpass", name)
    kind = RECORDED_FAILURES[name]
    bench.fails(kind, day=RECORDED_DAY, client=bench.client(attempts=1))
    assert len(bench.server.requests) == (6 if kind is OverpassTooBig else 1)


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name",
    [
        "60-date-on-db-without-attic",
        "61-date-future-without-attic",
    ],
)
def test_a_recorded_lack_of_history_is_recognized(
    bench: Bench, osm_test_data: Path, name: str
) -> None:
    bench.clock.moment = RECORDED_NOW
    bench.server.default = Reply.recorded(osm_test_data / "overpass", name)
    bench.fails(OverpassNoAttic, day=date(2015, 1, 1))
    assert len(bench.server.requests) == 1


@pytest.mark.real_data
def test_a_recorded_impossible_time_out_is_split(bench: Bench, osm_test_data: Path) -> None:
    bench.clock.moment = RECORDED_NOW
    recorded = Reply.recorded(osm_test_data / "overpass", "68-hist-date-before-db-start")
    quarters = [whole(node(n) | {"timestamp": "2014-01-01T00:00:00Z"}) for n in range(4)]
    acquisition = bench.acquire(recorded, *quarters, day=date(2015, 1, 1))
    assert len(acquisition.parts) == 4


@pytest.mark.real_data
def test_a_recorded_state_of_the_past_needs_proof(bench: Bench, osm_test_data: Path) -> None:
    bench.clock.moment = RECORDED_NOW
    recorded = Reply.recorded(osm_test_data / "overpass", "69-hist-date-2016-06-02")
    elements = json.loads(recorded.body)["elements"]
    reply = replace(recorded, body=overpass_json(elements, base="2016-06-04T00:00:00Z"))
    evidence = bench.acquire(reply, day=date(2016, 6, 2)).evidence
    assert (evidence.history or "").startswith("node/")
    bench.server.history = unknown_before
    bench.workdir.joinpath("overpass-000.json").unlink()
    bench.fails(OverpassNoAttic, reply, day=date(2016, 6, 2))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "seconds"),
    [("43-status", 0), ("81-status-two-running", 31), ("84-status-after-slots-cooling", 4)],
)
def test_a_recorded_status_is_understood(
    bench: Bench, osm_test_data: Path, name: str, seconds: int
) -> None:
    folder = osm_test_data / "overpass"
    recorded = Reply.recorded(folder, name)
    assert isinstance(recorded.body, bytes)
    assert seconds_to_slot(recorded.body.decode()) == seconds
    no_slot = Reply.recorded(folder, "82-third-concurrent-429")
    bench.acquire(no_slot, recorded, whole())
    assert 30 <= bench.clock.sleeps[0] < 32


@pytest.mark.real_data
def test_a_recorded_city_is_read_whole(bench: Bench, osm_test_data: Path) -> None:
    bench.clock.moment = RECORDED_NOW
    reply = Reply.recorded(osm_test_data / "overpass", "05-monaco-count-then-geom")
    assert reply.compressed
    acquisition = bench.acquire(reply, day=RECORDED_DAY)
    assert acquisition.evidence.as_of == datetime(2025, 1, 18, 9, 42, 10, tzinfo=UTC)
    reading = read([part.path for part in acquisition.parts], area=BBOX)
    assert len(reading.features) + len(reading.rejections) == 1190 + 262 + 9
    assert reading.rejections == []
    assert shapely.is_valid(reading.features.geometry).all()


@pytest.mark.real_data
def test_a_recorded_country_is_read_with_its_boundary(bench: Bench, osm_test_data: Path) -> None:
    """The recorded query had no counts, and no boundary: both are added as a server would."""
    bench.clock.moment = RECORDED_NOW
    recorded = Reply.recorded(osm_test_data / "overpass", "10-li-bbox-each")
    elements = json.loads(recorded.body)["elements"]
    body = overpass_json(elements, boundary=[boundary()], base="2025-01-18T09:42:10Z")
    acquisition = bench.acquire(replace(recorded, body=body), area=CITY, day=RECORDED_DAY)
    reading = read([part.path for part in acquisition.parts], area=CITY)
    assert len(reading.features) + len(reading.rejections) == 2392
    assert reading.boundary_names == {"Город"}
