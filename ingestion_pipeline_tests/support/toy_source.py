"""A source of places that are kept as GeoParquet: all that a new source is made of, in one file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from ingestion_pipeline.columns.tag_sets import TagSets
from ingestion_pipeline.core.evidence import SnapshotEvidence
from ingestion_pipeline.osm.features import Features, Reading
from ingestion_pipeline.sources.base import Acquisition, Offer, RawPart, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date
    from pathlib import Path

    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.selection import Selection
    from ingestion_pipeline.sources.base import Asked

PLACES = pa.table(
    {
        "name": ["North", "South"],
        "geometry": shapely.to_wkb(
            [shapely.Point(10.02, 50.08), shapely.Point(10.02, 50.02)]
        ).tolist(),
    }
)


class ToySource(Source):
    """Cafés in memory."""

    kind = "toy"

    def offer(self, day: date, *, current: bool) -> Offer:  # noqa: ARG002 - of the protocol
        """Return that only the current day can be had."""
        return Offer("current data", "memory") if current else Offer("none", "memory is of today")

    def location(self, day: date) -> str:
        """Return a name of the day's data."""
        return f"memory:{day}"

    def acquire(self, day: date, asked: Asked) -> Acquisition:
        """Write the places to a file."""
        path = asked.workdir / "places.parquet"
        pq.write_table(PLACES, path)
        now = asked.clock.now()
        return Acquisition(
            (RawPart(path, query=None, requested_at=now, received_at=now),),
            SnapshotEvidence(
                as_of=now,
                as_of_source="memory",
                obtained=self.kind,
                location=self.location(day),
                licence="CC0-1.0",
                attribution="Toy places",
            ),
        )

    @staticmethod
    def read(
        paths: Sequence[Path],
        *,
        areas: Sequence[Area],
        selection: Selection,  # noqa: ARG004 - of the protocol
        origin: str,  # noqa: ARG004 - of the protocol
    ) -> Iterator[Reading]:
        """Read the places as cafés."""
        (path,) = paths
        table = pq.read_table(path)
        count = table.num_rows
        features = Features(
            osm_type=np.full(count, None, dtype=object),
            osm_id=np.zeros(count, dtype=np.int64),
            version=np.zeros(count, dtype=np.int64),
            timestamp=np.full(count, np.datetime64("NaT", "s")),
            tags=TagSets.of(
                {"amenity": "cafe", "name": str(name)} for name in table.column("name").to_pylist()
            ),
            geometry=np.asarray(shapely.from_wkb(table.column("geometry").to_numpy()), object),
            geom_quality=np.full(count, "exact", dtype=object),
            refs=np.array([f"places/{number}" for number in range(count)], dtype=object),
        )
        for _ in areas:
            yield Reading(features, [], None, frozenset())
