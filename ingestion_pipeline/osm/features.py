"""The plain values that readers give to the normalizer, whatever the source was.

Belongs here: the columnar container of features, rejections, and evidence. Does not belong here:
reading (`overpass.py`, `extract.py`) and shaping (`normalize.py`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ingestion_pipeline.osm.acquire import Coverage
from ingestion_pipeline.osm.tag_sets import TagSets

LICENCE = "ODbL-1.0"
ATTRIBUTION = "© OpenStreetMap contributors"

GeomQuality = Literal["exact", "repaired", "partial", "line", "point", "too_complex"]
"""How a feature's geometry was had.

- `exact`: as mapped, and valid.
- `repaired`: mapped invalid; made valid without losing the shape.
- `partial`: some of its nodes or members were missing upstream or could not be used, or its rings
  stay open; built from the rest.
- `line`: an area by its tags that could not be assembled; its lines are kept.
- `point`: only single points could be had.
- `too_complex`: an area that exceeds the limits of `complexity.py`; its lines are kept, or, where
  these are too many, single points.
"""

RejectionReason = Literal[
    "no_geometry",
    "missing_nodes",
    "invalid_coordinates",
    "no_main_tag",
    "invalid_text",
    "invalid_version",
    "not_a_place",
    "too_much_text",
]
"""Why an object that was selected is not staged (documented in docs/data-dictionary.md).

- `missing_nodes`: a way none of whose nodes the source has (Overpass: `geometry: []`).
- `no_geometry`: a relation none of whose members, nor of theirs, has a geometry.
- `invalid_coordinates`: a coordinate outside -180..180 / -90..90, or not a number.
- `no_main_tag`: nothing is left that makes it a POI (`amenity=no`).
- `not_a_place`: a road, a railway, a river or a route, of which a main tag only says something
  (`highway=residential` with `historic=yes`).
- `too_much_text`: its tags are longer together than `complexity.MAX_TEXT`.
- `invalid_text`: a tag that no database stores (`text/characters.py`).
- `invalid_version`: a version above 32 bits.
"""


@dataclass(frozen=True)
class Rejection:
    """One object that was selected upstream and cannot be staged.

    Attributes:
        source_ref: `node/123`, `way/123` or `relation/123`.
        reason: Why; see `RejectionReason`.
        detail: A sentence for a person.
        raw: What upstream said of the object (storable JSON; no user names, no uids).
    """

    source_ref: str
    reason: RejectionReason
    detail: str
    raw: dict[str, Any]


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


@dataclass(frozen=True)
class Evidence:
    """What the data itself says of when it was true, and where it came from.

    Attributes:
        as_of: The moment (UTC, aware) whose state the data shows.
        as_of_source: How `as_of` is known: `timestamp_osm_base`, `attic_date`,
            `replication_timestamp`, or `newest_object` (inferred).
        obtained: `overpass` or `extract`.
        location: URL or path, without credentials.
        query: The Overpass QL text (the first part's, where the bbox was split), or None.
        history: An object that the server still knows as it was before its last change up to
            `as_of`: the proof that its history reaches back that far. None where no state of the
            past was asked for.
        licence: SPDX identifier.
        attribution: The text that a product must show.
        coverage: What the extract covers; None of Overpass, which answers for what was asked.
    """

    as_of: datetime
    as_of_source: Literal[
        "timestamp_osm_base", "attic_date", "replication_timestamp", "newest_object"
    ]
    obtained: Literal["overpass", "extract"]
    location: str
    query: str | None
    history: str | None = None
    licence: str = LICENCE
    attribution: str = ATTRIBUTION
    coverage: Coverage | None = None
