"""A source of places that are kept as GeoParquet: all that a new source is made of, in one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from ingestion_pipeline.columns.tag_sets import TagSets
from ingestion_pipeline.core.evidence import SnapshotEvidence
from ingestion_pipeline.osm.features import Features, Reading
from ingestion_pipeline.sources.base import Acquisition, Offer, RawPart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline.config.settings import Settings
    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.errors import OsmError
    from ingestion_pipeline.osm.selection import Selection

PLACES = pa.table(
    {
        "name": ["North", "South"],
        "geometry": shapely.to_wkb([shapely.Point(10.02, 50.08), shapely.Point(10.02, 50.02)]),
    }
)


class ToySource:
    """Cafés in memory."""

    kind: ClassVar[str] = "toy"
    shared: ClassVar[bool] = False

    def __init__(self, city: City, settings: Settings) -> None:
        """Take nothing of either."""

    def offer(self, day: date, *, current: bool) -> Offer:  # noqa: ARG002 - of the protocol
        """Return that only the current day can be had."""
        return Offer("current data", "memory") if current else Offer("none", "memory is of today")

    def location(self, day: date) -> str:
        """Return a name of the day's data."""
        return f"memory:{day}"

    def state(self, day: date) -> str | None:  # noqa: ARG002 - of the protocol
        """Return None: it is not shared."""
        return None

    def acquire(
        self,
        day: date,
        *,
        selection: Selection,  # noqa: ARG002 - of the protocol
        clock: Clock,
        workdir: Path,
        histories: Mapping[str, str] | None = None,  # noqa: ARG002 - of the protocol
    ) -> Acquisition:
        """Write the places to a file."""
        path = workdir / "places.parquet"
        pq.write_table(PLACES, path)
        now = clock.now()
        return Acquisition(
            (RawPart(path, query=None, requested_at=now, received_at=now),),
            SnapshotEvidence(
                as_of=now, as_of_source="memory", obtained=self.kind, location=self.location(day)
            ),
        )

    @staticmethod
    def read(
        paths: Sequence[Path],
        *,
        areas: Sequence[Area],
        selection: Selection,  # noqa: ARG004 - of the protocol
        origin: str,  # noqa: ARG004 - of the protocol
    ) -> Iterator[Reading | OsmError]:
        """Read the places as cafés."""
        (path,) = paths
        table = pq.read_table(path)
        count = table.num_rows
        features = Features(
            osm_type=np.full(count, "node", dtype=object),
            osm_id=np.arange(1, count + 1),
            version=np.ones(count, dtype=np.int64),
            timestamp=np.full(count, np.datetime64("NaT", "s")),
            tags=TagSets.of(
                {"amenity": "cafe", "name": str(name)} for name in table.column("name").to_pylist()
            ),
            geometry=np.asarray(shapely.from_wkb(table.column("geometry").to_numpy()), object),
            geom_quality=np.full(count, "point", dtype=object),
        )
        for _ in areas:
            yield Reading(features, [], None, frozenset())

    @staticmethod
    def coverage_of(path: Path) -> None:
        """Return None: it answers for the city."""
