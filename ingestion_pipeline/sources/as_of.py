"""Which data may stand for which day.

Belongs here: the rules of honest days. Does not belong here: how a source learns the time of its
data (`overpass.py`, `extract.py`).

All days are UTC days. A past day D takes only data whose state lies in D: from D 00:00:00 up to
and including D+1 00:00:00 (a dump "of the end of D" is stamped with the first moment of D+1). The
current day takes the newest data that there is: no older than the city allows, so it may show the
evening before, and `as_of` says so. Data from the future is taken for no day: a clock is wrong.
"""

from datetime import UTC, date, datetime, time, timedelta

from ingestion_pipeline.osm.errors import (
    FutureDay,
    NoEvidenceForDay,
    StaleUpstream,
    TooFewPois,
)

CLOCK_TOLERANCE = timedelta(minutes=10)
"""How far upstream's clock may be ahead of ours."""


def is_current(day: date, now: datetime) -> bool:
    """Return whether `day` is the current UTC day.

    Raises:
        FutureDay: The day has not begun.
    """
    today = now.astimezone(UTC).date()
    if day > today:
        raise FutureDay(
            f"{day} has not begun (it is {today} UTC now); a day can be staged from its first "
            "moment in UTC on"
        )
    return day == today


def require_true_on(
    day: date, *, as_of: datetime, now: datetime, maximum_age: timedelta, origin: str
) -> None:
    """Refuse data that was not true on `day`.

    Args:
        day: The UTC day that would be staged.
        as_of: The moment (UTC, aware) whose state the data shows.
        now: The current moment (UTC, aware).
        maximum_age: How old current data may be.
        origin: What the data is, for the message ("extract /data/kazan.osm.pbf").

    Raises:
        FutureDay: The day has not begun.
        StaleUpstream: The current day, and the data is older than `maximum_age`.
        NoEvidenceForDay: The data shows another day, or the future.
    """
    start = datetime.combine(day, time.min, UTC)
    end = start + timedelta(days=1)
    current = is_current(day, now)
    if as_of > now + CLOCK_TOLERANCE:
        raise NoEvidenceForDay(
            f"{origin} says that it shows the state of {as_of:%Y-%m-%dT%H:%M:%SZ}, and it is only "
            f"{now:%Y-%m-%dT%H:%M:%SZ}; set the clock that is wrong, here or there"
        )
    if current and as_of <= end:
        age = now - as_of
        if age > maximum_age:
            hours = maximum_age.total_seconds() / 3600
            raise StaleUpstream(
                f"{origin} shows the state of {as_of:%Y-%m-%dT%H:%M:%SZ}, older than the "
                f"{hours:g} hours that the city allows for the current day {day}; wait for newer "
                "data, or raise the city's maximum_age_hours"
            )
        return
    if not start <= as_of <= end:
        raise NoEvidenceForDay(
            f"{origin} shows the state of {as_of:%Y-%m-%dT%H:%M:%SZ}, which is not {day}; a "
            "past day is staged only from data that was true on it: a dated extract (a template "
            "with {day}), an Overpass server with history, or the snapshot stored on that day"
        )


def require_enough(rows: int, *, minimum: int, city: str, day: date, things: str, key: str) -> None:
    """Refuse a day with fewer rows than the city's asserted minimum.

    An upstream that lost its data answers with a small, well-formed result.

    Args:
        rows: How many there are.
        minimum: How many there have to be.
        city: The city's slug.
        day: The UTC day.
        things: What the rows are.
        key: The key of the cities file that asserts the minimum.

    Raises:
        TooFewPois: There are fewer.
    """
    if rows < minimum:
        raise TooFewPois(
            f"{city} has {rows} {things} on {day}, fewer than its minimum of {minimum}; look at "
            f"what upstream sent, then run the day again with refetch, or lower {key} in the "
            "cities file if the city is that small"
        )
