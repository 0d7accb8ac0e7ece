"""Which features are a city's: those whose representative point its boundary owns.

Belongs here: that rule, for every dataset alike, and which of them no database could store. Does
not belong here: the boundary (`boundary.py`), the points (`points.py`), and what becomes of the
features (`normalize.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ingestion_pipeline.complexity import MAX_TEXT
from ingestion_pipeline.osm.assemble import rejection, take
from ingestion_pipeline.points import representative_points
from ingestion_pipeline.text.characters import are_storable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from ingestion_pipeline.osm.boundary import Boundary
    from ingestion_pipeline.osm.features import Features, Rejection, RejectionReason

    BoolArray = npt.NDArray[np.bool_]
    ObjectArray = npt.NDArray[np.object_]


LARGEST_VERSION = np.iinfo(np.int32).max
"""Of an object; the format and the column have 32 bits."""


@dataclass(frozen=True)
class Located:
    """The N features of a city, with their representative points.

    Attributes:
        features: N features.
        lon: (N,) degrees of the points, on the surface of areas.
        lat: (N,) degrees.
        point_source: (N,) how each point was had.
        outside: How many other features there were, of no part of the city.
        rejections: Features of the city that cannot be stored.
    """

    features: Features
    lon: npt.NDArray[np.float64]
    lat: npt.NDArray[np.float64]
    point_source: npt.NDArray[np.object_]
    outside: int
    rejections: list[Rejection]


def locate(features: Features, boundary: Boundary) -> Located:
    """Keep the features that are the city's, in their order."""
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
    """Tell why the tags of features cannot be stored, or None; asked once for equal tags."""
    of_sets: ObjectArray = np.array(list(map(_why_unstorable, features.tags.sets)), dtype=object)
    return of_sets[features.tags.set_of]


def _why_unstorable(tags: Mapping[str, str]) -> RejectionReason | None:
    together = "".join([*tags, *tags.values()])
    if len(together) > MAX_TEXT:
        return "too_much_text"
    return None if are_storable([together]) else "invalid_text"
