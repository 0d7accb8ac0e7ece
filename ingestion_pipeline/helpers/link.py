"""Links between places of a feed and the same places in OpenStreetMap; they are never merged.

Two places are candidates if they have the same kind and are near each other; the distance depends
on the kind. If both have names, these must be similar. Each place gets one partner at most: pairs
are chosen by their score, the best first, so the same input always gives the same links.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ingestion_pipeline.columns.hashing import canonical_json, with_content_hash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from ingestion_pipeline.core.arrays import FloatArray


DEFAULT_REACH_M = 50.0

REACH_M: Mapping[str, float] = {
    "bench": 5.0,
    "bicycle_parking": 15.0,
    "atm": 25.0,
    "defibrillator": 30.0,
    "drinking_water": 30.0,
    "hospital": 250.0,
    "public_transport_stop": 40.0,
}
"""The largest distance, in metres, of two records of one place; `DEFAULT_REACH_M` for other kinds.

Small things are close together, so a large distance would link neighbours; a hospital covers a
large area, of which each source may use another point."""

LEAST_NAME_SIMILARITY = 0.75
"""The smallest similarity of the names of one place. "Central Pharmacy" and "Pharmacy Central Ltd"
are above, "Central Pharmacy" and "Old Pharmacy" below."""

WORTH_WITHOUT_NAMES = 0.5
"""The assumed similarity if one of the two has no name."""


_NUMBER = re.compile(r"\d+")


class Pair(NamedTuple):
    """Two records of one place.

    Attributes:
        feed_index: The row in the feed's table.
        other_index: The row in the other table.
        distance_m: Geodesic distance of their points in metres, 1 decimal.
        name_similarity: From 0 to 1, 2 decimals; None if one of them has no name.
        score: From 0 to 1, 3 decimals: the mean of nearness and name similarity.
    """

    feed_index: int
    other_index: int
    distance_m: float
    name_similarity: float | None
    score: float


def link(feed: pa.Table, osm: pa.Table, *, source: str = "osm") -> pa.Table:
    """Return a feed's places with the column `links`.

    Args:
        feed: Its places: the columns `source_ref`, `kind`, `name`, `names`, `lon`, `lat`, `links`.
        osm: The places of OpenStreetMap in the same city on the same day, with those columns.
        source: The name of `osm` in the links.

    Returns:
        The feed's table with `links`: canonical JSON, a list of at most one object
        `{source, source_ref, distance_m, name_similarity, score}`; and with its `content_hash`.
    """
    import pyarrow as pa

    refs = osm.column("source_ref").to_pylist()
    links: list[list[dict[str, Any]]] = [[] for _ in range(len(feed))]
    for pair in pairs(feed, osm):
        links[pair.feed_index].append(
            {
                "source": source,
                "source_ref": refs[pair.other_index],
                "distance_m": pair.distance_m,
                "name_similarity": pair.name_similarity,
                "score": pair.score,
            }
        )
    text = pa.array([canonical_json(found) for found in links], pa.string())
    linked = feed.set_column(feed.column_names.index("links"), "links", text)
    return with_content_hash(linked)


def pairs(feed: pa.Table, osm: pa.Table) -> list[Pair]:
    """Return the pairs of records of one place, the best first; each record is in one at most.

    Args:
        feed: N places; see `link`.
        osm: M places.
    """
    candidates = _candidates(feed, osm)
    ours, theirs = (table.column("source_ref").to_pylist() for table in (feed, osm))
    candidates.sort(
        key=lambda pair: (
            -pair.score,
            pair.distance_m,
            ours[pair.feed_index],
            theirs[pair.other_index],
        )
    )
    taken: tuple[set[int], set[int]] = (set(), set())
    chosen = []
    for pair in candidates:
        if pair.feed_index not in taken[0] and pair.other_index not in taken[1]:
            taken[0].add(pair.feed_index)
            taken[1].add(pair.other_index)
            chosen.append(pair)
    return chosen


def _candidates(feed: pa.Table, osm: pa.Table) -> list[Pair]:
    ours, theirs = _rows_by_kind(feed), _rows_by_kind(osm)
    names = _all_names(feed), _all_names(osm)
    found = []
    for kind in sorted(ours.keys() & theirs.keys()):
        reach = REACH_M.get(kind, DEFAULT_REACH_M)
        for one, other, distance in _near(feed, ours[kind], osm, theirs[kind], reach):
            similarity = _similarity(names[0][one], names[1][other])
            if similarity is not None and similarity < LEAST_NAME_SIMILARITY:
                continue
            likeness = WORTH_WITHOUT_NAMES if similarity is None else similarity
            score = round((1 - distance / reach + likeness) / 2, 3)
            found.append(Pair(one, other, distance, similarity, score))
    return found


def _rows_by_kind(table: pa.Table) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for index, kind in enumerate(table.column("kind").to_pylist()):
        rows[str(kind)].append(index)
    return rows


def _near(
    feed: pa.Table, ours: Sequence[int], osm: pa.Table, theirs: Sequence[int], reach: float
) -> list[tuple[int, int, float]]:
    """Return the pairs of rows within reach, with their geodesic distance in metres."""
    import shapely
    from pyproj import Geod

    one, other = _positions(feed)[ours], _positions(osm)[theirs]
    # A degree of latitude has at least 110,574 m (WGS 84, at the equator), one of longitude that
    # times the cosine: the box contains the circle, and Geod gives the exact distance.
    degrees = reach / 110_574
    widest = np.cos(np.radians(np.minimum(np.abs(one[:, 1]) + degrees, 89.0)))
    boxes = shapely.box(
        one[:, 0] - degrees / widest,
        one[:, 1] - degrees,
        one[:, 0] + degrees / widest,
        one[:, 1] + degrees,
    )
    points: Any = shapely.points(other)
    left, right = shapely.STRtree(points).query(boxes, predicate="intersects")
    # As lists: pyproj takes an array of one place for a number.
    places = (*one[left].T.tolist(), *other[right].T.tolist())
    _, _, metres = Geod(ellps="WGS84").inv(*places)
    distances = np.round(metres, 1)
    return [
        (ours[i], theirs[j], float(distance))
        for i, j, distance in zip(left, right, distances, strict=True)
        if distance <= reach
    ]


def _positions(table: pa.Table) -> FloatArray:
    return np.column_stack([table.column("lon").to_numpy(), table.column("lat").to_numpy()])


def _all_names(table: pa.Table) -> list[list[str]]:
    """Return each row's distinct names in all languages."""
    return [
        sorted({*([name] if name else []), *json.loads(str(names)).values()})
        for name, names in zip(
            table.column("name").to_pylist(), table.column("names").to_pylist(), strict=True
        )
    ]


def _similarity(ours: Sequence[str], theirs: Sequence[str]) -> float | None:
    """Return the similarity, from 0 to 1, of the two most similar names, regardless of language.

    The order of words, case and punctuation do not matter. Names with different numbers have no
    similarity: "Pharmacy 1" is not "Pharmacy 2".
    """
    from rapidfuzz import fuzz, utils

    if not ours or not theirs:
        return None
    best = max(
        fuzz.token_sort_ratio(one, other, processor=utils.default_process)
        if _NUMBER.findall(one) == _NUMBER.findall(other)
        else 0.0
        for one in ours
        for other in theirs
    )
    return round(best / 100, 2)
