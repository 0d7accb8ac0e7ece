"""A city's feeds on a day: their bytes, and the slices that are shaped from them.

A feed that fails does not affect the other feeds. What a feed is, and its errors, are defined in
`sources/feed/` and `config/feeds.py`.

The lake stores a feed's bytes of a day with a manifest, and the reason of its last failure. So the
staging step needs nothing from the step that fetched.

The rows of a feed's day are shaped from the first of these that can be read:

1. the candidate, which must not have far fewer places than the last good version;
2. the accepted bytes of the day;
3. the bytes of the last good day before it. The slice is then stale and has a `stale_reason`.

If the day is staged from its own bytes and none of these can be read, its slice stays as it is.
Bytes of a later day are never used.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from ingestion_pipeline.config.cities import City
from ingestion_pipeline.config.feeds import POSITION_ID, Feed, is_http
from ingestion_pipeline.core.errors import IngestionError, described
from ingestion_pipeline.core.evidence import SliceEvidence
from ingestion_pipeline.core.frame import Frame
from ingestion_pipeline.datasets.provenance import evidence_of_feed, judged_beside_osm
from ingestion_pipeline.datasets.registry import WITH_FEEDS
from ingestion_pipeline.defs.fetching import manifest_of, store_part
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.defs.work import ClaimedPartition
from ingestion_pipeline.lake.errors import SnapshotDamaged
from ingestion_pipeline.lake.scratch import scratch_folder
from ingestion_pipeline.lake.snapshots import Failure, KnownFeed, Manifest, Part
from ingestion_pipeline.sources.base import RawPart
from ingestion_pipeline.sources.feed.errors import (
    FeedError,
    FeedNotTaken,
    FeedUnreadable,
    LicenceConflict,
    may_pass,
)
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.days import Slice, read_day, staged_days
from ingestion_pipeline.staging.slices import SliceInput

if TYPE_CHECKING:
    import httpx

    from ingestion_pipeline.sources.feed.acquire import FeedAcquisition, Known
    from ingestion_pipeline.sources.feed.fetch import NotModified
    from ingestion_pipeline.sources.feed.positions import Anchor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeedOfDay:
    """The state of a feed on a day.

    Attributes:
        feed: The feed.
        day: The UTC day.
        manifest: The manifest of the bytes from which rows are shaped; None if there are no bytes.
        failure: The failure of the last request, or of its bytes.
        is_candidate: Whether the bytes are new and not yet read.
        last_good: For a candidate: the number of places of the last good version, if there is one.
    """

    feed: Feed
    day: date
    manifest: Manifest | None = None
    failure: Failure | None = None
    is_candidate: bool = False
    last_good: int | None = None

    @property
    def is_own(self) -> bool:
        """Whether the bytes were fetched for this day."""
        return self.manifest is not None and self.manifest.day == self.day

    @property
    def stale_reason(self) -> str | None:
        """Why the bytes are those of an earlier day; None if they were fetched for this day."""
        return None if self.is_own else str(self.failure)

    def evidence(self, city: City, *, beside: SliceEvidence) -> SliceEvidence:
        """Return the evidence of the feed's rows. The feed must have a manifest.

        Args:
            city: The city.
            beside: The evidence of the OpenStreetMap rows to which the feed's rows are linked.
        """
        assert self.manifest is not None
        evidence = evidence_of_feed(city, self.feed, self.manifest, beside=beside)
        return replace(evidence, stale_reason=self.stale_reason)


def take_feeds(pipeline: PipelineResources, work: ClaimedPartition, *, retry_number: int) -> None:
    """Fetch and store the bytes of the city's feeds, or record why a feed has none.

    Stored bytes are reused unless the run refetches. A feed without bytes is requested in every
    run. After a transient failure it is requested once more in a retry of the step, which holds no
    slot of the pool while it waits.

    Args:
        pipeline: The resources.
        work: The city-day.
        retry_number: The number of retries of the step so far.

    Raises:
        dagster.RetryRequested: A feed needs a second request.
    """
    barred = _barred(work.city)
    for slug, failure in barred.items():
        log.warning("feed %s is not asked for: %s", slug, failure)
    feeds = [feed for feed in work.city.feeds if feed.slug not in barred]
    wanted = {feed: _times_asked(pipeline, work, feed) for feed in feeds}
    wanted = {
        feed: times for feed, times in wanted.items() if _is_wanted(pipeline, work, feed, times)
    }
    if not wanted:
        return
    import httpx

    again = []
    with httpx.Client() as http:
        for feed, times in wanted.items():
            may_answer_later = _take(pipeline, work, feed, http)
            _keep_asked(pipeline, work, feed, times + 1)
            if may_answer_later and not times:
                again.append(feed.slug)
    retrying = pipeline.retrying
    if again and retry_number < retrying.maximum:
        log.warning(
            "Feeds that are asked once more in %.0f s: %s", retrying.first_wait_s, ", ".join(again)
        )
        raise dg.RetryRequested(max_retries=retrying.maximum, seconds_to_wait=retrying.first_wait_s)


def _is_wanted(pipeline: PipelineResources, work: ClaimedPartition, feed: Feed, times: int) -> bool:
    """Return whether the run still has to request a feed, after `times` requests."""
    if times == 0:
        return work.claim.refetch or _stored(pipeline, work, feed) is None
    failure = pipeline.lake.last_failure(*_key(work, feed))
    return times == 1 and failure is not None and may_pass(failure.code)


def _times_asked(pipeline: PipelineResources, work: ClaimedPartition, feed: Feed) -> int:
    run_id = work.claim.dagster_run_id
    return pipeline.lake.request_count(*_key(work, feed), run_id=run_id)


def _keep_asked(
    pipeline: PipelineResources, work: ClaimedPartition, feed: Feed, times: int
) -> None:
    """Record the run's requests of a feed, because the step may be retried for another reason."""
    run_id = work.claim.dagster_run_id
    pipeline.lake.record_request_count(*_key(work, feed), run_id=run_id, times=times)


def feeds_of_day(pipeline: PipelineResources, work: ClaimedPartition) -> list[FeedOfDay]:
    """Return the state of each of the city's feeds; a barred licence counts as a failure."""
    barred = _barred(work.city)
    return [
        FeedOfDay(feed, work.day, failure=barred[feed.slug])
        if feed.slug in barred
        else _of_day(pipeline, work, feed)
        for feed in work.city.feeds
    ]


def failures_of(given: Sequence[FeedOfDay]) -> dict[str, str]:
    """Return the failed sources with their reasons, for the ledger."""
    return {each.feed.source: str(each.failure) for each in given if each.failure is not None}


def slices_of_feeds(
    pipeline: PipelineResources,
    work: ClaimedPartition,
    given: Sequence[FeedOfDay],
    *,
    frame: Frame,
    beside: SliceEvidence,
    reason: str | None,
) -> tuple[list[FeedOfDay], list[SliceInput]]:
    """Read the feeds that have bytes, and return their slices linked to OpenStreetMap places.

    Args:
        pipeline: The resources.
        work: The city-day.
        given: The state of each feed before its bytes are read.
        frame: The day's places of OpenStreetMap.
        beside: Their evidence, with the findings of the checks.
        reason: The reason of an operator who accepts the day, if any. It also accepts feeds with
            far fewer places than before.

    Returns:
        The state of each feed after its bytes were read; and the slices, at most one per feed.
    """
    outcome, slices = [], []
    for each in given:
        now = each
        while now.manifest is not None:
            try:
                slices.append(
                    _slice_of(
                        pipeline,
                        work,
                        now,
                        frame=frame,
                        beside=beside,
                        reason=reason,
                    )
                )
                break
            except (FeedError, SnapshotDamaged) as error:
                now = _next_best(pipeline, work, now, error)
        outcome.append(now)
    return outcome, slices


def _barred(city: City) -> Mapping[str, Failure]:
    """Return the feeds whose licence forbids combining them with OpenStreetMap, and the rule."""
    verdicts = {feed.slug: judged_beside_osm(feed) for feed in city.feeds}
    return {
        slug: Failure(
            LicenceConflict.code,
            "; ".join(f"{finding.rule}: {finding.why}" for finding in verdict.findings),
        )
        for slug, verdict in verdicts.items()
        if not verdict.may_be_combined
    }


def _slice_of(
    pipeline: PipelineResources,
    work: ClaimedPartition,
    given: FeedOfDay,
    *,
    frame: Frame,
    beside: SliceEvidence,
    reason: str | None,
) -> SliceInput:
    from ingestion_pipeline.helpers.link import link
    from ingestion_pipeline.sources.feed.read import has_shrunken, read_feed
    from ingestion_pipeline.text.names import Namer

    manifest, feed, city = given.manifest, given.feed, work.city
    assert manifest is not None
    with scratch_folder() as folder:
        path = pipeline.lake.restore(manifest.parts[0], folder)
        with _contained(feed):
            places = read_feed(
                path,
                feed,
                bbox=city.bbox,
                boundary=frame.boundary,
                namer=Namer(city.languages, city.local_language),
                last_good=None if reason else given.last_good,
                known=_anchors(pipeline, work, feed),
            )
            rows = link(places.table, frame.rows)
    log.info(
        "feed %s: %d records skipped by where and where_not; texts not understood: %s",
        feed.slug,
        places.skipped,
        ", ".join(f"{column} {count:,}" for column, count in places.unparsed.items()) or "none",
    )
    if given.is_own:
        runs.require(pipeline.engine, work.claim)
        pipeline.lake.accept(manifest)
    accepted = reason if has_shrunken(rows.num_rows, given.last_good) else None
    return SliceInput(
        target=replace(WITH_FEEDS.slice_of(city.slug, work.day), source=feed.source),
        rows=rows,
        rejections=places.rejections,
        evidence=replace(given.evidence(city, beside=beside), accepted_reason=accepted),
    )


def _anchors(pipeline: PipelineResources, work: ClaimedPartition, feed: Feed) -> "list[Anchor]":
    """Return the places of a feed's last good version, if their ids are of their positions."""
    from ingestion_pipeline.sources.feed.positions import Anchor

    good = _good_days(pipeline, work, feed) if feed.record_id == POSITION_ID else {}
    if not good:
        return []
    last = Slice(work.city.slug, WITH_FEEDS.name, feed.source, max(good))
    return [
        Anchor(row["source_ref"].rpartition("#")[0], row["kind"], row["lon"], row["lat"])
        for row in read_day(pipeline.engine, last) or ()
    ]


def _next_best(
    pipeline: PipelineResources,
    work: ClaimedPartition,
    given: FeedOfDay,
    error: FeedError | SnapshotDamaged,
) -> FeedOfDay:
    """Return the state of a feed with the next best bytes, after the current ones failed."""
    assert given.manifest is not None
    log.warning("%s (%s); the other sources are staged without it", error, error.code)
    if not given.is_own:
        return replace(given, manifest=None)  # keep the failure of the day as the reason
    failure = Failure(error.code, str(error))
    if given.is_candidate:
        runs.require(pipeline.engine, work.claim)
        pipeline.lake.quarantine(given.manifest)
        pipeline.lake.record_failure(*_key(work, given.feed), failure)
        if isinstance(error, FeedError):
            found = [asdict(each) for each in error.rejections]
            pipeline.lake.record_rejections(*_key(work, given.feed), found)
        standing = _standing(pipeline, work, given.feed)
        if standing is not None:
            return FeedOfDay(given.feed, work.day, standing, failure)
    return _last_good(pipeline, work, given.feed, failure)


def _of_day(pipeline: PipelineResources, work: ClaimedPartition, feed: Feed) -> FeedOfDay:
    failure = pipeline.lake.last_failure(*_key(work, feed))
    manifest = _stored(pipeline, work, feed)
    if manifest is None:
        return _last_good(pipeline, work, feed, failure or _NOT_TAKEN)
    if manifest == _standing(pipeline, work, feed):
        return FeedOfDay(feed, work.day, manifest, failure)
    good = _good_days(pipeline, work, feed)
    last_good = good[max(good)] if good else None
    return FeedOfDay(feed, work.day, manifest, failure, is_candidate=True, last_good=last_good)


_NOT_TAKEN = Failure(
    FeedNotTaken.code, "the feed was not asked for; materialize helper_feeds first"
)


def _last_good(
    pipeline: PipelineResources, work: ClaimedPartition, feed: Feed, failure: Failure
) -> FeedOfDay:
    """Return a feed with its last good version before the day, unless the day has a good one."""
    good = _good_days(pipeline, work, feed)
    if not good or work.day in good:
        return FeedOfDay(feed, work.day, failure=failure)
    manifest = _standing(pipeline, replace(work, day=max(good)), feed)
    return FeedOfDay(feed, work.day, manifest, failure)


def _good_days(pipeline: PipelineResources, work: ClaimedPartition, feed: Feed) -> dict[date, int]:
    """Return a feed's number of rows by day, for good days up to and including this one."""
    city = work.city
    staged = staged_days(pipeline.engine, city.slug, dataset=WITH_FEEDS.name, source=feed.source)
    return {
        day: row["rows"]
        for day, row in staged.items()
        if day <= work.day
        and row["stale_reason"] is None
        and row["boundary_ref"] == city.boundary_key
    }


def _stored(pipeline: PipelineResources, work: ClaimedPartition, feed: Feed) -> Manifest | None:
    """Return the manifest of the day's candidate, or else of its accepted bytes."""
    return _as_asked(pipeline.lake.manifest, work, feed)


def _standing(pipeline: PipelineResources, work: ClaimedPartition, feed: Feed) -> Manifest | None:
    """Return the manifest of the day's accepted bytes."""
    return _as_asked(pipeline.lake.accepted, work, feed)


def _as_asked(
    manifest_of: Callable[[str, str, str, date], Manifest | None],
    work: ClaimedPartition,
    feed: Feed,
) -> Manifest | None:
    """Return a day's manifest if it matches the feed's current entry in the cities file."""
    try:
        manifest = manifest_of(*_key(work, feed))
    except SnapshotDamaged as error:
        log.warning("%s", error)
        return None
    return manifest if manifest is not None and manifest.selection == feed.asks else None


def _take(
    pipeline: PipelineResources, work: ClaimedPartition, feed: Feed, http: "httpx.Client"
) -> bool:
    """Request a feed once; return whether it failed with a transient error."""
    from ingestion_pipeline.sources.feed.acquire import acquire
    from ingestion_pipeline.sources.feed.fetch import NotModified, server_of

    stored = None if work.claim.refetch else _known_feed(pipeline, work, feed)
    try:
        with scratch_folder() as folder:
            with _turn(pipeline, server_of(feed, work.day)), _contained(feed):
                acquired = acquire(
                    feed,
                    work.day,
                    http=http,
                    clock=pipeline.clock,
                    workdir=folder,
                    secrets=pipeline.settings.feed_secret or {},
                    known=None if stored is None else _known(stored),
                )
            fetched = acquired.fetched
            if isinstance(fetched, NotModified):
                assert stored is not None
                part = _unchanged(stored, fetched)
            else:
                part = store_part(
                    pipeline,
                    RawPart(
                        fetched.path,
                        query=None,
                        requested_at=fetched.requested_at,
                        received_at=fetched.received_at,
                        sha256=fetched.sha256,
                    ),
                    origin=fetched.location,
                )
    except FeedError as error:
        log.warning("%s (%s); the other sources are staged without it", error, error.code)
        runs.require(pipeline.engine, work.claim)
        pipeline.lake.record_failure(*_key(work, feed), Failure(error.code, str(error)))
        return error.should_retry
    runs.require(pipeline.engine, work.claim)
    manifest = manifest_of(
        acquired.evidence, (part,), work, dataset=feed.dataset, selection=feed.asks
    )
    pipeline.lake.propose_candidate(manifest)
    pipeline.lake.clear_failure(*_key(work, feed))
    if isinstance(fetched, NotModified):
        log.info("feed %s is unchanged: %s", feed.slug, part.query)
    else:
        _keep_known(pipeline, work, feed, acquired, part)
        log.info("fetched %s bytes of feed %s", f"{manifest.raw_bytes:,}", feed.slug)
    return False


def _turn(pipeline: PipelineResources, server: str | None) -> AbstractContextManager[None]:
    """Let no other worker ask the server for a feed meanwhile."""
    return nullcontext() if server is None else pipeline.gate.alone(f"feed request to {server}")


def _known_feed(
    pipeline: PipelineResources, work: ClaimedPartition, feed: Feed
) -> KnownFeed | None:
    """Return the bytes that a conditional request may name."""
    if not is_http(feed.location) or feed.pages is not None:
        return None
    return pipeline.lake.known_feed(feed.location_on(work.day), feed.digest)


def _known(stored: KnownFeed) -> "Known":
    from ingestion_pipeline.sources.feed.acquire import Known
    from ingestion_pipeline.sources.feed.fetch import Validators

    validators = Validators(stored.etag, stored.last_modified)
    return Known(sha256=stored.part.sha256, validators=validators, as_of=stored.as_of)


def _unchanged(stored: KnownFeed, answer: "NotModified") -> Part:
    """Return the part of bytes that the server calls unchanged; its query says so."""
    conditions = {"If-None-Match": stored.etag, "If-Modified-Since": stored.last_modified}
    named = "; ".join(f"{name}: {value}" for name, value in conditions.items() if value is not None)
    return replace(
        stored.part,
        query=f"{named}; answered 304 Not Modified: the bytes of "
        f"{stored.part.received_at:%Y-%m-%dT%H:%M:%SZ}",
        requested_at=answer.requested_at,
        received_at=answer.received_at,
    )


def _keep_known(
    pipeline: PipelineResources,
    work: ClaimedPartition,
    feed: Feed,
    acquired: "FeedAcquisition",
    part: Part,
) -> None:
    """Record the bytes for a conditional request, if the server gave validators."""
    validators = acquired.fetched.validators
    if validators.etag is None and validators.last_modified is None:
        return
    known = KnownFeed(
        part, validators.etag, validators.last_modified, as_of=acquired.evidence.as_of
    )
    pipeline.lake.record_feed(feed.location_on(work.day), feed.digest, known)


@contextmanager
def _contained(feed: Feed) -> Iterator[None]:
    """Convert unexpected errors to `FeedUnreadable`, so that a bug affects only this feed.

    Raises:
        FeedUnreadable: An unexpected error occurred.
    """
    try:
        yield
    except IngestionError:
        raise
    except Exception as error:  # noqa: BLE001 - a bug must not stop the other feeds
        raise FeedUnreadable(
            f"{feed.public_location}: feed {feed.slug} was not understood, by a fault of ours "
            f"({described(error)}); report it, with the feed's bytes"
        ) from None


def _key(work: ClaimedPartition, feed: Feed) -> tuple[str, str, str, date]:
    """Return the key of a feed's day in the lake."""
    return feed.dataset, work.city.slug, work.city.boundary_key, work.day
