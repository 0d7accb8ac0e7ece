"""Back-pressure: no run is requested that would only wait for its upstream server, or fail.

A server takes no request while its day's budget is spent, or while it is paused because it had no
slot. A city-day whose data is in the lake needs no server, and does not wait. Neither does a city
of a shared extract, of which one request serves all its cities.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from random import Random
from typing import NamedTuple, TypeVar

from ingestion_pipeline.core.identity import CityDay
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.lake.errors import SnapshotDamaged
from ingestion_pipeline.sources.gate import budgets_of
from ingestion_pipeline.sources.registry import holds_what_is_asked, source_for
from ingestion_pipeline.staging.upstream import Server, pauses, usage_since

LOOKS = 50
"""The number of city-days of a tick that the lake is asked about."""

T = TypeVar("T")


class Closed(NamedTuple):
    """A server that takes no request now.

    Attributes:
        server: The server.
        until: When it does again, as far as is known.
        why: The reason.
    """

    server: Server
    until: datetime
    why: str

    def __str__(self) -> str:
        """Return a sentence for people."""
        return f"{self.server.name} takes no request until {self.until:%H:%M} UTC: {self.why}"


class Pressure:
    """What holds city-days back at a moment; made for one tick."""

    def __init__(self, pipeline: PipelineResources, *, now: datetime) -> None:
        """Store the moment, by the ledger's clock; nothing is read yet."""
        self._pipeline = pipeline
        self._now = now
        self._looks = 0

    def by_turns(self, found: Sequence[T]) -> Sequence[T]:
        """Return what is to be looked at, beginning at another one in each tick.

        A tick asks the lake about some only, and none is to be left out for good.
        """
        turn = Random(int(self._now.timestamp()))  # noqa: S311 - spreads looks, no cryptography
        first = turn.randrange(len(found) or 1)
        return [*found[first:], *found[:first]]

    def why_held(self, partition: CityDay, *, refetch: bool = False) -> Closed | None:
        """Return why no run of a city-day is requested now; None if it may be.

        Args:
            partition: The city-day, of a known city.
            refetch: Whether upstream is asked although the lake has the day.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
            LakeUnavailable: The lake cannot be read.
        """
        if not self._closed:
            return None
        city = self._pipeline.cities.get(partition.city)
        source = source_for(city, self._pipeline.settings)
        server = None if source.shared else source.server(partition.day)
        closed = None if server is None else self._closed.get(server)
        if closed is None or (not refetch and self._is_stored(partition)):
            return None
        return closed

    @cached_property
    def _closed(self) -> dict[Server, Closed]:
        engine, today = self._pipeline.engine, self._now.date()
        found = {
            server: Closed(server, until, "it had no slot for the last one")
            for server, until in pauses(engine, now=self._now).items()
        }
        budgets = budgets_of(self._pipeline.settings)
        for used in usage_since(engine, today):
            budget = budgets.get(used.source)
            if budget is not None and (
                0 < budget.requests <= used.requests or 0 < budget.bytes <= used.bytes
            ):
                server = Server(used.source, used.server)
                found[server] = Closed(server, _end_of(today), "the budget of the day is spent")
        return found

    def _is_stored(self, partition: CityDay) -> bool:
        """Return whether a run would find the day in the lake; False after too many looks."""
        self._looks += 1
        if self._looks > LOOKS:
            return False
        city = self._pipeline.cities.get(partition.city)
        for dataset in DATASETS:
            with suppress(SnapshotDamaged):
                manifest = self._pipeline.lake.manifest(
                    dataset, city.slug, city.boundary_key, partition.day
                )
                if manifest is not None and holds_what_is_asked(manifest, city):
                    return True
        return False


def _end_of(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time.min, UTC)
