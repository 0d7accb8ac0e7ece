"""Features as columns, and what a reader returns, for every source."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ingestion_pipeline.columns.tag_sets import TagSets
from ingestion_pipeline.core.rejection import Rejection

GeomQuality = Literal["exact", "repaired", "partial", "line", "point", "too_complex"]
"""The quality of a feature's geometry.

- `exact`: as mapped, and valid.
- `repaired`: mapped invalid; made valid without losing the shape.
- `partial`: nodes or members are missing upstream or unusable, or rings are open; built from the
  rest.
- `line`: an area by its tags that could not be assembled; its lines are kept.
- `point`: only single points are known.
- `too_complex`: an area that exceeds the limits of `geometry/complexity.py`; its lines are kept,
  or single points if these are too many."""


@dataclass(frozen=True)
class Features:
    """N features, column by column; those of OSM by (node, way, relation) and then by id.

    Attributes:
        osm_type: (N,) object array of `"node" | "way" | "relation"`; None if not an object of OSM.
        osm_id: (N,) int64, OSM's own positive ids; 0 if not an object of OSM.
        version: (N,) int64; 0 where unknown.
        timestamp: (N,) datetime64[s] in UTC; NaT where unknown.
        tags: Of N objects, exactly as upstream; equal sets are stored once.
        geometry: (N,) object array of shapely geometries, EPSG:4326 (lon, lat), 2D, valid,
            whole (never clipped), canonical vertex order for areas (`shapely.normalize`).
        geom_quality: (N,) object array of `GeomQuality`.
        refs: (N,) object array of the source's own references, each unique; None for objects of
            OSM.
    """

    osm_type: npt.NDArray[np.object_]
    osm_id: npt.NDArray[np.int64]
    version: npt.NDArray[np.int64]
    timestamp: npt.NDArray[np.datetime64]
    tags: TagSets
    geometry: npt.NDArray[np.object_]
    geom_quality: npt.NDArray[np.object_]
    refs: npt.NDArray[np.object_] | None = None

    def __len__(self) -> int:
        """Return N."""
        return len(self.tags)

    def source_refs(self) -> list[str]:
        """Return the references of the features: `node/1`, `way/1`, `relation/1`, or `refs`."""
        if self.refs is not None:
            return list(self.refs)
        return [
            f"{kind}/{number}"
            for kind, number in zip(self.osm_type, self.osm_id.tolist(), strict=True)
        ]


@dataclass(frozen=True)
class Reading:
    """The result of reading the raw bytes of one city-day.

    Attributes:
        features: All selected features that intersect the fetch window (not clipped).
        rejections: Selected objects without a usable geometry.
        boundary: The polygon of the boundary relation (EPSG:4326), or None where the city has none.
        boundary_names: The values of the boundary relation's name tags (`name`, `name:*`,
            `official_name`, ...); empty without a boundary relation.
    """

    features: Features
    rejections: list[Rejection]
    boundary: Any | None
    boundary_names: frozenset[str]
