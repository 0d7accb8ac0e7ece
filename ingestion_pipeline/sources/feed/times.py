"""The time that a feed's records or documents state."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.config.feeds import EPOCHS
from ingestion_pipeline.core.json_paths import value_at
from ingestion_pipeline.sources.feed.errors import FeedWithoutTime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingestion_pipeline.config.feeds import Feed
    from ingestion_pipeline.sources.feed.records import Records

_DAY_FIRST = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2\d{4}\b")
_EPOCH_DIGITS = {9: "epoch", 10: "epoch", 12: "epoch_ms", 13: "epoch_ms"}
_LAST_MONTH = 12


def time_of_records(records: Records, feed: Feed) -> datetime:
    """Return the time (UTC) that the records or their document state.

    Raises:
        FeedWithoutTime: They state none in the feed's `time_format`.
    """
    if feed.as_of.source == "document":
        return time_of_document(records.document, feed)
    return _latest([values.get(feed.as_of.name) for values in records.values], feed)


def time_of_document(document: object, feed: Feed) -> datetime:
    """Return the time (UTC) in a member of a document.

    Raises:
        FeedWithoutTime: It has none in the feed's `time_format`.
    """
    stated = value_at(document, feed.as_of.name)
    return _latest(stated if isinstance(stated, list) else [stated], feed)


def _latest(stated: Sequence[object], feed: Feed) -> datetime:
    known = [moment for moment in (_moment(each, feed) for each in stated) if moment is not None]
    if not known:
        given = [each for each in stated if each not in (None, "")]
        form = feed.time_format or "ISO 8601, such as 2026-11-20 or 2026-11-20T09:30:00Z"
        found = f"; found {str(given[0])[:40]!r}" if given else ""
        raise FeedWithoutTime(
            f"{feed.public_location}: {feed.as_of.name!r} of feed {feed.slug} is not a time "
            f"({form}){found}. {advice_on_time(given)}"
        )
    return max(known)


def advice_on_time(given: Sequence[object]) -> str:
    """Return what to do about values that are not times: the `time_format` that reads them."""
    if not given:
        return "Correct the feed's as_of."
    text = str(given[0]).strip()
    epoch = _EPOCH_DIGITS.get(len(text.partition(".")[0])) if text[:1].isdecimal() else None
    if epoch is not None and text.replace(".", "", 1).isdecimal():
        return f'Set time_format = "{epoch}".'
    dates = [match for match in map(_DAY_FIRST.match, map(str, given)) if match]
    if dates:
        month_first = any(int(match[3]) > _LAST_MONTH for match in dates)
        mark = dates[0][2]
        parts = ("%m", "%d", "%Y") if month_first else ("%d", "%m", "%Y")
        rest = "" if dates[0][0] == text else ", and directives for the rest of it"
        return f'Set time_format = "{mark.join(parts)}"{rest}.'
    return "Set the feed's time_format, or correct its as_of."


def _moment(stated: Any, feed: Feed) -> datetime | None:
    """Return a time in UTC; a date is its first moment, and a time without an offset is UTC."""
    try:
        per_second = EPOCHS.get(feed.time_format or "")
        if per_second is not None:
            if isinstance(stated, bool):
                return None
            return datetime.fromtimestamp(float(stated) / per_second, UTC)
        if not isinstance(stated, str):
            return None
        if feed.time_format is None:
            moment = datetime.fromisoformat(stated.strip())
        else:
            moment = datetime.strptime(stated.strip(), feed.time_format)  # noqa: DTZ007
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        return None
