"""The plain values that readers give to the normalizer, whatever the source was.

Belongs here: the columnar container of features, and what a reader returns. Does not belong here:
reading (`sources/`) and shaping (`normalize.py`).
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ingestion_pipeline.columns.tag_sets import TagSets
from ingestion_pipeline.core.rejection import Rejection

GeomQuality = Literal["exact", "repaired", "partial", "line", "point", "too_complex"]
"""How a feature's geometry was had.

- `exact`: as mapped, and valid.
- `repaired`: mapped invalid; made valid without losing the shape.
- `partial`: some of its nodes or members were missing upstream or could not be used, or its rings
  stay open; built from the rest.
- `line`: an area by its tags that could not be assembled; its lines are kept.
- `point`: only single points could be had.
- `too_complex`: an area that exceeds the limits of `geometry/complexity.py`; its lines are kept,
  or, where these are too many, single points.
"""


@dataclass(frozen=True)
class Features:
    """N features, column by column, ordered by (node, way, relation) and then by id.

    Attributes:
        osm_type: (N,) object array of `"node" | "way" | "relation"`.
        osm_id: (N,) int64, OSM's own positive ids.
        version: (N,) int64; 0 where the source does not say.
        timestamp: (N,) datetime64[s] in UTC; NaT where the source does not say.
        tags: Of N objects, exactly as upstream; equal sets are held once.
        geometry: (N,) object array of shapely geometries, EPSG:4326 (lon, lat), 2D, valid,
            whole (never clipped), canonical vertex order for areas (`shapely.normalize`).
        geom_quality: (N,) object array of `GeomQuality`.
    """

    osm_type: npt.NDArray[np.object_]
    osm_id: npt.NDArray[np.int64]
    version: npt.NDArray[np.int64]
    timestamp: npt.NDArray[np.datetime64]
    tags: TagSets
    geometry: npt.NDArray[np.object_]
    geom_quality: npt.NDArray[np.object_]

    def __len__(self) -> int:
        """Give N."""
        return len(self.tags)

    def source_refs(self) -> list[str]:
        """Name the features as `node/1`, `way/1`, `relation/1`."""
        return [
            f"{kind}/{number}"
            for kind, number in zip(self.osm_type, self.osm_id.tolist(), strict=True)
        ]


@dataclass(frozen=True)
class Reading:
    """What a reader got out of the raw bytes of one city-day.

    Attributes:
        features: All selected features that intersect the fetch window (not yet clipped).
        rejections: Selected objects without a usable geometry.
        boundary: The polygon of the boundary relation that was asked for (EPSG:4326), or None
            where the city's boundary is its bbox.
        boundary_names: The values of the boundary relation's name tags (`name`, `name:*`,
            `official_name`, ...); empty where there is no boundary relation.
    """

    features: Features
    rejections: list[Rejection]
    boundary: Any | None
    boundary_names: frozenset[str]
