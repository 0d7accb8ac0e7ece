"""Rules for the date of data: which snapshot can be staged for which day.

All days are UTC. A past day D accepts only data whose state is in D: from D 00:00:00 up to and
including D+1 00:00:00 (a dump "of the end of D" has the first moment of D+1). The current day
accepts the newest data if it is not older than the city allows, so the data may show the evening
before; `as_of` records it. Data from the future is always rejected, because a clock is wrong.
"""

from datetime import UTC, date, datetime, time, timedelta

from ingestion_pipeline.osm.errors import (
    FutureDay,
    NoEvidenceForDay,
    StaleUpstream,
    TooFewPois,
)

CLOCK_TOLERANCE = timedelta(minutes=10)
"""How far an upstream clock may be ahead of this machine's."""


def is_current(day: date, now: datetime) -> bool:
    """Return whether `day` is the current UTC day.

    Raises:
        FutureDay: The day has not begun.
    """
    today = now.astimezone(UTC).date()
    if day > today:
        raise FutureDay(
            f"{day} has not begun (the current day is {today} UTC). Stage it when it has begun in "
            "UTC."
        )
    return day == today


def require_true_on(
    day: date, *, as_of: datetime, now: datetime, maximum_age: timedelta, origin: str
) -> None:
    """Check that data is of a day.

    Args:
        day: The UTC day to stage.
        as_of: The time (UTC, aware) of the data.
        now: The current time (UTC, aware).
        maximum_age: The maximum age of current data.
        origin: The source of the data, for messages ("extract /data/kazan.osm.pbf").

    Raises:
        FutureDay: The day has not begun.
        StaleUpstream: The day is current and the data is older than `maximum_age`.
        NoEvidenceForDay: The data is of another day or from the future.
    """
    start = datetime.combine(day, time.min, UTC)
    end = start + timedelta(days=1)
    current = is_current(day, now)
    if as_of > now + CLOCK_TOLERANCE:
        raise NoEvidenceForDay(
            f"The data of {origin} is dated {as_of:%Y-%m-%dT%H:%M:%SZ}, after the current time "
            f"{now:%Y-%m-%dT%H:%M:%SZ}. Correct the clock of this machine or of the server."
        )
    if current and as_of <= end:
        age = now - as_of
        if age > maximum_age:
            hours = maximum_age.total_seconds() / 3600
            raise StaleUpstream(
                f"The data of {origin} is dated {as_of:%Y-%m-%dT%H:%M:%SZ}, older than the "
                f"{hours:g} hours that the city allows for the current day {day}. Wait for newer "
                "data, or raise the city's maximum_age_hours."
            )
        return
    if not start <= as_of <= end:
        raise NoEvidenceForDay(
            f"The data of {origin} is dated {as_of:%Y-%m-%dT%H:%M:%SZ}, not {day}. A past day "
            "needs data of that day: a dated extract (a template with {day}), an Overpass server "
            "with history, or the snapshot stored on that day."
        )


def require_enough(rows: int, *, minimum: int, city: str, day: date, things: str, key: str) -> None:
    """Check that a day has at least the city's minimum of rows.

    An upstream that lost its data returns a small, well-formed result.

    Args:
        rows: The number of rows.
        minimum: The minimum.
        city: The city's slug.
        day: The UTC day.
        things: What the rows are, for the message.
        key: The key of the cities file with the minimum.

    Raises:
        TooFewPois: There are fewer.
    """
    if rows < minimum:
        raise TooFewPois(
            f"{city} has {rows} {things} on {day}, fewer than its minimum of {minimum}. Check "
            f"the upstream data, then run the day again with refetch, or lower {key} in the cities "
            "file if the city is that small."
        )
