"""A city's feeds on a day: their bytes, and the slices that are made of them.

Belongs here: that a feed which fails leaves the others alone, and how its last good version stands
for the day. Does not belong here: what a feed is, and everything that can be wrong with one
(`helpers/`).

What a feed gives for a day is in the lake: its bytes with a manifest, and the word of why it gave
none when it was last asked. So the step that stages needs nothing of the step that fetched.

The rows of a feed's day are made of the first of these that can be read:

1. its new bytes, which also have to be as many places as its last good version let expect;
2. the bytes that stood for the day already;
3. those of its last good day before; then the slice is stale, and says why.

Where the day is staged from bytes of its own and none of these can be read any more, its slice
stays as it is. Nothing later than the day ever stands for it.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from ingestion_pipeline.config.cities import City
from ingestion_pipeline.config.feeds import Feed
from ingestion_pipeline.core.errors import IngestionError, described
from ingestion_pipeline.core.evidence import SliceEvidence
from ingestion_pipeline.core.frame import Frame
from ingestion_pipeline.datasets.helper import HELPER
from ingestion_pipeline.datasets.provenance import evidence_of_feed, judged_beside_osm
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.defs.snapshots import manifest_of, store_part
from ingestion_pipeline.defs.work import ClaimedPartition
from ingestion_pipeline.lake.errors import SnapshotDamaged
from ingestion_pipeline.lake.scratch import scratch_folder
from ingestion_pipeline.lake.snapshots import Failure, Manifest
from ingestion_pipeline.sources.base import RawPart
from ingestion_pipeline.sources.feed.errors import (
    FeedError,
    FeedNotTaken,
    FeedUnreadable,
    LicenceConflict,
    may_pass,
)
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.days import staged_days
from ingestion_pipeline.staging.slices import SliceInput

if TYPE_CHECKING:
    import httpx


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeedOfDay:
    """What a feed gives for a day.

    Attributes:
        feed: The feed.
        day: The UTC day.
        manifest: Of the bytes that its rows are made of; None where none are made.
        failure: What was wrong when it was last asked, or with its bytes.
        is_candidate: Whether the bytes are new, and have not been read yet.
        last_good: Of new bytes: how many places its last good version had, if there is one.
    """

    feed: Feed
    day: date
    manifest: Manifest | None = None
    failure: Failure | None = None
    is_candidate: bool = False
    last_good: int | None = None

    @property
    def is_own(self) -> bool:
        """Whether the bytes are the day's own."""
        return self.manifest is not None and self.manifest.day == self.day

    @property
    def stale_reason(self) -> str | None:
        """Why the bytes are those of an earlier day; None where they are the day's own."""
        return None if self.is_own else str(self.failure)

    def evidence(self, city: City, *, beside: SliceEvidence) -> SliceEvidence:
        """Give the evidence of the rows that are made of the bytes, which are there.

        Args:
            city: The city.
            beside: The evidence of the rows of OpenStreetMap, to which the feed's are linked.
        """
        assert self.manifest is not None
        evidence = evidence_of_feed(city, self.feed, self.manifest, beside=beside)
        return replace(evidence, stale_reason=self.stale_reason)


def take_feeds(pipeline: PipelineResources, work: ClaimedPartition, *, retry_number: int) -> None:
    """Give each of the city's feeds its bytes of the day, or the word of why there are none.

    Those that are stored are taken, unless upstream is to be asked again. A failure is not
    remembered: a feed without bytes is asked in every run. One that may answer later is asked once
    more, in a retry of the step: while that waits, it holds no place in the pool.

    Args:
        pipeline: The resources.
        work: The city-day.
        retry_number: How many times the step was tried again already.

    Raises:
        dagster.RetryRequested: A feed is to be asked once more.
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
    """Return whether the run still has to ask a feed, which it has asked some times."""
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
    """Note that the run has asked a feed: its step may be tried again for another reason."""
    run_id = work.claim.dagster_run_id
    pipeline.lake.record_request_count(*_key(work, feed), run_id=run_id, times=times)


def feeds_of_day(pipeline: PipelineResources, work: ClaimedPartition) -> list[FeedOfDay]:
    """Tell what each of the city's feeds gives for the day; nothing, where its licence forbids."""
    barred = _barred(work.city)
    return [
        FeedOfDay(feed, work.day, failure=barred[feed.slug])
        if feed.slug in barred
        else _of_day(pipeline, work, feed)
        for feed in work.city.feeds
    ]


def failures_of(given: Sequence[FeedOfDay]) -> dict[str, str]:
    """Tell for the ledger which sources failed, and why."""
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
    """Make the slices of those feeds that have bytes, each linked to the places of OpenStreetMap.

    Args:
        pipeline: The resources.
        work: The city-day.
        given: What each feed gives, as far as is known before its bytes are read.
        frame: The day's places of OpenStreetMap.
        beside: Their evidence, with what was found of them.
        reason: Why an operator accepts the day, if one does: a feed with far fewer places than
            before too.

    Returns:
        What each feed gives now that its bytes were read; and the slices, of which a feed has one
        or none.
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
    """Say which feeds may not stand beside OpenStreetMap in one database, and by which rule."""
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
            )
            rows = link(places.table, frame.rows)
    if given.is_own:
        runs.require(pipeline.engine, work.claim)
        pipeline.lake.accept(manifest)
    accepted = reason if has_shrunken(rows.num_rows, given.last_good) else None
    return SliceInput(
        target=replace(HELPER.slice_of(city.slug, work.day), source=feed.source),
        rows=rows,
        rejections=places.rejections,
        evidence=replace(given.evidence(city, beside=beside), accepted_reason=accepted),
    )


def _next_best(
    pipeline: PipelineResources,
    work: ClaimedPartition,
    given: FeedOfDay,
    error: FeedError | SnapshotDamaged,
) -> FeedOfDay:
    """Give what stands for the day in the place of bytes that cannot be read."""
    assert given.manifest is not None
    log.warning("%s (%s); the other sources are staged without it", error, error.code)
    if not given.is_own:
        return replace(given, manifest=None)  # what failed on the day is still the reason
    failure = Failure(error.code, str(error))
    if given.is_candidate:
        runs.require(pipeline.engine, work.claim)
        pipeline.lake.quarantine(given.manifest)
        pipeline.lake.record_failure(*_key(work, given.feed), failure)
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
    """Give a feed's last good version before the day, if the day has no good one of its own."""
    good = _good_days(pipeline, work, feed)
    if not good or work.day in good:
        return FeedOfDay(feed, work.day, failure=failure)
    manifest = _standing(pipeline, replace(work, day=max(good)), feed)
    return FeedOfDay(feed, work.day, manifest, failure)


def _good_days(pipeline: PipelineResources, work: ClaimedPartition, feed: Feed) -> dict[date, int]:
    """Count a feed's places on the days up to this one on which it did not fail."""
    city = work.city
    staged = staged_days(pipeline.engine, city.slug, dataset=HELPER.name, source=feed.source)
    return {
        day: row["rows"]
        for day, row in staged.items()
        if day <= work.day
        and row["stale_reason"] is None
        and row["boundary_ref"] == city.boundary_key
    }


def _stored(pipeline: PipelineResources, work: ClaimedPartition, feed: Feed) -> Manifest | None:
    """Give what a feed has for the day: new bytes on trial, or else those that stand."""
    return _as_asked(pipeline.lake.manifest, work, feed)


def _standing(pipeline: PipelineResources, work: ClaimedPartition, feed: Feed) -> Manifest | None:
    """Give what stands for the day: bytes that were understood once."""
    return _as_asked(pipeline.lake.accepted, work, feed)


def _as_asked(
    manifest_of: Callable[[str, str, str, date], Manifest | None],
    work: ClaimedPartition,
    feed: Feed,
) -> Manifest | None:
    """Give a day's manifest, if it is of what the cities file asks for now."""
    try:
        manifest = manifest_of(*_key(work, feed))
    except SnapshotDamaged as error:
        log.warning("%s", error)
        return None
    return manifest if manifest is not None and manifest.selection == feed.asks else None


def _take(
    pipeline: PipelineResources, work: ClaimedPartition, feed: Feed, http: "httpx.Client"
) -> bool:
    """Ask for a feed once; tell whether it failed in a way that may pass."""
    from ingestion_pipeline.sources.feed.acquire import acquire

    try:
        with scratch_folder() as folder:
            with _contained(feed):
                acquired = acquire(feed, work.day, http=http, clock=pipeline.clock, workdir=folder)
            fetched = acquired.fetched
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
    log.info("fetched %s bytes of feed %s", f"{manifest.raw_bytes:,}", feed.slug)
    return False


@contextmanager
def _contained(feed: Feed) -> Iterator[None]:
    """Let bytes that bring a fault of ours to light be the failure of that feed alone.

    Raises:
        FeedUnreadable: It was no error that we know.
    """
    try:
        yield
    except IngestionError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a feed brings to light is its own failure
        raise FeedUnreadable(
            f"{feed.public_location}: feed {feed.slug} was not understood, by a fault of ours "
            f"({described(error)}); report it, with the feed's bytes"
        ) from None


def _key(work: ClaimedPartition, feed: Feed) -> tuple[str, str, str, date]:
    """Say by what the lake knows a feed's day."""
    return feed.dataset, work.city.slug, work.city.boundary_key, work.day
