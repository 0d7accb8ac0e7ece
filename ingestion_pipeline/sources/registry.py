"""The registry of sources, the choice of a city's source, and which of its snapshots are reused."""

from __future__ import annotations

from contextlib import suppress
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from ingestion_pipeline.config.sources import SOURCE_CODE
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.osm.errors import OsmError
from ingestion_pipeline.osm.selection import is_answered_wrongly, is_asked_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline.config.settings import Settings
    from ingestion_pipeline.lake.snapshots import Manifest
    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.features import Reading
    from ingestion_pipeline.osm.selection import Selection
    from ingestion_pipeline.sources.base import Source

SOURCES: Mapping[str, type[Source]] = {
    kind: resolve_name(code.implementation) for kind, code in SOURCE_CODE.items()
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


def holds_what_is_asked(manifest: Manifest, city: City) -> bool:
    """Return whether a stored snapshot contains everything that would be requested now.

    A shared file contains everything in the area that it covers, and that area is compared with the
    city when the file is read. Any other answer contains only what was requested. Answers to
    queries that Overpass answers incorrectly are not reused, nor are those of an unknown source.
    """
    source = SOURCES.get(manifest.obtained)
    if source is None or source.shared:
        return source is not None
    return (
        _asked_for(manifest, DATASETS[manifest.dataset].selection)
        and Bbox(*manifest.bbox).holds(city.bbox)
        and not any(is_answered_wrongly(part.query or "") for part in manifest.parts)
    )


def _asked_for(manifest: Manifest, selection: Selection) -> bool:
    """Return whether an answer was requested with this selection or a wider one."""
    if manifest.selection == selection.digest:
        return True
    with suppress(KeyError, TypeError, AttributeError):  # a damaged record proves nothing
        return manifest.selected is not None and is_asked_for(selection, manifest.selected)
    return False
