"""The check that every city has its latest due day staged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from ingestion_pipeline.quality.catalogue import COVERAGE
from ingestion_pipeline.quality.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

GRACE = timedelta(hours=2)
"""The time from when a day is due until it must be staged, for the queue and retries."""


@dataclass(frozen=True)
class CityCoverage:
    """The newest and the due day of a city.

    Attributes:
        city_slug: The city.
        due: The UTC day that should be staged by now.
        newest: The newest staged UTC day, or None.
    """

    city_slug: str
    due: date
    newest: date | None

    @property
    def lags(self) -> bool:
        """Whether the due day is missing."""
        return self.newest is None or self.newest < self.due

    @property
    def since(self) -> str:
        """The first missing day."""
        return "ever" if self.newest is None else str(self.newest + timedelta(days=1))


def latest_due_day(due: time, zone: ZoneInfo, *, now: datetime) -> date:
    """Return the UTC day that a city should have by now.

    Args:
        due: The local time at which a day is due.
        zone: The city's time zone.
        now: The current moment.
    """
    latest = (now - GRACE).astimezone(zone)
    tick = datetime.combine(latest.date(), due, zone)
    if tick > latest:
        tick = datetime.combine(latest.date() - timedelta(days=1), due, zone)
    return tick.astimezone(UTC).date()


def check_coverage(cities: Sequence[CityCoverage]) -> Finding:
    """Find the cities that lag, the longest lag first."""
    lagging = sorted(
        (city for city in cities if city.lags), key=lambda city: city.newest or date.min
    )
    summary = "; ".join(f"{city.city_slug} since {city.since}" for city in lagging)
    return Finding(
        COVERAGE,
        "stop" if lagging else "good",
        f"{len(lagging)} of {len(cities)} enabled cities lack their latest due day: {summary}"
        if lagging
        else f"all {len(cities)} enabled cities have their latest due day",
        head=("city", "due", "newest staged day", "lags since"),
        rows=[
            (
                city.city_slug,
                str(city.due),
                str(city.newest or "none"),
                city.since if city.lags else "",
            )
            for city in [*lagging, *(city for city in cities if not city.lags)]
        ],
        numbers={"lagging": len(lagging)},
    )
