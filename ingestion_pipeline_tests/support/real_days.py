"""Days of a real history, as extracts and as the rows that the pipeline makes of them.

Belongs here: reading real data as the pipeline does. Does not belong here: what is expected of it.
"""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any

import osmium

from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.normalize import normalize
from ingestion_pipeline.osm.taxonomy import Taxonomy
from ingestion_pipeline.sources.pbf import extract

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date
    from pathlib import Path

    import pyarrow as pa

WORLD = Area(Bbox(-180, -90, 180, 90), boundary_relation=None)


def files_of_days(history: Path, days: Sequence[date], folder: Path) -> dict[date, Path]:
    """Write what a history says of the first moment of each day."""
    versions: dict[date, dict[tuple[str, int], int]] = {day: {} for day in days}
    moments = {day: datetime.combine(day, time(), UTC) for day in days}
    for item in _objects(history):
        for day, moment in moments.items():
            if item.timestamp <= moment:
                versions[day][item.type_str(), item.id] = item.version
    paths = {day: folder / f"{history.name}-{day}.osm.pbf" for day in days}
    writers = {day: osmium.SimpleWriter(str(path)) for day, path in paths.items()}
    for item in _objects(history):
        for day, writer in writers.items():
            if item.visible and versions[day].get((item.type_str(), item.id)) == item.version:
                writer.add(item)
    for writer in writers.values():
        writer.close()
    return paths


def _objects(path: Path) -> Iterator[Any]:
    yield from osmium.FileProcessor(str(path))


def rows_of_extract(path: Path, day: date, country: str) -> pa.Table:
    """Read an extract as the pipeline does, wherever its POIs are."""
    return normalize(
        extract.read(path, area=WORLD).features,
        boundary=BboxBoundary(WORLD.bbox),
        day=day,
        languages=["en"],
        local_language=None,
        country=country,
        taxonomy=Taxonomy.load(),
    ).table
