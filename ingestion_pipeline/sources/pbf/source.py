"""Extracts as a source of a city's data.

Belongs here: the template of their location, and the protocol. Does not belong here: how a file is
fetched, checked and read (`extract.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingestion_pipeline.osm.errors import ExtractNotConfigured
from ingestion_pipeline.sources.base import Offer, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date
    from pathlib import Path

    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.core.evidence import Coverage
    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.errors import OsmError
    from ingestion_pipeline.osm.features import Reading
    from ingestion_pipeline.osm.selection import Selection
    from ingestion_pipeline.sources.base import Acquisition, Asked
    from ingestion_pipeline.sources.gate import Gate


class ExtractSource(Source):
    """A file or URL of an extract."""

    kind = "extract"
    shared = True

    def offer(self, day: date, *, current: bool) -> Offer:
        """Return what the configured extracts can give, without looking for a file."""
        from ingestion_pipeline.core.locations import is_dated, redacted

        try:
            template = self._template()
            self.location(day)
        except ExtractNotConfigured as error:
            return Offer("none", str(error))
        place = redacted(template)
        if is_dated(template):
            return Offer("dated extract", f"{place}, if there is one of the day")
        if current:
            return Offer("current data", f"{place}, if it is recent enough")
        return Offer(
            "none",
            f"{place} names no {{day}}, so it is of one day at most; if it is of this one, run "
            "this day alone with 'poi-ingest run', and otherwise give the city dated extracts",
        )

    def location(self, day: date) -> str:
        """Return the location of the city's extract of a day.

        Raises:
            ExtractNotConfigured: There is no template, or it cannot be filled in.
        """
        from ingestion_pipeline.sources.pbf import extract

        return extract.resolve(self._template(), region=self._city.osm_region, day=day)

    def state(self, day: date) -> str | None:
        """Return what identifies the state of the file; see `extract.state_of`."""
        from ingestion_pipeline.sources.pbf import extract

        return extract.state_of(self.location(day))

    def acquire(self, day: date, asked: Asked) -> Acquisition:
        """Get the extract of a day; see `extract.acquire`."""
        from ingestion_pipeline.sources.pbf import extract

        return extract.acquire(
            self.location(day),
            day=day,
            clock=asked.clock,
            maximum_age=self._city.maximum_age,
            workdir=asked.workdir,
            gate=asked.gate,
        )

    def probe(self, day: date, *, clock: Clock, workdir: Path, gate: Gate) -> Acquisition:
        """Get the extract of a day, of any date; see `extract.fetch`."""
        from ingestion_pipeline.sources.pbf import extract

        return extract.fetch(self.location(day), clock=clock, workdir=workdir, gate=gate)

    @staticmethod
    def read(
        paths: Sequence[Path], *, areas: Sequence[Area], selection: Selection, origin: str
    ) -> Iterable[Reading | OsmError]:
        """Read an extract in one pass for all areas; see `extract.read_each`."""
        from ingestion_pipeline.sources.pbf import extract

        (path,) = paths
        return extract.read_each(path, areas=areas, selection=selection, origin=origin)

    @staticmethod
    def coverage_of(path: Path) -> Coverage | None:
        """Return what a stored extract covers."""
        from ingestion_pipeline.sources.pbf import coverage

        return coverage.coverage_of(path)

    def _template(self) -> str:
        from ingestion_pipeline.sources.pbf import extract

        template = self._city.osm_extract or self._settings.osm_extract
        if template is None:
            raise ExtractNotConfigured(
                f"{self._city.slug} comes from an extract and names none, and OSM_EXTRACT is not "
                "set; give the city an osm_extract in the cities file, or set OSM_EXTRACT"
            )
        return extract.without_sample(template)
