"""A feed's raw bytes for a day, with the evidence of when they were true.

Belongs here: the evidence, and which data of a feed may stand for which day. Does not belong here:
how the bytes come (`fetch.py`) and what they say (`read_feed.py`).

A day D takes a feed whose data is of a moment before the end of D (and not of the future), and at
the end of D, or now, no older than the feed allows. Feeds change seldom, so the moment may lie
before D; the slice's `as_of` tells it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from ingestion_pipeline.sources.feed.errors import FeedNotOfDay, FeedStale, FeedWithoutTime
from ingestion_pipeline.sources.feed.fetch import PATIENCE, fetch
from ingestion_pipeline.sources.feed.records import read_records, time_of_records

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    import httpx

    from ingestion_pipeline.config.feeds import AsOfSource, Feed
    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.sources.feed.fetch import Fetched, Patience

CLOCK_TOLERANCE = timedelta(minutes=10)
"""How far a publisher's clock may be ahead of ours."""


@dataclass(frozen=True)
class FeedAcquisition:
    """Raw bytes of a feed that passed every check, with their evidence.

    Attributes:
        fetched: The bytes, their digest, where they are from, and when they came.
        as_of: The moment (UTC) whose state they show.
        as_of_source: How that is known.
        obtained: How they were had.
        licence: SPDX identifier.
        attribution: The text that a product must show.
    """

    fetched: Fetched
    as_of: datetime
    as_of_source: AsOfSource
    licence: str
    attribution: str
    obtained: str = "feed"


def acquire(
    feed: Feed,
    day: date,
    *,
    http: httpx.Client,
    clock: Clock,
    workdir: Path,
    patience: Patience = PATIENCE,
) -> FeedAcquisition:
    """Bring a feed's bytes to this machine and prove that they may stand for `day`.

    Args:
        feed: The feed.
        day: The UTC day that the data would stand for.
        http: Sends requests.
        clock: Tells the time.
        workdir: An empty folder for the bytes.
        patience: How long to wait.

    Raises:
        FeedError: See `sources/feed/errors.py`.
    """
    fetched = fetch(feed, day, http=http, clock=clock, workdir=workdir, patience=patience)
    as_of = _time_of(feed, day, fetched)
    require_usable(feed, day, as_of=as_of, now=fetched.received_at)
    return FeedAcquisition(
        fetched=fetched,
        as_of=as_of,
        as_of_source=feed.as_of.source,
        licence=feed.licence,
        attribution=feed.attribution,
    )


def require_usable(feed: Feed, day: date, *, as_of: datetime, now: datetime) -> None:
    """Refuse a feed's data that may not stand for a day.

    Args:
        feed: The feed.
        day: The UTC day.
        as_of: The moment (UTC, aware) whose state the data shows.
        now: The current moment (UTC, aware).

    Raises:
        FeedNotOfDay: It is later than the day, or than now.
        FeedStale: It is older than the feed allows.
    """
    end = datetime.combine(day, time.min, UTC) + timedelta(days=1)
    stated = f"{as_of:%Y-%m-%dT%H:%M:%SZ}"
    if as_of > now + CLOCK_TOLERANCE:
        raise FeedNotOfDay(
            f"{feed.public_location}: feed {feed.slug} says that it is of {stated}, and it is only "
            f"{now:%Y-%m-%dT%H:%M:%SZ}; ask the publisher, or correct the feed's as_of"
        )
    if as_of >= end:
        raise FeedNotOfDay(
            f"{feed.public_location}: feed {feed.slug} is of {stated}, after the end of {day}; a "
            "past day is staged only from what was published then: a dated location (with {day}), "
            "or the snapshot stored on that day"
        )
    age = min(now, end) - as_of
    if age > feed.maximum_age:
        raise FeedStale(
            f"{feed.public_location}: feed {feed.slug} is of {stated}, {age.days} days old on "
            f"{day}, and {feed.maximum_age_days} are allowed; ask the publisher, or raise the "
            "feed's maximum_age_days"
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
            f"{fetched.location} gives feed {feed.slug} without a header Last-Modified that can be "
            "read; let as_of be a field, a member of the document, or the day in the location"
        ) from None
