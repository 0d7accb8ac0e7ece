"""The features of a city: those whose representative point its boundary owns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ingestion_pipeline.columns.arrow import binaries, numbers, texts
from ingestion_pipeline.core.characters import are_storable
from ingestion_pipeline.geometry.complexity import MAX_TEXT
from ingestion_pipeline.geometry.points import representative_points
from ingestion_pipeline.osm.assemble import rejection, take

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import pyarrow as pa

    from ingestion_pipeline.core.arrays import BoolArray, ObjectArray
    from ingestion_pipeline.core.boundary import Boundary
    from ingestion_pipeline.core.rejection import Rejection, RejectionReason
    from ingestion_pipeline.osm.features import Features


LARGEST_VERSION = np.iinfo(np.int32).max
"""The largest version of an object; the format and the column have 32 bits."""


@dataclass(frozen=True)
class Located:
    """The N features of a city, with their representative points.

    Attributes:
        features: N features.
        lon: (N,) degrees of the points; a point of an area is on its surface.
        lat: (N,) degrees.
        point_source: (N,) see `geometry.points.representative_points`.
        outside: The number of features outside the city.
        rejections: Features of the city that cannot be stored.
    """

    features: Features
    lon: npt.NDArray[np.float64]
    lat: npt.NDArray[np.float64]
    point_source: npt.NDArray[np.object_]
    outside: int
    rejections: list[Rejection]

    def columns(self, rows: npt.NDArray[np.int64]) -> dict[str, pa.Array[Any]]:
        """Return the columns of rows that every dataset takes from the features at `rows`."""
        import pyarrow as pa
        import shapely

        features = take(self.features, rows)
        id_, version = features.osm_id, features.version.astype(np.int32)
        timestamp = features.timestamp.astype("datetime64[s]")
        return {
            "source_ref": texts(features.source_refs()),
            "osm_type": texts(features.osm_type.tolist()),
            "osm_id": numbers(id_, pa.int64(), missing=id_ == 0),
            "osm_version": numbers(version, pa.int32(), missing=version == 0),
            "osm_timestamp": numbers(
                timestamp, pa.timestamp("s", "UTC"), missing=np.isnat(timestamp)
            ),
            "geometry": binaries(shapely.to_wkb(features.geometry, byte_order=1).tolist()),
            "geom_quality": texts(features.geom_quality.tolist()),
            "lon": numbers(self.lon[rows], pa.float64()),
            "lat": numbers(self.lat[rows], pa.float64()),
            "point_source": texts(self.point_source[rows].tolist()),
        }


def locate(features: Features, boundary: Boundary) -> Located:
    """Return the city's features, in their order."""
    lon, lat, point_source = representative_points(features.geometry)
    inside = np.asarray(boundary.owns(lon, lat), dtype=bool)
    by_tags = _unstorable_by_tags(features)
    unstorable: dict[RejectionReason, BoolArray] = {
        "too_much_text": by_tags == "too_much_text",
        "invalid_text": by_tags == "invalid_text",
        "invalid_version": features.version > LARGEST_VERSION,
    }
    kept, rejections = inside.copy(), []
    for reason, applies in unstorable.items():
        rows = np.flatnonzero(kept & applies).tolist()
        rejections += [rejection(features, row, reason) for row in rows]
        kept &= ~applies
    return Located(
        features=take(features, kept),
        lon=lon[kept],
        lat=lat[kept],
        point_source=point_source[kept],
        outside=int((~inside).sum()),
        rejections=rejections,
    )


def _unstorable_by_tags(features: Features) -> ObjectArray:
    """Return why the tags of each feature cannot be stored, or None; once for each set."""
    of_sets: ObjectArray = np.array(list(map(_why_unstorable, features.tags.sets)), dtype=object)
    return of_sets[features.tags.set_of]


def _why_unstorable(tags: Mapping[str, str]) -> RejectionReason | None:
    together = "".join([*tags, *tags.values()])
    if len(together) > MAX_TEXT:
        return "too_much_text"
    return None if are_storable([together]) else "invalid_text"
