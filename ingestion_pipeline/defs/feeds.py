"""A city's feeds on a day: their bytes, and the slices that are made of them.

Belongs here: that a feed which fails leaves the others alone, and how its last good version stands
for the day. Does not belong here: what a feed is, and everything that can be wrong with one
(`helpers/`).

What a feed gives for a day is in the lake: its bytes with a manifest, or the word of why there are
none. So the step that stages needs nothing of the step that fetched.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ingestion_pipeline.cities import City
from ingestion_pipeline.datasets import HELPER
from ingestion_pipeline.defs.resources import Workshop
from ingestion_pipeline.defs.work import Work
from ingestion_pipeline.hashing import code_digest, digest
from ingestion_pipeline.helpers.errors import FeedError
from ingestion_pipeline.helpers.feeds import Feed, judge_by_kind
from ingestion_pipeline.lake.errors import SnapshotDamaged
from ingestion_pipeline.lake.snapshots import Failure, Manifest
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.days import Slice, staged_days
from ingestion_pipeline.staging.slices import RejectedObject, SliceEvidence, SliceInput

if TYPE_CHECKING:
    import httpx
    import pyarrow as pa

    from ingestion_pipeline.helpers.acquire import FeedAcquisition
    from ingestion_pipeline.osm.boundary import Boundary

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeedOfDay:
    """What a feed gives for a day.

    Attributes:
        feed: The feed.
        manifest: Of the bytes that stand for the day: its own, or those of its last good day.
        failure: Why they are not its own, or why there are none.
        last_good: How many places its last good day had, if there is one.
    """

    feed: Feed
    manifest: Manifest | None
    failure: Failure | None
    last_good: int | None

    @property
    def is_fresh(self) -> bool:
        """Whether the bytes are the day's own."""
        return self.manifest is not None and self.failure is None


def take_feeds(workshop: Workshop, work: Work) -> None:
    """Give each of the city's feeds its bytes of the day, or the word of why there are none.

    Those that are stored are taken, unless upstream is to be asked again.
    """
    if not work.city.feeds:
        return
    import httpx

    barred = _barred(work.city)
    with httpx.Client() as http:
        for feed in work.city.feeds:
            if feed.slug in barred:
                log.warning("feed %s is not asked for: %s", feed.slug, barred[feed.slug])
            elif work.claim.refetch or _stored(workshop, work, feed) is None:
                _take(workshop, work, feed, http)


def feeds_of_day(workshop: Workshop, work: Work) -> list[FeedOfDay]:
    """Tell what each of the city's feeds gives for the day; nothing, where its licence forbids."""
    barred = _barred(work.city)
    return [
        FeedOfDay(feed, manifest=None, failure=barred[feed.slug], last_good=None)
        if feed.slug in barred
        else _of_day(workshop, work, feed)
        for feed in work.city.feeds
    ]


def evidence_of_feed(work: Work, given: FeedOfDay, *, beside: SliceEvidence) -> SliceEvidence:
    """Give the evidence of the rows that are made of a feed's bytes.

    Args:
        work: The city-day.
        given: What the feed gives; its manifest is there.
        beside: The evidence of the rows of OpenStreetMap, to which the feed's are linked.
    """
    manifest, feed, city = given.manifest, given.feed, work.city
    assert manifest is not None
    rules = HELPER.rules_version()
    return SliceEvidence(
        boundary_ref=city.boundary_key,
        as_of=manifest.as_of,
        as_of_source=manifest.as_of_source,
        obtained=manifest.obtained,
        location=manifest.location,
        digest=manifest.digest,
        rules_version=rules,
        licence=manifest.licence,
        attribution=manifest.attribution,
        inputs_digest=digest(
            [
                *(manifest.digest, rules, beside.inputs_digest, feed.digest),
                *(code_digest(package) for package in HELPER.code),
                version("rapidfuzz"),
            ]
        ),
        stale_reason=None if given.failure is None else str(given.failure),
    )


def slices_of_feeds(
    workshop: Workshop,
    work: Work,
    given: Sequence[FeedOfDay],
    *,
    boundary: "Boundary",
    osm: "pa.Table",
    beside: SliceEvidence,
) -> Iterator[SliceInput]:
    """Make the slices of those feeds that have bytes, each linked to the places of OpenStreetMap.

    A feed whose own bytes cannot be understood has its last good version.
    """
    for each in given:
        found = _slice_of(workshop, work, each, boundary=boundary, osm=osm, beside=beside)
        if found is not None:
            yield found


def _barred(city: City) -> dict[str, Failure]:
    """Say which feeds may not stand beside the others in one database, and by which rule."""
    from ingestion_pipeline.osm.features import LICENCE

    verdicts = judge_by_kind(city.feeds, others=(LICENCE,))
    barred = {}
    for feed in city.feeds:
        rules = {
            f"{finding.rule}: {finding.why}": kind
            for kind in sorted(feed.all_kinds)
            for finding in verdicts[kind].findings
            if feed.licence in finding.licences
        }
        if rules:
            barred[feed.slug] = Failure("licence_conflict", "; ".join(rules))
    return barred


def _slice_of(
    workshop: Workshop,
    work: Work,
    given: FeedOfDay,
    *,
    boundary: "Boundary",
    osm: "pa.Table",
    beside: SliceEvidence,
) -> SliceInput | None:
    from ingestion_pipeline.helpers.link import link
    from ingestion_pipeline.helpers.read_feed import read_feed
    from ingestion_pipeline.text.names import Namer

    manifest, city = given.manifest, work.city
    if manifest is None:
        return None
    try:
        with TemporaryDirectory(prefix="ingestion-") as folder:
            places = read_feed(
                workshop.lake.restore(manifest.parts[0], Path(folder)),
                given.feed,
                bbox=city.bbox,
                boundary=boundary,
                namer=Namer(city.languages, city.local_language),
                last_good=given.last_good if given.is_fresh else None,
            )
    except FeedError as error:
        if not given.is_fresh:
            log.warning("%s; its last good version cannot be read either", given.feed.source)
            return None
        runs.require(workshop.engine, work.claim)
        workshop.lake.refuse(manifest)
        failure = _keep_failure(workshop, work, given.feed, error)
        last_good = _last_good(workshop, work, given.feed, failure)
        return _slice_of(workshop, work, last_good, boundary=boundary, osm=osm, beside=beside)
    if given.is_fresh:
        runs.require(workshop.engine, work.claim)
        workshop.lake.accept(manifest)
    return SliceInput(
        target=Slice(city.slug, HELPER.name, given.feed.source, work.day),
        rows=link(places.table, osm),
        rejections=[RejectedObject(**vars(rejection)) for rejection in places.rejections],
        evidence=evidence_of_feed(work, given, beside=beside),
    )


def _of_day(workshop: Workshop, work: Work, feed: Feed) -> FeedOfDay:
    manifest = _stored(workshop, work, feed)
    if manifest is not None:
        return replace(_last_good(workshop, work, feed, None), manifest=manifest)
    failure = workshop.lake.failure(*_key(work, feed))
    return _last_good(workshop, work, feed, failure or _NOT_TAKEN)


_NOT_TAKEN = Failure("feed_not_taken", "the feed was not asked for; materialize helper_snapshot")


def _last_good(workshop: Workshop, work: Work, feed: Feed, failure: Failure | None) -> FeedOfDay:
    """Give a feed's last version before the day that was good, if there is one."""
    given = FeedOfDay(feed, manifest=None, failure=failure, last_good=None)
    city = work.city
    staged = staged_days(workshop.engine, city.slug, dataset=HELPER.name, source=feed.source)
    good = [day for day, row in staged.items() if day < work.day and row["stale_reason"] is None]
    if not good:
        return given
    last = max(good)
    return replace(
        given,
        manifest=_stored(workshop, replace(work, day=last), feed),
        last_good=staged[last]["rows"],
    )


def _stored(workshop: Workshop, work: Work, feed: Feed) -> Manifest | None:
    try:
        return workshop.lake.manifest(*_key(work, feed))
    except SnapshotDamaged as error:
        log.warning("%s", error)
        return None


def _take(workshop: Workshop, work: Work, feed: Feed, http: "httpx.Client") -> None:
    from ingestion_pipeline.helpers.acquire import FeedAcquisition, acquire

    try:
        with TemporaryDirectory(prefix="ingestion-") as folder:
            acquired = acquire(
                feed, work.day, http=http, clock=workshop.clock, workdir=Path(folder)
            )
            assert isinstance(acquired, FeedAcquisition)  # nothing is said to be known
            manifest = _manifest_of(acquired, workshop, work, feed)
    except FeedError as error:
        runs.require(workshop.engine, work.claim)
        _keep_failure(workshop, work, feed, error)
        return
    runs.require(workshop.engine, work.claim)
    workshop.lake.propose(manifest)
    log.info("fetched %s bytes of feed %s", f"{manifest.raw_bytes:,}", feed.slug)


def _keep_failure(workshop: Workshop, work: Work, feed: Feed, error: FeedError) -> Failure:
    log.warning("%s (%s); the other sources are staged without it", error, error.code)
    failure = Failure(error.code, str(error))
    workshop.lake.keep_failure(*_key(work, feed), failure)
    return failure


def _dataset(feed: Feed) -> str:
    """Name the folder of a feed's snapshots."""
    return f"feed-{feed.slug}"


def _key(work: Work, feed: Feed) -> tuple[str, str, str, date]:
    """Say by what the lake knows a feed's day."""
    return _dataset(feed), work.city.slug, work.city.boundary_key, work.day


def _manifest_of(
    acquired: "FeedAcquisition", workshop: Workshop, work: Work, feed: Feed
) -> Manifest:
    fetched = acquired.fetched
    return Manifest(
        dataset=_dataset(feed),
        city_slug=work.city.slug,
        boundary_ref=work.city.boundary_key,
        day=work.day,
        as_of=acquired.as_of,
        as_of_source=acquired.as_of_source,
        obtained="feed",
        location=fetched.location,
        bbox=work.city.bbox,
        selection="",
        licence=acquired.licence,
        attribution=acquired.attribution,
        parts=(
            workshop.lake.store(
                fetched.path,
                query=None,
                requested_at=fetched.requested_at,
                received_at=fetched.received_at,
            ),
        ),
    )
