"""The registry of sources, and the choice of a city's source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingestion_pipeline.osm.errors import OsmError
from ingestion_pipeline.sources.overpass.source import OverpassSource
from ingestion_pipeline.sources.pbf.source import ExtractSource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline.config.settings import Settings
    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.features import Reading
    from ingestion_pipeline.osm.selection import Selection
    from ingestion_pipeline.sources.base import Source

SOURCES: Mapping[str, type[Source]] = {
    source.kind: source
    for source in (
        OverpassSource,
        ExtractSource,
    )
}
"""All sources by kind."""


def source_for(city: City, settings: Settings) -> Source:
    """Return the source that a city's data comes from."""
    return SOURCES[city.osm_source or settings.osm_source](city, settings)


def read(
    kind: str, paths: Sequence[Path], *, area: Area, selection: Selection, origin: str
) -> Reading:
    """Read the selected objects of one area from raw bytes; see `Source.read`.

    Raises:
        OsmError: The files cannot be read, or do not contain the boundary relation.
    """
    (reading,) = SOURCES[kind].read(paths, areas=[area], selection=selection, origin=origin)
    if isinstance(reading, OsmError):
        raise reading
    return reading
