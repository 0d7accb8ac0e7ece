"""Overpass: asking a server for a city-day, and reading what it answered.

Belongs here: the client and its patience; which answers are data. Does not belong here: the query
(`selection.py`), the form of an answer (`overpass_json.py`), geometries (`assemble.py`), and
storing the bytes (`lake/`).

An answer is data only if its status is 200, its type is JSON, it decodes to its end, it has no
`remark`, it repeats the question, every section has as many elements as the server counted, no
object is newer than the moment that was asked for, and it says of what time the server's data is.
Anything else becomes one of the errors in `core/errors.py`.

What the client mends by itself, up to `attempts` questions for each part:

- No free slot (429): it reads `/api/status` and waits for the slot, at least 30 s.
- Overload (504, 5xx, `protocol_error`), dispatcher down, server unreachable: it waits, longer each
  time and with jitter. After a 504 it also declares half the time and memory, because a server
  refuses what it cannot reserve; not where its dispatcher is turned off.
- The same text once too often (`duplicate_query`): every attempt declares one second more, which
  makes it another text; comments and spaces do not.
- A body that is not whole: it asks again.

A caller that tries again by itself (`caller_retries`) gets the error at once, with `retry_after_s`,
instead of a wait longer than `SHORT_WAIT_S`: a step of Dagster holds a slot of the pool of all runs
that ask upstream, and frees it between its retries. As soon as an answer of the city was accepted,
the client waits itself. Another try starts with the first part, so a city of many parts would never
be complete on a server that has a slot for one part at a time.

Too big (timed out, out of memory, a body larger than the declared memory): it doubles the declared
time and memory once for the city, then splits the bbox in four, and each quarter again where
needed, down to `MAXIMUM_DEPTH`. Overpass 0.7.62 says of some dated queries that they timed out
after a time that no query has run (https://github.com/drolbr/Overpass-API/issues/718); these are
split at once.

Before the first question it reads `/api/timestamp`, which needs no slot: a server whose data is not
of the day is not asked for a city in vain. A server that does not have it is asked all the same.

All parts of a city are of one snapshot. For a past day each part asks for the state of the same
moment, and one more question proves that the server's history reaches back to it
(`overpass_history.py`). A day that ends while it is asked for is taken as a past day. For the
current day the parts must have the same `timestamp_osm_base`. Where the server's data moves on in
between, the client asks for the remaining parts as of the first one's time; a server without
history cannot answer that, so there it starts again from the first part, up to `MAXIMUM_ROUNDS`
rounds.

Source of the server's behaviour: recorded exchanges with Overpass 0.7.62, and "Overpass API" of
the OSM wiki.
"""

from __future__ import annotations

import html
import logging
import random
import re
import tempfile
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ingestion_pipeline.core.errors import quoted
from ingestion_pipeline.core.evidence import Evidence
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
from ingestion_pipeline.osm.selection import POIS, Selection, overpass_box, overpass_query
from ingestion_pipeline.sources.as_of import CLOCK_TOLERANCE, is_current, require_true_on
from ingestion_pipeline.sources.base import Acquisition, RawPart
from ingestion_pipeline.sources.overpass.wire import Patience, Refusal, Reply, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    import httpx
    from shapely import MultiPolygon, Polygon

    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.assemble import Elements
    from ingestion_pipeline.sources.overpass.answer import Body, Section
    from ingestion_pipeline.sources.overpass.history import Edit

log = logging.getLogger(__name__)

MAXIMUM_DEPTH = 4
"""How often a bbox is split in four: at most 4^4 = 256 parts."""

MAXIMUM_ROUNDS = 3
"""How often the parts of a city are asked for until they are of one snapshot."""

NO_SLOT_WAIT_S = 30.0
"""The shortest wait after a 429 (usage policy of the public servers)."""

LONGEST_WAIT_S = 90.0
"""The longest wait between two questions; where a slot is further away, the error is raised."""

SHORT_WAIT_S = 15.0
"""The same for a caller that tries again by itself, until an answer of the city was accepted."""

FIRST_WAIT_S = 10.0
"""The first wait of a back-off; each next one is twice as long, and jitter adds up to as much."""

ADVICE: dict[type[OverpassError], str] = {
    OverpassBusy: "run the partition again later, or set OVERPASS_URL to another server",
    OverpassDuplicateQuery: "run the partition again in a few minutes",
    OverpassForbidden: "check OVERPASS_URL and that the User-Agent names a contact",
    OverpassNoMetadata: "use a server whose database was made with metadata (--meta)",
    OverpassNoAttic: "use a server with history that reaches back to that day, a dated extract, "
    "or the snapshot stored on that day",
    OverpassOtherQuestion: "take the cache or proxy in front of the server away, or use another",
    OverpassRejected: "correct the query; asking again cannot help",
    OverpassTooBig: "narrow the city's bbox, or take the city from an extract",
    OverpassTruncated: "run the partition again; if it stays so, use another server",
    OverpassUnreachable: "check OVERPASS_URL and the network, then run the partition again",
}
"""What a reader of the error can do."""


class Limits(NamedTuple):
    """What a query declares that it may need; the server ends it there.

    A body may have as many bytes as the query may need memory: the server holds less of an element
    than it writes.
    """

    timeout_s: int
    maxsize_bytes: int

    def doubled(self) -> Limits:
        """Return twice as much."""
        return Limits(self.timeout_s * 2, self.maxsize_bytes * 2)

    def halved(self) -> Limits:
        """Return half as much."""
        return Limits(max(1, self.timeout_s // 2), self.maxsize_bytes // 2)


DEFAULT_LIMITS = Limits(timeout_s=180, maxsize_bytes=268_435_456)
HISTORY_LIMITS = Limits(timeout_s=60, maxsize_bytes=67_108_864)
"""What the question about a few objects declares."""

DEFAULT_PATIENCE = Patience()


@dataclass(frozen=True)
class _Box:
    """A part of the city's bbox, and how many times it was split to get there."""

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
    """What an accepted answer says: of what time (UTC) the server's data is, and its elements."""

    base: datetime
    sections: list[Section]


@dataclass(frozen=True)
class _Part:
    """An accepted answer."""

    box: _Box
    raw: RawPart
    base: datetime


def endpoint_of(url: str) -> Endpoint:
    """Take the interpreter's URL apart.

    Raises:
        OverpassNotConfigured: It is not an http(s) URL.
    """
    try:
        return Endpoint.parse(url)
    except ValueError as error:
        raise OverpassNotConfigured(
            f"OVERPASS_URL cannot be used: {error}; set it to the interpreter of a server, "
            "such as https://overpass.example/api/interpreter"
        ) from None


class OverpassClient:
    """A client of one Overpass server."""

    def __init__(
        self,
        *,
        url: str,
        http: httpx.Client,
        clock: Clock,
        lock_dir: Path,
        user_agent: str,
        attempts: int = 4,
        limits: Limits = DEFAULT_LIMITS,
        patience: Patience = DEFAULT_PATIENCE,
        jitter: Callable[[], float] = random.random,
        caller_retries: bool = False,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: Address of the interpreter (`https://host/api/interpreter`); may hold a user and
                password or a key, which are never shown.
            http: The client to send with; its own timeouts and redirects are not used.
            clock: The time, and the way to wait.
            lock_dir: See `server_lock.one_request_at_a_time`.
            user_agent: Product and contact. Public servers answer a stock one with 406.
            attempts: How many times a part is asked for.
            limits: What a query declares at first.
            patience: How long to wait for an answer.
            jitter: Gives numbers in [0, 1).
            caller_retries: Whether the caller waits as long as an error's `retry_after_s` says,
                and then tries again.

        Raises:
            OverpassNotConfigured: `url` is not an http(s) URL.
        """
        self._endpoint = endpoint_of(url)
        keep_secrets_out_of_httpx_log()
        self._wire = Wire(
            endpoint=self._endpoint,
            http=http,
            clock=clock,
            lock_dir=lock_dir,
            user_agent=user_agent,
            patience=patience,
        )
        self._clock = clock
        self._attempts = attempts
        self._limits = limits
        self._jitter = jitter
        self._caller_retries = caller_retries

    def acquire(
        self,
        area: Area,
        *,
        day: date,
        maximum_age: timedelta,
        workdir: Path,
        selection: Selection = POIS,
        histories: Mapping[str, str] | None = None,
    ) -> Acquisition:
        """Get the raw bytes of a city-day.

        Args:
            area: What to fetch.
            day: The UTC day. The current one gets the server's newest state; a past one gets the
                state of its last second, from a server with history.
            maximum_age: How old the newest state may be.
            workdir: The folder for `overpass-000.json` and so on; nothing stays in it on failure.
            selection: Which objects to ask for.
            histories: By `Evidence.location`, what proved before (`Evidence.history`) that a
                server's history reaches back to the end of this day.

        Raises:
            FutureDay: The day has not begun; nothing was sent.
            StaleUpstream: The server's data is older than `maximum_age`, or does not reach the
                end of the past day yet.
            NoEvidenceForDay: The server does not say of what time its data is.
            BoundaryNotFound: The boundary relation is not in the server's data.
            OverpassError: The server gave no data; see the subclasses.
        """
        current = is_current(day, self._clock.now())
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="incoming-", dir=workdir) as folder:
            fetch = _CityFetch(
                area=area,
                selection=selection,
                day=day,
                current=current,
                maximum_age=maximum_age,
                folder=Path(folder),
                wire=self._wire,
                clock=self._clock,
                attempts=self._attempts,
                limits=self._limits,
                jitter=self._jitter,
                caller_retries=self._caller_retries,
                history=(histories or {}).get(self._endpoint.public),
            )
            parts = fetch.run()
            raw = tuple(
                replace(part.raw, path=part.raw.path.rename(workdir / f"overpass-{index:03d}.json"))
                for index, part in enumerate(parts)
            )
        return Acquisition(
            parts=raw,
            evidence=Evidence(
                as_of=fetch.moment or parts[0].base,
                as_of_source="timestamp_osm_base" if fetch.moment is None else "attic_date",
                obtained="overpass",
                location=self._endpoint.public,
                query=raw[0].query,
                history=None if fetch.moment is None else fetch.history,
            ),
        )


class _CityFetch:
    """One acquisition: what is asked next, and what was learned of the server on the way."""

    def __init__(
        self,
        *,
        area: Area,
        selection: Selection,
        day: date,
        current: bool,
        maximum_age: timedelta,
        folder: Path,
        wire: Wire,
        clock: Clock,
        attempts: int,
        limits: Limits,
        jitter: Callable[[], float],
        caller_retries: bool,
        history: str | None,
    ) -> None:
        self.moment = None if current else _last_second(day)
        """The moment whose state is asked for; None for the newest state."""
        self.history = history
        """What proves that the server's history reaches back to the moment."""
        self._area = area
        self._selection = selection
        self._day = day
        self._maximum_age = maximum_age
        self._folder = folder
        self._wire = wire
        self._clock = clock
        self._attempts = attempts
        self._limits = limits
        self._jitter = jitter
        self._longest_wait_s = SHORT_WAIT_S if caller_retries else LONGEST_WAIT_S
        self._boxes = [_Box(area.bbox)]
        self._limits_raised = False
        self._pin: datetime | None = None
        self._server_has_history = True
        self._edits: list[Edit] = []
        self._files = count()

    def run(self) -> list[_Part]:
        """Return the parts of one snapshot, in order; the first one holds the boundary."""
        self._look_at_the_time()
        parts = self._parts()
        if self.moment is not None and self.history is None:
            self.history = self._proof_of_history(self.moment)
        return parts

    def _look_at_the_time(self) -> None:
        """Refuse a server whose data is not of the day, where it says so without a query.

        Raises:
            OsmError: As `_require_true`.
        """
        from ingestion_pipeline.sources.overpass.answer import moment_in

        try:
            reply = self._wire.resource("timestamp", to=self._folder / "timestamp.txt")
        except Refusal as refusal:
            log.info("%s does not say its time: %s", self._wire.endpoint.server, refusal.what)
            return
        base = moment_in(reply.text().strip()) if reply.status == HTTPStatus.OK else None
        if base is not None:
            self._require_true(base)

    def _require_true(self, base: datetime) -> None:
        """Refuse data that was not true on the day; of a day that is over, ask for its end.

        Args:
            base: Of what time (UTC) the server's newest data is.

        Raises:
            WrongSnapshotDate: See `require_true_on`; or the server has not got to the end of
                the past day.
        """
        now = self._clock.now()
        over = _last_second(self._day) + timedelta(seconds=1)
        if self.moment is None and over < base <= now + CLOCK_TOLERANCE:
            log.info("%s ended while it was asked for; asking for its last second", self._day)
            self.moment = _last_second(self._day)
        if self.moment is None:
            require_true_on(
                self._day,
                as_of=base,
                now=now,
                maximum_age=self._maximum_age,
                origin=f"the Overpass server {self._wire.endpoint.server}",
            )
        else:
            self._require_reached(base, self.moment)

    def _parts(self) -> list[_Part]:
        """Ask for all parts until they are of one snapshot."""
        for rounds_left in reversed(range(MAXIMUM_ROUNDS)):
            try:
                return self._round()
            except OverpassSnapshotMoved as error:
                if not rounds_left:
                    raise
                log.warning("%s; asking for all parts again", error)
        raise AssertionError  # pragma: no cover (the last round returns or raises)

    def _round(self) -> list[_Part]:
        """Ask for all parts.

        Raises:
            OverpassSnapshotMoved: They would be of more than one snapshot. The next round starts
                with the boxes that were found to be small enough.
        """
        parts: list[_Part] = []
        boxes = deque(self._boxes)
        self._pin = None
        while boxes:
            box = boxes.popleft()
            try:
                part = self._another(box, parts[0].base) if parts else self._first(box)
            except OverpassTooBig as error:
                boxes.extendleft(reversed(self._with_more_room(box, error)))
            except OverpassSnapshotMoved:
                self._boxes = [*(part.box for part in parts), box, *boxes]
                raise
            else:
                parts.append(part)
        return parts

    def _first(self, box: _Box) -> _Part:
        """Ask for the part that decides which snapshot the city is of."""
        moment = self.moment
        part = self._ask(box, with_boundary=True, moment=moment)
        if moment is None:
            self._require_true(part.base)
        return part if moment == self.moment else self._first(box)  # the day ended meanwhile

    def _another(self, box: _Box, snapshot: datetime) -> _Part:
        """Ask for a further part of the same snapshot.

        Raises:
            OverpassSnapshotMoved: The server cannot give it any more.
        """
        if self.moment is not None:
            return self._ask(box, with_boundary=False, moment=self.moment)
        if self._pin is None:
            part = self._ask(box, with_boundary=False, moment=None)
            if part.base == snapshot:
                return part
            self._pin = snapshot
        if self._server_has_history:
            try:
                return self._ask(box, with_boundary=False, moment=self._pin)
            except OverpassNoAttic:
                self._server_has_history = False
            except StaleUpstream as error:
                # Several machines answer under this name, and this one has not got so far.
                log.info("%s", error)
        raise OverpassSnapshotMoved(
            f"the data of Overpass server {self._wire.endpoint.server} moved between the parts of "
            f"{_name(self._area)}, and the server does not give its state of {_text(snapshot)} "
            "any more; run the partition again, narrow the city's bbox, or use a server with "
            "history, or an extract"
        )

    def _with_more_room(self, box: _Box, error: OverpassTooBig) -> list[_Box]:
        """Return the boxes to ask for instead of one that was too big.

        Raises:
            OverpassTooBig: It cannot be split any further.
            OverpassNoAttic: The same, and size cannot be the reason.
        """
        refusal = error.__cause__
        assert isinstance(refusal, Refusal)
        if refusal.more_helps and not self._limits_raised:
            self._limits_raised = True
            self._limits = self._limits.doubled()
            return [box]
        if box.depth == MAXIMUM_DEPTH:
            if self.moment is not None and not refusal.more_helps:
                refusal.kind = OverpassNoAttic
                raise self._error(refusal, box=box, attempt=self._attempts) from refusal
            raise error
        return box.quarters()

    def _ask(self, box: _Box, *, with_boundary: bool, moment: datetime | None) -> _Part:
        """Ask for one part until it comes.

        Raises:
            OverpassError: It does not come, or waiting cannot help.
        """
        asked = self._question(moment, box.bbox, tags=self._selection.digest)

        def query(limits: Limits) -> str:
            return overpass_query(
                self._area,
                bbox=box.bbox,
                with_boundary=with_boundary,
                timeout_s=limits.timeout_s,
                maxsize_bytes=limits.maxsize_bytes,
                date=None if moment is None else _text(moment),
                selection=self._selection,
                asked=asked,
            )

        boundary_asked = with_boundary and self._area.boundary_relation is not None
        text, reply, answer = self._until_it_comes(
            query, asked=asked, sections=1 + boundary_asked, moment=moment, box=box
        )
        if boundary_asked and not answer.sections[1].relations:
            reply.path.unlink()
            raise BoundaryNotFound(
                f"Overpass server {self._wire.endpoint.server} has no "
                f"relation/{self._area.boundary_relation}; check the city's boundary"
            )
        if moment is not None:
            from ingestion_pipeline.sources.overpass.history import last_edits

            self._edits = last_edits(self._edits, answer.sections)
        raw = RawPart(reply.path, text, reply.requested_at, reply.received_at)
        return _Part(box=box, raw=raw, base=answer.base)

    def _question(self, moment: datetime | None, bbox: Bbox, **more: str) -> dict[str, str]:
        """Return what an answer repeats, so that it is known to be that to this question."""
        at = "now" if moment is None else _text(moment)
        return {"day": str(self._day), "at": at, "box": overpass_box(bbox), **more}

    def _proof_of_history(self, moment: datetime) -> str:
        """Return what proves that the server's history reaches back to a moment.

        Raises:
            OverpassNoAttic: Nothing does.
            OverpassError: The server does not answer.
        """
        from ingestion_pipeline.sources.overpass import history as overpass_history

        edits = self._edits
        proof = None
        if edits:
            before = overpass_history.moment_before(edits)
            objects = " ".join(f"{edit.kind}/{edit.id}" for edit in edits)
            asked = self._question(before, self._area.bbox, objects=objects)
            _, reply, answer = self._until_it_comes(
                lambda limits: overpass_history.history_query(edits, asked=asked, limits=limits),
                asked=asked,
                sections=1,
                moment=before,
                box=_Box(self._area.bbox),
                limits=HISTORY_LIMITS,
            )
            reply.path.unlink()
            proof = overpass_history.proof_of_history(edits, answer.sections[0])
        if proof is None:
            raise OverpassNoAttic(
                f"Overpass server {self._wire.endpoint.server} gave a state of "
                f"{_name(self._area)} for {self._day}, and nothing proves that its history "
                f"reaches back to {_text(moment)}: of the {len(edits)} objects whose last change "
                "up to then was not their first, it knows none as it was before; without that "
                "history, all that was changed since then is missing; "
                f"{ADVICE[OverpassNoAttic]}"
            )
        log.info("The server's history reaches back to %s: %s", _text(moment), proof)
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
        """Ask until there is an answer.

        Args:
            query: Writes the query with what it declares.
            asked: What the answer has to repeat.
            sections: How many counts it has to have.
            moment: The moment whose state is asked for, or None for the newest.
            box: What it is asked for, for messages.
            limits: What the query declares at first, if not what a city's does.

        Returns:
            The query that was answered, the reply, and what it holds.

        Raises:
            OverpassError: None comes, or waiting cannot help.
            OsmError: The answer is not of this city-day.
        """
        limits = limits or self._limits
        most_bytes = limits.maxsize_bytes
        for attempt in count(1):
            path = self._folder / f"{next(self._files):04d}.json"
            declared = limits._replace(timeout_s=limits.timeout_s + attempt - 1)
            text = query(declared)
            try:
                reply = self._wire.query(
                    text, timeout_s=declared.timeout_s, most_bytes=most_bytes, to=path
                )
                answer = self._accept(reply, asked=asked, sections=sections, moment=moment)
            except Refusal as refusal:
                path.unlink(missing_ok=True)
                error = self._error(refusal, box=box, attempt=attempt)
                if attempt == self._attempts or not error.should_retry:
                    raise error from refusal
                self._wait(refusal, error, attempt=attempt)
                if refusal.less_helps:
                    limits = limits.halved()
            else:
                self._longest_wait_s = LONGEST_WAIT_S  # another try would ask for this again
                return text, reply, answer
        raise AssertionError  # pragma: no cover (the last attempt returns or raises)

    def _accept(
        self, reply: Reply, *, asked: Mapping[str, str], sections: int, moment: datetime | None
    ) -> _Answer:
        """Check that a reply is data, and the answer to what was asked.

        The file is left without what it said of users.

        Raises:
            Refusal: It is not.
            OsmError: It is, but not of this city-day.
        """
        from ingestion_pipeline.sources.overpass import answer as overpass_json

        refuse_other_than_json(reply, redact=self._wire.endpoint.redact)
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
                f"the answer has {len(found)} counts where {sections} were asked for",
                reply.status,
            )
        if overpass_json.names_users(body):
            raise Refusal(
                OverpassForbidden,
                "the answer names users in a form that is not known, so they cannot be taken out",
                reply.status,
            )
        refuse_wrong_times(found, moment=moment)
        base = self._base(overpass_json.timestamp_osm_base(body), moment=moment)
        reply.path.write_bytes(raw)
        return _Answer(base, found)

    def _refuse_remark(self, remark: str | None) -> None:
        """Refuse a body with a remark, which always tells that something went wrong.

        Raises:
            Refusal: There is one.
        """
        if remark is None:
            return
        said = quoted(self._wire.endpoint.redact(remark))
        what = f"the answer ends with the remark {said!r}"
        claimed = re.search(r"timed out .{,200} after (\d{1,18}) seconds", remark)
        impossible = claimed is not None and int(claimed[1]) > self._longest_s()
        if impossible:
            what += (
                ", longer than any query has run; Overpass 0.7.62 says so of a dated query that is "
                "too big for it, or of a moment before its history"
            )
        raise Refusal(kind_by_words(remark), what, HTTPStatus.OK, more_helps=not impossible)

    def _longest_s(self) -> float:
        """Return the longest time that any query of this acquisition can have run."""
        return self._wire.longest_s(self._limits.timeout_s + self._attempts)

    def _base(self, base: datetime | None, *, moment: datetime | None) -> datetime:
        """Refuse a server that does not know its data's time, or has not got to `moment` yet."""
        if base is None:
            raise NoEvidenceForDay(
                f"Overpass server {self._wire.endpoint.server} does not say of what time its data "
                f"is (timestamp_osm_base), so it cannot be staged for {self._day}; use another "
                "server"
            )
        if moment is not None:
            self._require_reached(base, moment)
        return base

    def _require_reached(self, base: datetime, moment: datetime) -> None:
        """Refuse a server whose newest state is of a time before the moment that is asked for."""
        if base < moment:
            # Asked for a later state than its newest one, a server gives its newest one.
            raise StaleUpstream(
                f"Overpass server {self._wire.endpoint.server} has the state of {_text(base)} and "
                f"cannot give that of {_text(moment)} yet; run the partition of {self._day} again "
                "when the server has caught up"
            )

    def _error(self, refusal: Refusal, *, box: _Box, attempt: int) -> OverpassError:
        """Say what happened, to what, and what to do."""
        part = f", part {_numbers(box.bbox)} (split {box.depth} times)" if box.depth else ""
        return refusal.kind(
            f"Overpass server {self._wire.endpoint.server} gave no data of {_name(self._area)}"
            f"{part} for {self._day}: {refusal.what} (attempt {attempt} of {self._attempts}); "
            f"{ADVICE[refusal.kind]}"
        )

    def _wait(self, refusal: Refusal, error: OverpassError, *, attempt: int) -> None:
        """Wait until another attempt makes sense.

        Raises:
            OverpassError: That is longer than the client waits; says for how long.
        """
        least = FIRST_WAIT_S * 2 ** (attempt - 1)
        seconds = least * (1 + self._jitter())
        if refusal.status == HTTPStatus.TOO_MANY_REQUESTS:
            least = max(NO_SLOT_WAIT_S, self._seconds_to_slot())
            seconds = least + self._jitter()
        if least > self._longest_wait_s:
            error.retry_after_s = seconds
            raise error from refusal
        seconds = min(seconds, self._longest_wait_s)
        log.warning("%s. Waiting %.0f s before the next attempt", error, seconds)
        self._clock.sleep(seconds)

    def _seconds_to_slot(self) -> int:
        """Ask the server when it will have a slot; 0 where it does not say."""
        path = self._folder / "status.txt"
        try:
            reply = self._wire.resource("status", to=path)
        except Refusal:
            return 0
        return seconds_to_slot(reply.text())


def seconds_to_slot(status: str) -> int:
    """Read from the text of `/api/status` in how many seconds there is a slot.

    The lines that tell it may be absent, and the number may be negative.
    """
    if re.search(r"^[1-9]\d* slots? available now", status, re.MULTILINE):
        return 0
    cooling = re.findall(r"^Slot available after: .*, in (-?\d+) seconds", status, re.MULTILINE)
    return max(0, min(map(int, cooling), default=0))


def refuse_other_than_json(reply: Reply, *, redact: Callable[[str], str]) -> None:
    """Let only a 200 answer of type JSON pass.

    Args:
        reply: The reply.
        redact: Hides secrets in what the server says.

    Raises:
        Refusal: It is something else.
    """
    if (reply.status, reply.content_type) == (HTTPStatus.OK, "application/json"):
        return
    page = reply.text()
    lines = [html.unescape(line).strip() for line in ERROR_LINE.findall(page)]
    said = "; ".join(lines) or re.sub(r"<[^>]*>", " ", page)
    content_type = quoted(reply.content_type, most=100) or "no type"
    what = f"it answered with status {reply.status} and {content_type}"
    if reply.redirect:
        what += f", a redirect to {quoted(redact(reply.redirect))}"
    if said.strip():
        what += f": {quoted(redact(said))}"
    stopped = any(words in page for words in STOPPED)
    raise Refusal(
        kind_by_status(reply.status, "; ".join(lines)),
        what,
        reply.status,
        less_helps=reply.status == HTTPStatus.GATEWAY_TIMEOUT and not stopped,
    )


STOPPED = ("turned off", "server is down")
"""What Overpass says with status 504 where its dispatcher does not run."""


def refuse_other_question(body: Body, asked: Mapping[str, str]) -> None:
    """Let only an answer pass that repeats what was asked.

    Raises:
        Refusal: It repeats something else, or nothing.
    """
    from ingestion_pipeline.sources.overpass import answer as overpass_json

    repeated = overpass_json.asked(body)
    if repeated == asked:
        return
    if repeated is None:
        what = "the answer does not repeat the question, so it may be that to another one"
    else:
        differing = [key for key in {**asked, **repeated} if asked.get(key) != repeated.get(key)]
        what = "the answer is that to another question: " + ", ".join(
            f"{quoted(key, most=20)} is {quoted(repeated.get(key), most=100)!r} where "
            f"{quoted(asked.get(key), most=100)!r} was asked for"
            for key in differing[:4]
        )
    raise Refusal(OverpassOtherQuestion, what, HTTPStatus.OK)


def refuse_wrong_times(sections: Sequence[Section], *, moment: datetime | None) -> None:
    """Let only objects pass that have metadata, and that are no newer than the moment asked for.

    Raises:
        Refusal: None has a version or a timestamp, or one is newer.
    """
    from ingestion_pipeline.sources.overpass.answer import elements_of

    elements = [each for section in sections for each in elements_of(section)]
    if elements and not any(each.version or each.timestamp for _, each in elements):
        raise Refusal(
            OverpassNoMetadata,
            "the answer has no version and no timestamp of any object",
            HTTPStatus.OK,
        )
    if moment is None:
        return
    for kind, each in elements:
        if each.timestamp is not None and each.timestamp > moment:
            raise Refusal(
                OverpassOtherQuestion,
                f"the answer holds {kind}/{each.id} of {_text(each.timestamp)}, which is newer "
                f"than the moment that was asked for, {_text(moment)}",
                HTTPStatus.OK,
            )


ERROR_LINE = re.compile(r"<strong[^>]*>Error</strong>:(.*?)</p>", re.DOTALL)
"""What Overpass says in its HTML pages."""


def kind_by_status(status: int, said: str) -> type[OverpassError]:
    """Tell what a reply means that is not JSON with status 200.

    Args:
        status: The HTTP status.
        said: What Overpass says in the page; empty where another program wrote it.
    """
    if status == HTTPStatus.OK or "duplicate_query" in said:
        return kind_by_words(said)
    if status == HTTPStatus.BAD_REQUEST:
        return OverpassRejected
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return OverpassBusy
    return OverpassForbidden


def kind_by_words(said: str) -> type[OverpassError]:
    """Tell what Overpass means with what it says in a page or a remark of status 200."""
    for words, kind in KINDS_BY_WORDS.items():
        if words in said:
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
"""Words of Overpass, looked for in this order."""


def read(parts: Sequence[Path], *, area: Area, selection: Selection = POIS) -> Reading:
    """Read the features and the boundary out of the bodies of one city-day.

    Args:
        parts: Files that `OverpassClient.acquire` accepted, or their stored copies.
        area: What they were acquired for.
        selection: Which objects; the query may have asked for others too.

    Raises:
        OverpassTruncated: A file is not what was accepted once.
        BoundaryNotFound: The boundary relation is not in the files.
        BoundaryBroken: The boundary relation does not close to an area.
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
    """Return the selected elements, and the boundary's area and names; the bodies are let go."""
    from ingestion_pipeline.sources.overpass import answer as overpass_json

    selected: list[Section] = []
    boundaries: list[Section] = []
    for path in parts:
        try:
            first, *others = overpass_json.sections(overpass_json.decode(path.read_bytes()))
        except overpass_json.NotWholeError as error:
            raise OverpassTruncated(
                f"{path} cannot be read: {error}; fetch the city-day from the server again"
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
            f"relation/{relation_id} is not in the Overpass data; check the city's boundary"
        )
    (members,) = members_of([relation])
    area = relation_area(members)
    if area is None:
        raise BoundaryBroken(
            f"relation/{relation_id} does not close to an area in the Overpass data; repair it in "
            "OpenStreetMap, take an earlier day, or bound the city by a bbox"
        )
    return area, boundary_names(tags)


def _last_second(day: date) -> datetime:
    """Return the moment (UTC) whose state is that of a day that is over."""
    return datetime.combine(day, time(23, 59, 59), UTC)


def _text(moment: datetime) -> str:
    """Write a moment as Overpass does."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _numbers(bbox: Bbox) -> str:
    return ",".join(f"{number:g}" for number in bbox)


def _name(area: Area) -> str:
    """Name an area for a message."""
    box = f"bbox {_numbers(area.bbox)}"
    if area.boundary_relation is None:
        return box
    return f"relation/{area.boundary_relation} ({box})"
