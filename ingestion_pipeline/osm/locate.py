"""Which features are a city's: those whose representative point its boundary owns.

Belongs here: that rule, for every dataset alike. Does not belong here: the boundary
(`boundary.py`), the points (`points.py`), and what becomes of the features (`normalize.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ingestion_pipeline.osm.assemble import take
from ingestion_pipeline.points import representative_points

if TYPE_CHECKING:
    import numpy.typing as npt

    from ingestion_pipeline.osm.boundary import Boundary
    from ingestion_pipeline.osm.features import Features


@dataclass(frozen=True)
class Located:
    """The N features of a city, with their representative points.

    Attributes:
        features: N features.
        lon: (N,) degrees of the points, on the surface of areas.
        lat: (N,) degrees.
        point_source: (N,) how each point was had.
        outside: How many other features there were, of no part of the city.
    """

    features: Features
    lon: npt.NDArray[np.float64]
    lat: npt.NDArray[np.float64]
    point_source: npt.NDArray[np.object_]
    outside: int


def locate(features: Features, boundary: Boundary) -> Located:
    """Keep the features that are the city's, in their order."""
    lon, lat, point_source = representative_points(features.geometry)
    inside = np.asarray(boundary.owns(lon, lat), dtype=bool)
    return Located(
        features=take(features, inside),
        lon=lon[inside],
        lat=lat[inside],
        point_source=point_source[inside],
        outside=int((~inside).sum()),
    )
