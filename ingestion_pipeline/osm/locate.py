"""The features of a city: those whose representative point its boundary owns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ingestion_pipeline.core.characters import are_storable
from ingestion_pipeline.geometry.complexity import has_too_much_text
from ingestion_pipeline.geometry.points import representative_points
from ingestion_pipeline.osm.assemble import rejection, take

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from ingestion_pipeline.core.boundary import Boundary
    from ingestion_pipeline.core.rejection import Rejection, RejectionReason
    from ingestion_pipeline.osm.features import Features

    BoolArray = npt.NDArray[np.bool_]


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


def locate(features: Features, boundary: Boundary) -> Located:
    """Return the city's features, in their order."""
    lon, lat, point_source = representative_points(features.geometry)
    inside = np.asarray(boundary.owns(lon, lat), dtype=bool)
    unstorable: dict[RejectionReason, BoolArray] = {
        "too_much_text": _of_tags(features, has_too_much_text),
        "invalid_text": _of_tags(features, _is_invalid_text),
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


def _of_tags(features: Features, applies: Callable[[Mapping[str, str]], bool]) -> BoolArray:
    """Return for each feature whether its tags meet a condition, evaluated once for each set."""
    of_sets = [applies(tags) for tags in features.tags.sets]
    found: BoolArray = np.array(of_sets, dtype=np.bool_)[features.tags.set_of]
    return found


def _is_invalid_text(tags: Mapping[str, str]) -> bool:
    return not are_storable((*tags, *tags.values()))
