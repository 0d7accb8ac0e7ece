"""Client of an Overpass server: fetches a city-day and reads the stored responses.

A response is data only if its status is 200, its type is JSON, it decodes to its end, it has no
`remark`, it repeats the query's parameters, every section has as many elements as the server
counted, no object is newer than the requested time, and it gives the time of the server's data.
Otherwise it becomes one of the errors in `osm/errors.py`.

The client handles these by itself, in up to `attempts` attempts for each part:

- No free slot (429): it reads `/api/status` and waits for the slot, at least 30 s. If all slots
  work on queries, it waits until the first of these reaches its time limit, at most 90 s.
- Overload (504, 5xx, `protocol_error`), dispatcher down, server unreachable: it waits with
  exponential back-off and jitter. After a 504 it also reads `/api/status`, and declares half the
  time and memory, because a server refuses what it cannot reserve; not if its dispatcher is turned
  off.
- A header `Retry-After`: it waits at least that long.
- A lease on the server that could not be renewed (`sources/gate.py`): it asks for another one.
- The same text again (`duplicate_query`): every attempt declares one second more, which makes
  another text; comments and spaces do not.
- An incomplete body: it sends the query again.

A caller that retries (`caller_retries`) gets the error at once, with `retry_after_s`, instead of a
wait longer than `SHORT_WAIT_S`: a Dagster step holds a slot of the pool of all runs that query
upstream, and releases it between its retries. After the first accepted response of the city the
client waits itself, because a retry starts with the first part, so a city of many parts would never
be complete on a server that has a slot for one part at a time.

If a query is too big (timed out, out of memory, a body larger than the declared memory), it doubles
the declared time and memory once for the city, then splits the bbox in four, and each quarter again
if needed, down to `MAXIMUM_DEPTH`. Overpass 0.7.62 reports for some dated queries that they timed
out after a time longer than any query has run (https://github.com/drolbr/Overpass-API/issues/718);
these are split at once.

Before the first query the client reads `/api/timestamp`, which needs no slot, so it sends no query
to a server whose data is not of the day. A server without that resource is queried all the same.

All parts of a city are of one snapshot. For a past day each part queries the state of the same
time, and one more query proves that the server's history covers it (`history.py`). A day that ends
in the meantime becomes a past day. For the current day the parts must have the same
`timestamp_osm_base`. If the server's data changes in between, the client queries the remaining
parts as of the first one's time; a server without history cannot answer, so the client then starts
again from the first part, up to `MAXIMUM_ROUNDS` rounds.

Sources: recorded exchanges with Overpass 0.7.62, and "Overpass API" of the OSM wiki.
"""

from __future__ import annotations

import html
import logging
import random
import re
import tempfile
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ingestion_pipeline.core.errors import quoted
from ingestion_pipeline.core.evidence import SnapshotEvidence
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.core.locations import Endpoint, keep_secrets_out_of_httpx_log
from ingestion_pipeline.osm.boundary import boundary_names
from ingestion_pipeline.osm.errors import (
    BoundaryBroken,
    BoundaryNotFound,
    NoEvidenceForDay,
    OverpassBusy,
    OverpassDuplicateQuery,
    OverpassError,
    OverpassForbidden,
    OverpassLeaseLost,
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
from ingestion_pipeline.osm.features import Reading
from ingestion_pipeline.osm.selection import (
    POIS,
    AnyOf,
    Selection,
    overpass_box,
    overpass_query,
)
from ingestion_pipeline.sources.as_of import CLOCK_TOLERANCE, is_current, require_true_on
from ingestion_pipeline.sources.base import Acquisition, RawPart
from ingestion_pipeline.sources.overpass.wire import Patience, Refusal, Reply, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date

    import httpx
    from shapely import MultiPolygon, Polygon

    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.assemble import Elements
    from ingestion_pipeline.sources.gate import Gate
    from ingestion_pipeline.sources.overpass.answer import Body, Section
    from ingestion_pipeline.sources.overpass.history import Edit

log = logging.getLogger(__name__)

MAXIMUM_DEPTH = 4
"""How often a bbox is split in four: at most 4^4 = 256 parts."""

MAXIMUM_ROUNDS = 3
"""How often the parts of a city are fetched until they are of one snapshot."""

NO_SLOT_WAIT_S = 30.0
"""The shortest wait after a 429 (usage policy of the public servers)."""

LONGEST_WAIT_S = 90.0
"""The longest wait between two attempts. If a slot is further away, the error is raised."""

SHORT_WAIT_S = 15.0
"""The same for a caller that retries, until a response of the city was accepted."""

FIRST_WAIT_S = 10.0
"""The first wait of a back-off; each next one doubles, and jitter adds up to as much again."""

ADVICE: dict[type[OverpassError], str] = {
    OverpassBusy: "Run the partition again later, or set OVERPASS_URL to another server.",
    OverpassDuplicateQuery: "Run the partition again in a few minutes.",
    OverpassForbidden: "Check OVERPASS_URL, and set OVERPASS_CONTACT.",
    OverpassLeaseLost: "Check the network between this worker and the database, then run the "
    "partition again.",
    OverpassNoMetadata: "Use a server whose database has metadata (--meta).",
    OverpassNoAttic: "Use a server whose history covers that day, a dated extract, or the snapshot "
    "stored on that day.",
    OverpassOtherQuestion: "Bypass the cache or proxy before the server, or use another server.",
    OverpassRejected: "Correct the query; a retry cannot succeed.",
    OverpassTooBig: "Narrow the city's bbox, or use an extract for the city.",
    OverpassTruncated: "Run the partition again. If the error persists, use another server.",
    OverpassUnreachable: "Check OVERPASS_URL and the network, then run the partition again.",
}
"""What the reader of an error can do."""


class Limits(NamedTuple):
    """The resources that a query declares; the server ends a query that exceeds them.

    A body may have as many bytes as the declared memory: the server holds less of an element than
    it writes.
    """

    timeout_s: int
    maxsize_bytes: int

    def doubled(self) -> Limits:
        """Return twice the resources."""
        return Limits(self.timeout_s * 2, self.maxsize_bytes * 2)

    def halved(self) -> Limits:
        """Return half the resources."""
        return Limits(max(1, self.timeout_s // 2), self.maxsize_bytes // 2)


DEFAULT_LIMITS = Limits(timeout_s=180, maxsize_bytes=268_435_456)
HISTORY_LIMITS = Limits(timeout_s=60, maxsize_bytes=67_108_864)
"""The limits of a query for a few objects."""

DEFAULT_PATIENCE = Patience()


@dataclass(frozen=True)
class _Box:
    """A part of the city's bbox, and how many times it was split."""

    bbox: Bbox
    depth: int = 0

    def quarters(self) -> list[_Box]:
        west, south, east, north = self.bbox
        lon, lat = (west + east) / 2, (south + north) / 2
        quarters = (
            Bbox(west, south, lon, lat),
            Bbox(lon, south, east, lat),
            Bbox(west, lat, lon, north),
            Bbox(lon, lat, east, north),
        )
        return [_Box(quarter, self.depth + 1) for quarter in quarters]


@dataclass(frozen=True)
class _Answer:
    """The content of an accepted response: the time (UTC) of the data, and the elements."""

    base: datetime
    sections: list[Section]


@dataclass(frozen=True)
class _Part:
    """An accepted response."""

    box: _Box
    raw: RawPart
    base: datetime


def endpoint_of(url: str) -> Endpoint:
    """Parse the URL of the interpreter.

    Raises:
        OverpassNotConfigured: It is not an http(s) URL.
    """
    try:
        return Endpoint.parse(url)
    except ValueError as error:
        raise OverpassNotConfigured(
            f"OVERPASS_URL cannot be used: {error}. Set it to the interpreter of a server, "
            "such as https://overpass.example/api/interpreter."
        ) from None


class OverpassClient:
    """A client of one Overpass server."""

    def __init__(
        self,
        *,
        url: str,
        http: httpx.Client,
        clock: Clock,
        gate: Gate,
        user_agent: str,
        attempts: int = 4,
        limits: Limits = DEFAULT_LIMITS,
        patience: Patience = DEFAULT_PATIENCE,
        jitter: Callable[[], float] = random.random,
        caller_retries: bool = False,
    ) -> None:
        """Store the configuration; nothing is sent yet.

        Args:
            url: URL of the interpreter (`https://host/api/interpreter`); may contain a user and
                password or a key, which are never shown.
            http: The client for requests; its own timeouts and redirects are not used.
            clock: The time, and waiting.
            gate: Admits each request.
            user_agent: Product and contact. Public servers answer a default one with 406.
            attempts: How many times a part is queried.
            limits: The limits that a query declares at first.
            patience: Timeouts.
            jitter: Returns numbers in [0, 1).
            caller_retries: Whether the caller waits for an error's `retry_after_s` and retries.

        Raises:
            OverpassNotConfigured: `url` is not an http(s) URL.
        """
        self._endpoint = endpoint_of(url)
        keep_secrets_out_of_httpx_log()
        self._wire = Wire(
            endpoint=self._endpoint,
            http=http,
            clock=clock,
            gate=gate,
            user_agent=user_agent,
            patience=patience,
        )
        self._clock = clock
        self._attempts = attempts
        self._limits = limits
        self._jitter = jitter
        self._longest_wait_s = SHORT_WAIT_S if caller_retries else LONGEST_WAIT_S

    def acquire(
        self,
        area: Area,
        *,
        day: date,
        maximum_age: timedelta,
        workdir: Path,
        selection: Selection | AnyOf = POIS,
        histories: Mapping[str, str] | None = None,
    ) -> Acquisition:
        """Acquire the raw bytes of a city-day.

        Args:
            area: What to fetch.
            day: The UTC day. For the current day the server's newest state is fetched; for a past
                day the state of its last second, from a server with history.
            maximum_age: The maximum age of the newest state.
            workdir: The folder for `overpass-000.json` and so on; empty again on failure.
            selection: The objects to query.
            histories: By the location of a server, an earlier proof (`history` of its evidence)
                that its history covers the end of this day.

        Raises:
            FutureDay: The day has not begun; nothing was sent.
            StaleUpstream: The server's data is older than `maximum_age`, or does not reach the end
                of the past day yet.
            NoEvidenceForDay: The server does not give the time of its data.
            BoundaryNotFound: The boundary relation is not in the server's data.
            OverpassError: The server returned no data; see the subclasses.
        """
        moment = None if is_current(day, self._clock.now()) else _last_second(day)
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="incoming-", dir=workdir) as folder:
            fetch = _CityFetch(
                area=area,
                selection=selection,
                day=day,
                maximum_age=maximum_age,
                folder=Path(folder),
                wire=self._wire,
                clock=self._clock,
                attempts=self._attempts,
                limits=self._limits,
                jitter=self._jitter,
                longest_wait_s=self._longest_wait_s,
                boxes=[_Box(area.bbox)],
                moment=moment,
                history=(histories or {}).get(self._endpoint.public),
            )
            parts = fetch.run()
            raw = tuple(
                replace(part.raw, path=part.raw.path.rename(workdir / f"overpass-{index:03d}.json"))
                for index, part in enumerate(parts)
            )
        return Acquisition(
            parts=raw,
            evidence=SnapshotEvidence(
                as_of=fetch.moment or parts[0].base,
                as_of_source="timestamp_osm_base" if fetch.moment is None else "attic_date",
                obtained="overpass",
                location=self._endpoint.public,
                history=None if fetch.moment is None else fetch.history,
            ),
        )


@dataclass(kw_only=True)
class _CityFetch:
    """One acquisition: its queries, and what is known about the server.

    Attributes: those of `OverpassClient` and its `acquire`, and

        moment: The time whose state is queried; None for the newest state.
        history: The proof that the server's history covers that time.
        longest_wait_s: The longest wait between two attempts.
        boxes: The parts of the city that are queried.
        pin: The time whose state further parts are queried of.
        edits: The last edits up to `moment`.
        files: Numbers for the names of files.
    """

    area: Area
    selection: Selection | AnyOf
    day: date
    maximum_age: timedelta
    folder: Path
    wire: Wire
    clock: Clock
    attempts: int
    limits: Limits
    jitter: Callable[[], float]
    longest_wait_s: float
    moment: datetime | None
    history: str | None
    boxes: list[_Box]
    limits_raised: bool = False
    pin: datetime | None = None
    server_has_history: bool = True
    edits: list[Edit] = field(default_factory=list)
    files: Iterator[int] = field(default_factory=count)

    def run(self) -> list[_Part]:
        """Return the parts of one snapshot, in order; the first one contains the boundary."""
        self._look_at_the_time()
        parts = self._parts()
        if self.moment is not None and self.history is None:
            self.history = self._proof_of_history(self.moment)
        return parts

    def _look_at_the_time(self) -> None:
        """Check the time of the server's data, if it gives one without a query.

        Raises:
            OsmError: See `_require_true`.
        """
        from ingestion_pipeline.sources.overpass.answer import moment_in

        try:
            reply = self.wire.resource("timestamp", to=self.folder / "timestamp.txt")
        except Refusal as refusal:
            log.info(
                "%s gives no time of its data: %s",
                self.wire.endpoint.server,
                refusal.what,
            )
            return
        base = moment_in(reply.text().strip()) if reply.status == HTTPStatus.OK else None
        if base is not None:
            self._require_true(base)

    def _require_true(self, base: datetime) -> None:
        """Check that the data is of the day; if the day has ended, query its end.

        Args:
            base: The time (UTC) of the server's newest data.

        Raises:
            WrongSnapshotDate: See `as_of.require_true_on`; or the server has not reached the end of
                the past day.
        """
        now = self.clock.now()
        over = _last_second(self.day) + timedelta(seconds=1)
        if self.moment is None and over < base <= now + CLOCK_TOLERANCE:
            log.info("%s ended during the acquisition; querying its last second", self.day)
            self.moment = _last_second(self.day)
        if self.moment is None:
            require_true_on(
                self.day,
                as_of=base,
                now=now,
                maximum_age=self.maximum_age,
                origin=f"the Overpass server {self.wire.endpoint.server}",
            )
        else:
            self._require_reached(base, self.moment)

    def _parts(self) -> list[_Part]:
        """Fetch all parts until they are of one snapshot."""
        for rounds_left in reversed(range(MAXIMUM_ROUNDS)):
            try:
                return self._round()
            except OverpassSnapshotMoved as error:
                if not rounds_left:
                    raise
                log.warning("%s Fetching all parts again.", error)
        raise AssertionError  # pragma: no cover (the last round returns or raises)

    def _round(self) -> list[_Part]:
        """Fetch all parts.

        Raises:
            OverpassSnapshotMoved: They would be of several snapshots. The next round starts with
                the boxes that were small enough.
        """
        parts: list[_Part] = []
        boxes = deque(self.boxes)
        self.pin = None
        while boxes:
            box = boxes.popleft()
            try:
                part = self._another(box, parts[0].base) if parts else self._first(box)
            except OverpassTooBig as error:
                boxes.extendleft(reversed(self._with_more_room(box, error)))
            except OverpassSnapshotMoved:
                self.boxes = [*(part.box for part in parts), box, *boxes]
                raise
            else:
                parts.append(part)
        return parts

    def _first(self, box: _Box) -> _Part:
        """Fetch the part that determines the snapshot."""
        moment = self.moment
        part = self._ask(box, with_boundary=True, moment=moment)
        if moment is None:
            self._require_true(part.base)
        return part if moment == self.moment else self._first(box)  # the day ended meanwhile

    def _another(self, box: _Box, snapshot: datetime) -> _Part:
        """Fetch a further part of the same snapshot.

        Raises:
            OverpassSnapshotMoved: The server no longer has it.
        """
        if self.moment is not None:
            return self._ask(box, with_boundary=False, moment=self.moment)
        if self.pin is None:
            part = self._ask(box, with_boundary=False, moment=None)
            if part.base == snapshot:
                return part
            self.pin = snapshot
        if self.server_has_history:
            try:
                return self._ask(box, with_boundary=False, moment=self.pin)
            except OverpassNoAttic:
                self.server_has_history = False
            except StaleUpstream as error:
                # Several machines share this name, and this one has older data.
                log.info("%s", error)
        raise OverpassSnapshotMoved(
            f"The data of Overpass server {self.wire.endpoint.server} changed between the parts "
            f"of {_name(self.area)}, and the server no longer has its state of {_text(snapshot)}. "
            "Run the partition again, narrow the city's bbox, or use a server with history, or an "
            "extract."
        )

    def _with_more_room(self, box: _Box, error: OverpassTooBig) -> list[_Box]:
        """Return the boxes that replace one that was too big.

        Raises:
            OverpassTooBig: It cannot be split any further.
            OverpassNoAttic: The same, and its size cannot be the reason.
        """
        refusal = error.__cause__
        assert isinstance(refusal, Refusal)
        if refusal.more_helps and not self.limits_raised:
            self.limits_raised = True
            self.limits = self.limits.doubled()
            return [box]
        if box.depth == MAXIMUM_DEPTH:
            if self.moment is not None and not refusal.more_helps:
                refusal.kind = OverpassNoAttic
                raise self._error(refusal, box=box, attempt=self.attempts) from refusal
            raise error
        return box.quarters()

    def _ask(self, box: _Box, *, with_boundary: bool, moment: datetime | None) -> _Part:
        """Fetch one part, with retries.

        Raises:
            OverpassError: All attempts failed, or a retry cannot succeed.
        """
        asked = self._question(moment, box.bbox, tags=self.selection.digest)

        def query(limits: Limits) -> str:
            return overpass_query(
                self.area,
                bbox=box.bbox,
                with_boundary=with_boundary,
                timeout_s=limits.timeout_s,
                maxsize_bytes=limits.maxsize_bytes,
                date=None if moment is None else _text(moment),
                selection=self.selection,
                asked=asked,
            )

        boundary_asked = with_boundary and self.area.boundary_relation is not None
        text, reply, answer = self._until_it_comes(
            query, asked=asked, sections=1 + boundary_asked, moment=moment, box=box
        )
        if boundary_asked and not answer.sections[1].relations:
            reply.path.unlink()
            raise BoundaryNotFound(
                f"Overpass server {self.wire.endpoint.server} has no "
                f"relation/{self.area.boundary_relation}. Correct the city's boundary_ref."
            )
        if moment is not None:
            from ingestion_pipeline.sources.overpass.history import last_edits

            self.edits = last_edits(self.edits, answer.sections)
        raw = RawPart(reply.path, text, reply.requested_at, reply.received_at)
        return _Part(box=box, raw=raw, base=answer.base)

    def _question(self, moment: datetime | None, bbox: Bbox, **more: str) -> dict[str, str]:
        """Return the parameters that a response repeats, so that it is matched with this query."""
        at = "now" if moment is None else _text(moment)
        return {"day": str(self.day), "at": at, "box": overpass_box(bbox), **more}

    def _proof_of_history(self, moment: datetime) -> str:
        """Return the proof that the server's history covers a time.

        Raises:
            OverpassNoAttic: There is none.
            OverpassError: The server does not respond.
        """
        from ingestion_pipeline.sources.overpass import history as overpass_history

        edits = self.edits
        proof = None
        if edits:
            before = overpass_history.moment_before(edits)
            objects = " ".join(f"{edit.kind}/{edit.id}" for edit in edits)
            asked = self._question(before, self.area.bbox, objects=objects)
            _, reply, answer = self._until_it_comes(
                lambda limits: overpass_history.history_query(edits, asked=asked, limits=limits),
                asked=asked,
                sections=1,
                moment=before,
                box=_Box(self.area.bbox),
                limits=HISTORY_LIMITS,
            )
            reply.path.unlink()
            proof = overpass_history.proof_of_history(edits, answer.sections[0])
        if proof is None:
            raise OverpassNoAttic(
                f"Overpass server {self.wire.endpoint.server} returned a state of "
                f"{_name(self.area)} for {self.day}, but nothing proves that its history "
                f"covers {_text(moment)}: it has no earlier version of any of the {len(edits)} "
                "objects that were last edited before then. Without that history, all objects "
                f"changed since then would be missing. {ADVICE[OverpassNoAttic]}"
            )
        log.info("The server's history covers %s: %s", _text(moment), proof)
        return proof

    def _until_it_comes(
        self,
        query: Callable[[Limits], str],
        *,
        asked: Mapping[str, str],
        sections: int,
        moment: datetime | None,
        box: _Box,
        limits: Limits | None = None,
    ) -> tuple[str, Reply, _Answer]:
        """Send a query until it is answered.

        Args:
            query: Returns the query for given limits.
            asked: The parameters that the response must repeat.
            sections: The number of counts that it must have.
            moment: The time whose state is queried, or None for the newest.
            box: The part, for messages.
            limits: The limits to declare at first, if not those of a city's query.

        Returns:
            The query that was answered, the response, and its content.

        Raises:
            OverpassError: All attempts failed, or a retry cannot succeed.
            OsmError: The response is not of this city-day.
        """
        limits = limits or self.limits
        most_bytes = limits.maxsize_bytes
        for attempt in count(1):
            path = self.folder / f"{next(self.files):04d}.json"
            declared = limits._replace(timeout_s=limits.timeout_s + attempt - 1)
            text = query(declared)
            try:
                reply = self.wire.query(
                    text, timeout_s=declared.timeout_s, most_bytes=most_bytes, to=path
                )
                answer = self._accept(reply, asked=asked, sections=sections, moment=moment)
            except Refusal as refusal:
                path.unlink(missing_ok=True)
                error = self._error(refusal, box=box, attempt=attempt)
                if attempt == self.attempts or not error.should_retry:
                    raise error from refusal
                self._wait(refusal, error, attempt=attempt)
                if refusal.less_helps:
                    limits = limits.halved()
            else:
                self.longest_wait_s = LONGEST_WAIT_S  # another try would ask for this again
                return text, reply, answer
        raise AssertionError  # pragma: no cover (the last attempt returns or raises)

    def _accept(
        self, reply: Reply, *, asked: Mapping[str, str], sections: int, moment: datetime | None
    ) -> _Answer:
        """Check that a response is data, and the response to this query.

        Users are removed from the file.

        Raises:
            Refusal: It is not.
            OsmError: It is, but not of this city-day.
        """
        from ingestion_pipeline.sources.overpass import answer as overpass_json

        refuse_other_than_json(reply, redact=self.wire.endpoint.redact)
        raw = overpass_json.without_users(reply.path.read_bytes())
        try:
            body = overpass_json.decode(raw)
            self._refuse_remark(body.remark)
            refuse_other_question(body, asked)
            found = overpass_json.sections(body)
        except overpass_json.NotWholeError as error:
            raise Refusal(OverpassTruncated, str(error), reply.status) from error
        if len(found) != sections:
            raise Refusal(
                OverpassTruncated,
                f"the response has {len(found)} counts instead of {sections}",
                reply.status,
            )
        if overpass_json.names_users(body):
            raise Refusal(
                OverpassForbidden,
                "the response names users in an unknown form, so they cannot be removed",
                reply.status,
            )
        refuse_wrong_times(found, moment=moment)
        base = self._base(overpass_json.timestamp_osm_base(body), moment=moment)
        reply.path.write_bytes(raw)
        return _Answer(base, found)

    def _refuse_remark(self, remark: str | None) -> None:
        """Reject a body with a remark, which always reports a problem.

        Raises:
            Refusal: There is one.
        """
        if remark is None:
            return
        text = quoted(self.wire.endpoint.redact(remark))
        what = f"the response ends with the remark {text!r}"
        claimed = re.search(r"timed out .{,200} after (\d{1,18}) seconds", remark)
        impossible = claimed is not None and int(claimed[1]) > self._longest_s()
        if impossible:
            what += (
                ", longer than any query has run; Overpass 0.7.62 reports this for a dated query "
                "that is too big, or of a time before its history"
            )
        raise Refusal(kind_by_words(remark), what, HTTPStatus.OK, more_helps=not impossible)

    def _longest_s(self) -> float:
        """Return the longest time that a query of this acquisition can have run."""
        return self.wire.longest_s(self.limits.timeout_s + self.attempts)

    def _base(self, base: datetime | None, *, moment: datetime | None) -> datetime:
        """Return the time of the server's data, after checking it."""
        if base is None:
            raise NoEvidenceForDay(
                f"Overpass server {self.wire.endpoint.server} does not give the time of its data "
                f"(timestamp_osm_base), so the data cannot be staged for {self.day}. Use another "
                "server."
            )
        if moment is not None:
            self._require_reached(base, moment)
        return base

    def _require_reached(self, base: datetime, moment: datetime) -> None:
        """Check that a server's newest state is not older than the requested time."""
        if base < moment:
            # A server returns its newest state for a later time.
            raise StaleUpstream(
                f"The data of Overpass server {self.wire.endpoint.server} is of {_text(base)}, "
                f"before {_text(moment)}. Run the partition of {self.day} again when the server "
                "has caught up."
            )

    def _error(self, refusal: Refusal, *, box: _Box, attempt: int) -> OverpassError:
        """Return the public error of a refusal."""
        part = f", part {_numbers(box.bbox)} (split {box.depth} times)" if box.depth else ""
        return refusal.kind(
            f"Overpass server {self.wire.endpoint.server} returned no data of {_name(self.area)}"
            f"{part} for {self.day}: {refusal.what} (attempt {attempt} of {self.attempts}). "
            f"{ADVICE[refusal.kind]}"
        )

    def _wait(self, refusal: Refusal, error: OverpassError, *, attempt: int) -> None:
        """Wait before the next attempt.

        Raises:
            OverpassError: The wait is longer than the client waits; has `retry_after_s`.
        """
        least = FIRST_WAIT_S * 2 ** (attempt - 1)
        seconds = least * (1 + self.jitter())
        if refusal.status == HTTPStatus.TOO_MANY_REQUESTS:
            least = max(NO_SLOT_WAIT_S, self._seconds_to_slot())
            seconds = least + self.jitter()
            self.wire.gate.pause(self.wire.server, seconds)
        elif refusal.less_helps:
            least = max(least, self._seconds_to_slot())
        least = max(least, refusal.retry_after_s or 0)
        seconds = max(seconds, least)
        if least > self.longest_wait_s:
            error.retry_after_s = seconds
            raise error from refusal
        seconds = min(seconds, self.longest_wait_s)
        log.warning("%s. Waiting %.0f s before the next attempt", error, seconds)
        self.clock.sleep(seconds)

    def _seconds_to_slot(self) -> float:
        """Return the seconds until the server has a slot; 0 if unknown."""
        path = self.folder / "status.txt"
        try:
            reply = self.wire.resource("status", to=path)
        except Refusal:
            return 0
        return seconds_to_slot(reply.text())


def seconds_to_slot(status: str) -> float:
    """Return the seconds until there is a slot, from the text of `/api/status`.

    A slot becomes free when its cooling ends, or when the query in it does, at the latest at its
    time limit. Most queries end long before that, so no more than `LONGEST_WAIT_S` is waited for
    one. The lines about slots may be missing, and a number may be negative.
    """
    if re.search(r"^[1-9]\d* slots? available now", status, re.MULTILINE):
        return 0
    cooling = re.findall(r"^Slot available after: .*, in (-?\d{1,9}) seconds", status, re.MULTILINE)
    ends = [float(seconds) for seconds in cooling]
    ends += [min(seconds, LONGEST_WAIT_S) for seconds in _seconds_to_ends(status)]
    return max(0.0, min(ends, default=0.0))


_NOW = re.compile(r"^Current time: (\S{20})$", re.MULTILINE)
_RUNNING = re.compile(r"^\d+\t\d+\t(\d{1,9})\t(\S{20})$", re.MULTILINE)
"""A running query in `/api/status`: process, memory, time limit in seconds, and start."""


def _seconds_to_ends(status: str) -> Iterator[float]:
    """Yield the seconds until each running query reaches its time limit."""
    from ingestion_pipeline.sources.overpass.answer import moment_in

    found = _NOW.search(status)
    now = moment_in(found[1]) if found else None
    for limit, start in _RUNNING.findall(status):
        begun = moment_in(start)
        if now is not None and begun is not None:
            yield int(limit) - (now - begun).total_seconds()


def refuse_other_than_json(reply: Reply, *, redact: Callable[[str], str]) -> None:
    """Check that a response has status 200 and is JSON.

    Args:
        reply: The response.
        redact: Hides secrets in the server's text.

    Raises:
        Refusal: It is something else.
    """
    if (reply.status, reply.content_type) == (HTTPStatus.OK, "application/json"):
        return
    page = reply.text()
    lines = [html.unescape(line).strip() for line in ERROR_LINE.findall(page)]
    text = "; ".join(lines) or re.sub(r"<[^>]*>", " ", page)
    content_type = quoted(reply.content_type, most=100) or "no type"
    what = f"it responded with status {reply.status} and {content_type}"
    if reply.redirect:
        what += f", a redirect to {quoted(redact(reply.redirect))}"
    if text.strip():
        what += f": {quoted(redact(text))}"
    stopped = any(words in page for words in STOPPED)
    raise Refusal(
        kind_by_status(reply.status, "; ".join(lines)),
        what,
        reply.status,
        retry_after_s=reply.retry_after_s,
        less_helps=reply.status == HTTPStatus.GATEWAY_TIMEOUT and not stopped,
    )


STOPPED = ("turned off", "server is down")
"""Overpass's text with status 504 if its dispatcher does not run."""


def refuse_other_question(body: Body, asked: Mapping[str, str]) -> None:
    """Check that a response repeats the parameters of the query.

    Raises:
        Refusal: It repeats others, or none.
    """
    from ingestion_pipeline.sources.overpass import answer as overpass_json

    repeated = overpass_json.asked(body)
    if repeated == asked:
        return
    if repeated is None:
        what = "the response does not repeat the query, so it may belong to another one"
    else:
        differing = [key for key in {**asked, **repeated} if asked.get(key) != repeated.get(key)]
        what = "the response belongs to another query: " + ", ".join(
            f"{quoted(key, most=20)} is {quoted(repeated.get(key), most=100)!r} instead of "
            f"{quoted(asked.get(key), most=100)!r}"
            for key in differing[:4]
        )
    raise Refusal(OverpassOtherQuestion, what, HTTPStatus.OK)


def refuse_wrong_times(sections: Sequence[Section], *, moment: datetime | None) -> None:
    """Check that objects have metadata and are not newer than the requested time.

    Raises:
        Refusal: None has a version or a timestamp, or one is newer.
    """
    from ingestion_pipeline.sources.overpass.answer import elements_of

    elements = [each for section in sections for each in elements_of(section)]
    if elements and not any(each.version or each.timestamp for _, each in elements):
        raise Refusal(
            OverpassNoMetadata,
            "no object in the response has a version or a timestamp",
            HTTPStatus.OK,
        )
    if moment is None:
        return
    for kind, each in elements:
        if each.timestamp is not None and each.timestamp > moment:
            raise Refusal(
                OverpassOtherQuestion,
                f"the response contains {kind}/{each.id} of {_text(each.timestamp)}, newer than "
                f"the requested time, {_text(moment)}",
                HTTPStatus.OK,
            )


ERROR_LINE = re.compile(r"<strong[^>]*>Error</strong>:(.*?)</p>", re.DOTALL)
"""Errors in Overpass's HTML pages."""


def kind_by_status(status: int, text: str) -> type[OverpassError]:
    """Return the error of a response that is not JSON with status 200.

    Args:
        status: The HTTP status.
        text: Overpass's text in the page; empty if another program wrote it.
    """
    if status == HTTPStatus.OK or "duplicate_query" in text:
        return kind_by_words(text)
    if status == HTTPStatus.BAD_REQUEST:
        return OverpassRejected
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return OverpassBusy
    return OverpassForbidden


def kind_by_words(text: str) -> type[OverpassError]:
    """Return the error of Overpass's text in a page or a remark of status 200."""
    for words, kind in KINDS_BY_WORDS.items():
        if words in text:
            return kind
    return OverpassTruncated


KINDS_BY_WORDS: dict[str, type[OverpassError]] = {
    "duplicate_query": OverpassDuplicateQuery,
    "museum file": OverpassNoAttic,
    "s_meta.bin": OverpassNoMetadata,
    "user_data.bin": OverpassNoMetadata,
    "timed out": OverpassTooBig,
    "out of memory": OverpassTooBig,
    "Dispatcher_Client": OverpassBusy,
    "dispatcher": OverpassBusy,
}
"""Overpass's words, searched in this order."""


def read(parts: Sequence[Path], *, area: Area, selection: Selection = POIS) -> Reading:
    """Read the features and the boundary from the bodies of one city-day.

    Args:
        parts: Files that `OverpassClient.acquire` accepted, or their stored copies.
        area: The area that they were acquired for.
        selection: The objects to select; the query may have been for others too.

    Raises:
        OverpassTruncated: A file is not the accepted one any more.
        BoundaryNotFound: The boundary relation is not in the files.
        BoundaryBroken: The boundary relation does not form an area.
    """
    from ingestion_pipeline.osm.assemble import assemble

    elements, boundary, names = _decoded(parts, area, selection)
    features, rejections = assemble(elements)
    return Reading(
        features=features, rejections=rejections, boundary=boundary, boundary_names=names
    )


def _decoded(
    parts: Sequence[Path], area: Area, selection: Selection
) -> tuple[Elements, Polygon | MultiPolygon | None, frozenset[str]]:
    """Return the selected elements, and the boundary's area and names; the bodies are released."""
    from ingestion_pipeline.sources.overpass import answer as overpass_json

    selected: list[Section] = []
    boundaries: list[Section] = []
    for path in parts:
        try:
            first, *others = overpass_json.sections(overpass_json.decode(path.read_bytes()))
        except overpass_json.NotWholeError as error:
            raise OverpassTruncated(
                f"{path} cannot be read: {error}. Fetch the city-day from the server again."
            ) from error
        selected.append(first.only(selection.selects))
        boundaries.extend(others)
    boundary, names = _boundary(boundaries, relation_id=area.boundary_relation)
    return overpass_json.to_elements(selected), boundary, names


def _boundary(
    sections: Sequence[Section], *, relation_id: int | None
) -> tuple[Polygon | MultiPolygon | None, frozenset[str]]:
    """Return the area and the names of the boundary relation."""
    from ingestion_pipeline.osm.assemble import relation_area
    from ingestion_pipeline.sources.overpass.answer import members_of

    if relation_id is None:
        return None, frozenset()
    relations = (
        each
        for section in sections
        for each in zip(section.relations, section.relation_tags, strict=True)
    )
    relation, tags = next((each for each in relations if each[0].id == relation_id), (None, None))
    if relation is None or tags is None:
        raise BoundaryNotFound(
            f"relation/{relation_id} is not in the Overpass data. Correct the city's boundary_ref."
        )
    (members,) = members_of([relation])
    area = relation_area(members)
    if area is None:
        raise BoundaryBroken(
            f"relation/{relation_id} does not form an area in the Overpass data. Repair it in "
            "OpenStreetMap, use an earlier day, or bound the city by a bbox."
        )
    return area, boundary_names(tags)


def _last_second(day: date) -> datetime:
    """Return the last second (UTC) of a past day."""
    return datetime.combine(day, time(23, 59, 59), UTC)


def _text(moment: datetime) -> str:
    """Return a time in Overpass's form."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _numbers(bbox: Bbox) -> str:
    return ",".join(f"{number:g}" for number in bbox)


def _name(area: Area) -> str:
    """Return the name of an area for messages."""
    box = f"bbox {_numbers(area.bbox)}"
    if area.boundary_relation is None:
        return box
    return f"relation/{area.boundary_relation} ({box})"
