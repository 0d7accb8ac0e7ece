"""Checks whether cities can be staged from their sources, without staging anything.

Runs the checks of a run, and collects all problems. An extract is downloaded whole, once for all
cities that share it; only the boundaries are read from it. Overpass is queried only for the
boundary relation, if the city has one.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.config.cities import boundary_names_match
from ingestion_pipeline.core.errors import IngestionError
from ingestion_pipeline.lake.scratch import scratch_folder
from ingestion_pipeline.sources.registry import read, source_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import date, datetime

    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline.config.settings import Settings
    from ingestion_pipeline.core.boundary import Boundary
    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.sources.base import Acquisition, Source
    from ingestion_pipeline.sources.gate import Gate


@dataclass
class CheckedCity:
    """The result for a city.

    Attributes:
        city: The city.
        source: Its source.
        as_of: The moment whose state the data shows, or None if unknown.
        boundary: The city's boundary; None where it is missing or not the city's.
        coverage: The `share` of the city that the extract covers, and `how` it is known.
        problems: Why a run of the day would fail.
    """

    city: City
    source: str
    as_of: datetime | None = None
    boundary: Boundary | None = None
    coverage: Mapping[str, Any] | None = None
    problems: list[IngestionError] = field(default_factory=list)


def check_cities(
    cities: Iterable[City], day: date, *, settings: Settings, clock: Clock, gate: Gate
) -> Iterator[CheckedCity]:
    """Check cities one by one.

    Args:
        cities: The cities.
        day: The UTC day to check for.
        settings: Addresses of the sources.
        clock: The time.
        gate: Admits requests to upstream.
    """
    with scratch_folder() as folder:
        checking = _Checking(day, settings, clock, gate, folder)
        for city in cities:
            yield checking.check(city)


class _Checking:
    """The checks of several cities, with the extracts that they share."""

    def __init__(
        self, day: date, settings: Settings, clock: Clock, gate: Gate, folder: Path
    ) -> None:
        self._day = day
        self._settings = settings
        self._clock = clock
        self._gate = gate
        self._folder = folder
        self._fetched: dict[str, Acquisition] = {}

    def check(self, city: City) -> CheckedCity:
        source = source_for(city, self._settings)
        found = CheckedCity(city, source.kind)
        with _problems(found):
            if source.shared:
                self._check_shared(found, source)
            else:
                self._check_answer(found, source)
        return found

    def _check_shared(self, found: CheckedCity, source: Source) -> None:
        from ingestion_pipeline.sources.as_of import require_true_on
        from ingestion_pipeline.sources.pbf.coverage import require_covered

        city = found.city
        acquired = self._fetch(source)
        origin = acquired.evidence.location
        found.as_of = acquired.evidence.as_of
        with _problems(found):
            require_true_on(
                self._day,
                as_of=found.as_of,
                now=self._clock.now(),
                maximum_age=city.maximum_age,
                origin=f"extract {origin}",
            )
        found.boundary = _boundary_in(acquired, city)
        assert acquired.evidence.coverage is not None  # an extract's evidence has it
        found.coverage = require_covered(
            found.boundary.area,
            acquired.evidence.coverage,
            what=f"the boundary {city.area.boundary_name} of {city.slug}",
            origin=origin,
        )

    def _fetch(self, source: Source) -> Acquisition:
        location = source.location(self._day)
        if location not in self._fetched:
            self._fetched[location] = self._probe(source)
        return self._fetched[location]

    def _probe(self, source: Source) -> Acquisition:
        workdir = Path(mkdtemp(dir=self._folder))
        return source.probe(self._day, clock=self._clock, workdir=workdir, gate=self._gate)

    def _check_answer(self, found: CheckedCity, source: Source) -> None:
        from ingestion_pipeline.osm.boundary import known_boundary

        city = found.city
        source.location(self._day)  # it is configured, or this raises
        found.boundary = known_boundary(city.area, city=city.slug)
        if found.boundary is not None:
            return
        acquired = self._probe(source)
        found.as_of = acquired.evidence.as_of
        found.boundary = _boundary_in(acquired, city)


def _boundary_in(acquired: Acquisition, city: City) -> Boundary:
    """Return the city's boundary, as in a run.

    Raises:
        OsmError: It is not in the data, or is not the city's.
    """
    from ingestion_pipeline.osm.boundary import boundary_of, known_boundary
    from ingestion_pipeline.osm.selection import NOTHING

    known = known_boundary(city.area, city=city.slug)
    if known is not None:
        return known
    evidence = acquired.evidence
    reading = read(
        evidence.obtained,
        [part.path for part in acquired.parts],
        area=city.area,
        selection=NOTHING,
        origin=evidence.location,
    )
    return boundary_of(
        reading,
        city.area,
        city=city.slug,
        names_match=lambda names: boundary_names_match(city, names),
    )


@contextmanager
def _problems(found: CheckedCity) -> Iterator[None]:
    """Record an error, and continue after the block."""
    try:
        yield
    except IngestionError as error:
        found.problems.append(error)
