"""Raw bytes of a feed for a day, with the evidence of their date.

A day D accepts a feed whose data is dated before the end of D (and not in the future), and which is
at the end of D, or now, not older than the feed allows. Feeds change seldom, so the data may be
older than D; the slice's `as_of` records its date.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from ingestion_pipeline.core.evidence import SnapshotEvidence
from ingestion_pipeline.sources.feed.errors import FeedNotOfDay, FeedStale, FeedWithoutTime
from ingestion_pipeline.sources.feed.fetch import PATIENCE, fetch
from ingestion_pipeline.sources.feed.records import read_records, time_of_records

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    import httpx

    from ingestion_pipeline.config.feeds import Feed
    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.sources.feed.fetch import Fetched, Patience

CLOCK_TOLERANCE = timedelta(minutes=10)
"""How far a publisher's clock may be ahead of this machine's."""


@dataclass(frozen=True)
class FeedAcquisition:
    """Raw bytes of a feed that passed every check, with their evidence.

    Attributes:
        fetched: The bytes, their digest and origin, and when they were fetched.
        evidence: The time of the data, and its origin.
    """

    fetched: Fetched
    evidence: SnapshotEvidence


def acquire(
    feed: Feed,
    day: date,
    *,
    http: httpx.Client,
    clock: Clock,
    workdir: Path,
    patience: Patience = PATIENCE,
) -> FeedAcquisition:
    """Fetch a feed and check that it can be staged for `day`.

    Args:
        feed: The feed.
        day: The UTC day to stage.
        http: Sends requests.
        clock: The current time.
        workdir: An empty folder for the bytes.
        patience: Timeouts.

    Raises:
        FeedError: See `sources/feed/errors.py`.
    """
    fetched = fetch(feed, day, http=http, clock=clock, workdir=workdir, patience=patience)
    as_of = _time_of(feed, day, fetched)
    require_usable(feed, day, as_of=as_of, now=fetched.received_at)
    return FeedAcquisition(
        fetched=fetched,
        evidence=SnapshotEvidence(
            as_of=as_of,
            as_of_source=feed.as_of.source,
            obtained="feed",
            location=fetched.location,
            licence=feed.licence,
            attribution=feed.attribution,
        ),
    )


def require_usable(feed: Feed, day: date, *, as_of: datetime, now: datetime) -> None:
    """Check that a feed's data can be staged for a day.

    Args:
        feed: The feed.
        day: The UTC day.
        as_of: The time (UTC, aware) of the data.
        now: The current time (UTC, aware).

    Raises:
        FeedNotOfDay: It is later than the day, or in the future.
        FeedStale: It is older than the feed allows.
    """
    end = datetime.combine(day, time.min, UTC) + timedelta(days=1)
    stated = f"{as_of:%Y-%m-%dT%H:%M:%SZ}"
    if as_of > now + CLOCK_TOLERANCE:
        raise FeedNotOfDay(
            f"{feed.public_location}: feed {feed.slug} is dated {stated}, after the current time "
            f"{now:%Y-%m-%dT%H:%M:%SZ}. Correct the feed's as_of, or ask the publisher."
        )
    if as_of >= end:
        raise FeedNotOfDay(
            f"{feed.public_location}: feed {feed.slug} is dated {stated}, after the end of {day}. "
            "A past day needs data published by then: a dated location (with {day}), or the "
            "snapshot stored on that day."
        )
    age = min(now, end) - as_of
    if age > feed.maximum_age:
        raise FeedStale(
            f"{feed.public_location}: feed {feed.slug} is dated {stated}, {age.days} days old on "
            f"{day}, and {feed.maximum_age_days} are allowed. Ask the publisher, or raise the "
            "feed's maximum_age_days."
        )


def _time_of(feed: Feed, day: date, fetched: Fetched) -> datetime:
    if feed.as_of.source == "day_in_location":
        return datetime.combine(day, time.min, UTC)
    if feed.as_of.source != "last_modified":
        return time_of_records(read_records(fetched.path, feed), feed)
    stated = fetched.validators.last_modified
    try:
        moment = parsedate_to_datetime(stated or "")
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise FeedWithoutTime(
            f"{fetched.location}: feed {feed.slug} has no valid header Last-Modified. Set as_of "
            "to a field, a member of the document, or the day in the location."
        ) from None
