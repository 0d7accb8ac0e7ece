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
from ingestion_pipeline.sources.feed.documents import parsed
from ingestion_pipeline.sources.feed.errors import (
    FeedNotConfigured,
    FeedNotOfDay,
    FeedStale,
    FeedWithoutTime,
)
from ingestion_pipeline.sources.feed.fetch import PATIENCE, NotModified, fetch, fetch_metadata
from ingestion_pipeline.sources.feed.records import read_records
from ingestion_pipeline.sources.feed.times import time_of_document, time_of_records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date
    from pathlib import Path

    import httpx
    from pydantic import SecretStr

    from ingestion_pipeline.config.feeds import Feed
    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.sources.feed.fetch import Fetched, Patience, Validators

CLOCK_TOLERANCE = timedelta(minutes=10)
"""How far a publisher's clock may be ahead of this machine's."""


@dataclass(frozen=True)
class Known:
    """The bytes of a feed that the caller has from an earlier request of the same location.

    Attributes:
        sha256: Their digest.
        validators: The validators of the response that brought them.
        as_of: The time of their data (UTC).
    """

    sha256: str
    validators: Validators
    as_of: datetime


@dataclass(frozen=True)
class FeedAcquisition:
    """Raw bytes of a feed that passed every check, with their evidence.

    Attributes:
        fetched: The bytes, their digest and origin, and when they were fetched; or the answer that
            the known bytes are still the feed's.
        evidence: The time of the data, and its origin.
    """

    fetched: Fetched | NotModified
    evidence: SnapshotEvidence


def acquire(
    feed: Feed,
    day: date,
    *,
    http: httpx.Client,
    clock: Clock,
    workdir: Path,
    patience: Patience = PATIENCE,
    secrets: Mapping[str, SecretStr] | None = None,
    known: Known | None = None,
) -> FeedAcquisition:
    """Fetch a feed and check that it can be staged for `day`.

    Args:
        feed: The feed.
        day: The UTC day to stage.
        http: Sends requests.
        clock: The current time.
        workdir: An empty folder for the bytes.
        patience: Timeouts.
        secrets: The secrets that `headers` of the feed names.
        known: Bytes that need not be fetched again if the server says that they are unchanged.

    Raises:
        FeedError: See `sources/feed/errors.py`.
    """
    _require_current(feed, day, clock.now())
    headers = _secret_headers(feed, secrets or {})
    if known is not None and not _is_expected(known, feed):
        known = None
    fetched = fetch(
        feed,
        day,
        http=http,
        clock=clock,
        workdir=workdir,
        patience=patience,
        headers=headers,
        known=known.validators if known is not None else None,
    )

    def metadata() -> bytes:
        return fetch_metadata(
            feed, day, http=http, clock=clock, workdir=workdir, patience=patience, headers=headers
        )

    as_of = _time_of(feed, day, fetched, known, metadata)
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


def _is_expected(known: Known, feed: Feed) -> bool:
    """Return whether known bytes have the digest and ETag that the cities file requires."""
    return feed.sha256 in (None, known.sha256) and feed.etag in (None, known.validators.etag)


def _secret_headers(feed: Feed, secrets: Mapping[str, SecretStr]) -> dict[str, str]:
    headers = {}
    for name, secret in feed.headers.items():
        if secret not in secrets:
            raise FeedNotConfigured(
                f"{feed.public_location}: feed {feed.slug} needs the secret {secret!r} for its "
                f"header {name}. Set the environment variable FEED_SECRET__{secret.upper()}."
            )
        headers[name] = secrets[secret].get_secret_value().strip()
    return headers


def _require_current(feed: Feed, day: date, now: datetime) -> None:
    """Reject a past day for a feed whose publisher gives no time, before it is fetched."""
    if feed.as_of.source == "fetched" and day != now.date():
        raise FeedNotOfDay(
            f"{feed.public_location}: feed {feed.slug} has no time of its own (as_of is "
            f'"fetched"), so it can be staged for the current day only, {now.date()}, and not for '
            f"{day}. A past day needs another as_of, or the snapshot stored on that day."
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


def _time_of(
    feed: Feed,
    day: date,
    fetched: Fetched | NotModified,
    known: Known | None,
    metadata: Callable[[], bytes],
) -> datetime:
    source = feed.as_of.source
    if source == "day_in_location":
        return datetime.combine(day, time.min, UTC)
    if source == "fetched":
        return fetched.received_at
    if source == "metadata":
        return time_of_document(parsed(metadata(), feed), feed)
    if source == "last_modified":
        stated = fetched.validators.last_modified
        if stated is None and known is not None and isinstance(fetched, NotModified):
            stated = known.validators.last_modified
        return _http_date(stated, fetched.location, feed)
    if isinstance(fetched, NotModified):
        assert known is not None
        return known.as_of
    return time_of_records(read_records(fetched.path, feed), feed)


def _http_date(stated: str | None, location: str, feed: Feed) -> datetime:
    try:
        moment = parsedate_to_datetime(stated or "")
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise FeedWithoutTime(
            f"{location}: feed {feed.slug} has no valid header Last-Modified. Set as_of to a "
            "field, a member of the document or of metadata, or the day in the location; or to "
            '"fetched", for the current day only.'
        ) from None
