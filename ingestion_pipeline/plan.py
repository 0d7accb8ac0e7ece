"""Plans: which days of a city can be staged, and from which evidence, before a run starts.

A plan uses the stored data, the configuration and the same rules as a run (`sources/as_of.py`,
`datasets/provenance.py`, `sources/registry.py`).

Nothing is fetched for a plan. If a day's extract or a server's history turns out to be missing, the
day's run fails with that error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from ingestion_pipeline.datasets.base import SOURCE
from ingestion_pipeline.datasets.provenance import (
    evidence_of,
    evidence_of_feed,
    judged_beside_osm,
)
from ingestion_pipeline.lake.errors import SnapshotDamaged
from ingestion_pipeline.osm.errors import FutureDay
from ingestion_pipeline.sources.as_of import is_current
from ingestion_pipeline.sources.feed.errors import may_pass
from ingestion_pipeline.sources.registry import holds_what_is_asked, source_for
from ingestion_pipeline.staging.days import staged_days
from ingestion_pipeline.staging.slices import is_staged_from

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import date, datetime

    import sqlalchemy as sa

    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline.config.feeds import Feed
    from ingestion_pipeline.config.settings import Settings
    from ingestion_pipeline.core.evidence import SliceEvidence
    from ingestion_pipeline.datasets.base import Dataset
    from ingestion_pipeline.lake.snapshots import Failure, Lake, Manifest
    from ingestion_pipeline.sources.base import Way


@dataclass(frozen=True)
class Kept:
    """The stored data of a city's days.

    Attributes:
        manifests: The stored snapshots, or why one cannot be read.
        staged: The rows of `staged_partition`.
        failures: For a feed: why days have no snapshot.
        feeds: For helper places: the stored data of each of the city's feeds, by slug.
    """

    manifests: Mapping[date, Manifest | SnapshotDamaged]
    staged: Mapping[date, sa.RowMapping]
    failures: Mapping[date, Failure | None] = field(default_factory=dict)
    feeds: Mapping[str, Kept] = field(default_factory=dict)


@dataclass(frozen=True)
class PlannedDay:
    """A city-day, and the evidence from which it can be staged.

    Attributes:
        city_slug: The city.
        day: The UTC day.
        way: The kind of evidence.
        words: Its origin; for `none`, the reason and what to do. Equal for all days of one kind.
    """

    city_slug: str
    day: date
    way: Way
    words: str

    @property
    def is_staged(self) -> bool:
        """Whether there is nothing to do."""
        return self.way == "staged"

    @property
    def is_possible(self) -> bool:
        """Whether the day can be staged, as far as is known without a request to upstream."""
        return self.way != "none"


@dataclass(frozen=True)
class Span:
    """Consecutive entries of a plan for one city with equal way and words."""

    city_slug: str
    first: date
    last: date
    days: int
    way: Way
    words: str


def look(
    lake: Lake, engine: sa.Engine, city: City, days: Collection[date], *, dataset: Dataset
) -> Kept:
    """Return the data of a city's days that the lake and the database store.

    Raises:
        LakeUnavailable: The lake cannot be read.
        DatabaseUnavailable: The database cannot be reached.
    """
    return Kept(
        manifests=lake.manifests(dataset.name, city.slug, city.boundary_key, days),
        staged=staged_days(engine, city.slug, dataset=dataset.name, source=SOURCE),
        feeds={
            feed.slug: _look_at_feed(lake, engine, city, feed, days, dataset=dataset)
            for feed in city.feeds
            if dataset.feeds_asset
        },
    )


def _look_at_feed(
    lake: Lake,
    engine: sa.Engine,
    city: City,
    feed: Feed,
    days: Collection[date],
    *,
    dataset: Dataset,
) -> Kept:
    place = (feed.dataset, city.slug, city.boundary_key)
    manifests = lake.manifests(*place, days)
    return Kept(
        manifests=manifests,
        staged=staged_days(engine, city.slug, dataset=dataset.name, source=feed.source),
        failures={day: lake.last_failure(*place, day) for day in days if day not in manifests},
    )


def plan(
    city: City, days: Iterable[date], *, settings: Settings, kept: Kept, now: datetime
) -> list[PlannedDay]:
    """Return for each day the evidence from which it can be staged.

    Args:
        city: The city.
        days: UTC days, in any order.
        settings: The settings, with the sources and the start of partitions.
        kept: The stored data of these days.
        now: The current moment (UTC, aware).

    Returns:
        One entry for each day, in the order of `days`.
    """
    return [
        PlannedDay(city.slug, day, *_way(city, day, settings=settings, kept=kept, now=now))
        for day in days
    ]


def spans(planned: Iterable[PlannedDay]) -> list[Span]:
    """Group consecutive entries with equal city, way and words, for display."""
    found = []
    for (slug, way, words), alike in groupby(
        planned, lambda entry: (entry.city_slug, entry.way, entry.words)
    ):
        days = [entry.day for entry in alike]
        found.append(Span(slug, days[0], days[-1], len(days), way, words))
    return found


def _way(
    city: City, day: date, *, settings: Settings, kept: Kept, now: datetime
) -> tuple[Way, str]:
    try:
        current = is_current(day, now)
    except FutureDay:
        return "none", "the day has not begun in UTC; wait for it"
    from_stored = _from_stored(city, day, kept)
    if day < settings.first_partition and (from_stored is None or from_stored[0] == "snapshot"):
        return "none", (
            f"there are no partitions before {settings.first_partition}; "
            + (
                "set PARTITIONS_DAYS to more, or enqueue jobs of these days"
                if settings.partitions_days
                else "set PARTITIONS_START to an earlier day"
            )
        )
    if from_stored is not None:
        return from_stored
    offer = source_for(city, settings).offer(day, current=current)
    return offer.way, offer.words


def _from_stored(city: City, day: date, kept: Kept) -> tuple[Way, str] | None:
    manifest = kept.manifests.get(day)
    if isinstance(manifest, SnapshotDamaged):
        return "none", str(manifest)
    if manifest is None or not holds_what_is_asked(manifest, city):
        return None
    evidence = evidence_of(city, manifest)
    staged = kept.staged.get(day)
    if staged is None or not is_staged_from(staged, evidence):
        return "snapshot", "replayed from the lake"
    open_feeds = [
        feed.slug
        for feed in city.feeds
        if feed.slug in kept.feeds
        and not _is_done(city, feed, day, kept.feeds[feed.slug], beside=evidence)
    ]
    if open_feeds:
        names = ", ".join(open_feeds)
        return "snapshot", f"replayed from the lake; feeds to read or to ask: {names}"
    return "staged", "nothing to do: staged from equal inputs"


def _is_done(city: City, feed: Feed, day: date, kept: Kept, *, beside: SliceEvidence) -> bool:
    """Return whether a run of the day would have nothing to do for a feed."""
    manifest = kept.manifests.get(day)
    if not judged_beside_osm(feed).may_be_combined:
        return True
    if manifest is None or isinstance(manifest, SnapshotDamaged) or manifest.selection != feed.asks:
        failure = kept.failures.get(day)
        return failure is not None and not may_pass(failure.code)
    staged = kept.staged.get(day)
    return staged is not None and is_staged_from(
        staged, evidence_of_feed(city, feed, manifest, beside=beside)
    )
