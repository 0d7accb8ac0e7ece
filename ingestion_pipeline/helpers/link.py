"""Links between places of a feed and the same places in OpenStreetMap; they are never merged.

Two places of one kind are linked by, in this order:

1. *Identifier*: they share an identifier, such as the code of a stop (`identifiers.py`). Those of a
   trusted scheme may be far apart; other identifiers of it are a veto.
2. *Name*: they are near each other, and their names are alike (`place_names.py`).
3. *Distance*: they are near each other, and the name of one says nothing. If they are next to each
   other, different names are no veto ("Main Square", "Town Hall"), but different numbers are
   ("Platform 1", "Platform 2").

How near depends on the kind. Each place gets one partner at most, and none if two are about as
good. The same input always gives the same links, in any order of its rows.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ingestion_pipeline.columns.hashing import canonical_json, with_content_hash
from ingestion_pipeline.helpers.identifiers import (
    Identifiers,
    Shared,
    identifiers_of_feed,
    identifiers_of_osm,
)
from ingestion_pipeline.helpers.place_names import ALIKE, likeness
from ingestion_pipeline.text.names import TRANSLITERATED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from ingestion_pipeline.core.arrays import FloatArray
    from ingestion_pipeline.helpers.place_names import Likeness


DEFAULT_REACH_M = 50.0

REACH_M: Mapping[str, float] = {
    "bench": 5.0,
    "bicycle_parking": 15.0,
    "atm": 25.0,
    "defibrillator": 30.0,
    "drinking_water": 30.0,
    "hospital": 250.0,
    "public_transport_stop": 25.0,
}
"""The largest distance, in metres, of two records of one place; `DEFAULT_REACH_M` for other kinds.

Small things are close together, so a large distance would link neighbours; a hospital covers a
large area, of which each source may use another point. Stops have the name of those on the other
side of the street, or around the corner: of links by name from 20 m on, 3 in 10 were wrong."""

IDENTIFIER_REACH_M = 500.0
"""The largest distance, in metres, of two records with one identifier of a trusted scheme. A stop
or a station is moved along its street, and keeps its code."""

NEXT_TO_M = 5.0
"""The distance, in metres, up to which different names are no veto."""

WORTH_WITHOUT_NAMES = 0.5
"""The assumed similarity if the names say nothing."""

DISTANCE_ALONE_SHARE = 0.6
"""The share of the reach up to which two places are linked if the names say nothing. Farther away,
a place that OpenStreetMap lacks is often linked to its neighbour."""

DOUBLE_SHARE = 0.1
"""The share of the reach up to which two places are one that is recorded twice: as its pole and as
its platform, as a point and as an area."""

METRES_OF_DEGREE = 111_195
"""Of a great circle, on a sphere with the mean radius of the Earth."""

By = Literal["identifier", "name", "distance"]
"""The evidence of a link (documented in docs/data-dictionary.md)."""


LEAST_LEAD_M: Mapping[By, float] = {"identifier": 0.0, "name": 8.0, "distance": 10.0}
"""How much nearer than others, in metres, a pair with the same evidence must be. No link is better
than a wrong one: of two stops with the same name on both sides of a street, or of the benches along
a path, the nearest may be the wrong one. Publishers' positions have the same errors for all kinds,
so this does not depend on the reach."""


class Pair(NamedTuple):
    """Two records of one place.

    Attributes:
        feed_index: The row in the feed's table.
        other_index: The row in the other table.
        by: The strongest evidence.
        identifier: The identifier that they share, if any.
        distance_m: Geodesic distance of their points in metres, 1 decimal.
        name_similarity: From 0 to 1, 2 decimals; None if the names say nothing.
        score: From 0 to 1, 3 decimals: 1 with an identifier; otherwise the mean of nearness and
            name similarity.
    """

    feed_index: int
    other_index: int
    by: By
    identifier: Shared | None
    distance_m: float
    name_similarity: float | None
    score: float


def link(feed: pa.Table, osm: pa.Table, *, source: str = "osm") -> pa.Table:
    """Return a feed's places with the column `links`.

    Args:
        feed: Its places: columns of `helper_place`.
        osm: The places of OpenStreetMap in the same city on the same day, with those columns.
        source: The name of `osm` in the links.

    Returns:
        The feed's table with `links`: canonical JSON, a list of at most one object
        `{source, source_ref, by, identifier, distance_m, name_similarity, score}`; and with its
        `content_hash`.
    """
    import pyarrow as pa

    refs = osm.column("source_ref").to_pylist()
    links: list[list[dict[str, Any]]] = [[] for _ in range(len(feed))]
    for pair in pairs(feed, osm):
        links[pair.feed_index].append(
            {
                "source": source,
                "source_ref": refs[pair.other_index],
                "by": pair.by,
                "identifier": _as_json(pair.identifier),
                "distance_m": pair.distance_m,
                "name_similarity": pair.name_similarity,
                "score": pair.score,
            }
        )
    text = pa.array([canonical_json(found) for found in links], pa.string())
    linked = feed.set_column(feed.column_names.index("links"), "links", text)
    return with_content_hash(linked)


def _as_json(shared: Shared | None) -> dict[str, str] | None:
    if shared is None:
        return None
    return {"field": shared.scheme.field, "key": shared.scheme.key, "value": shared.value}


def pairs(feed: pa.Table, osm: pa.Table) -> list[Pair]:
    """Return the pairs of records of one place, the best first; each record is in one at most.

    Args:
        feed: N places; see `link`.
        osm: M places.
    """
    identifiers = identifiers_of_feed(feed), identifiers_of_osm(osm)
    candidates = _candidates(feed, osm, identifiers)
    ours, theirs = (table.column("source_ref").to_pylist() for table in (feed, osm))
    candidates.sort(
        key=lambda pair: (
            -pair.score,
            pair.distance_m,
            ours[pair.feed_index],
            theirs[pair.other_index],
        )
    )
    reach = [_reach_of(str(kind)) for kind in feed.column("kind").to_pylist()]
    choice = _Choice(candidates, (_positions(feed), _positions(osm)), reach, identifiers[1])
    return [pair for pair in candidates if choice.takes(pair)]


class _Choice:
    """The choice among candidates, which are offered from the best to the worst."""

    def __init__(
        self,
        candidates: Sequence[Pair],
        positions: tuple[FloatArray, FloatArray],
        reach: Sequence[float],
        identifiers: Sequence[Mapping[str, Sequence[str]]],
    ) -> None:
        """Start without a choice.

        Args:
            candidates: All of them.
            positions: The points of the feed and of the other table: longitude, latitude.
            reach: In metres, by row of the feed.
            identifiers: Of the other table, by row.
        """
        self._positions = positions
        self._reach = reach
        self._identifiers = identifiers
        self._taken: tuple[set[int], set[int]] = (set(), set())
        self._of: tuple[dict[int, list[Pair]], ...] = (defaultdict(list), defaultdict(list))
        for pair in candidates:
            self._of[0][pair.feed_index].append(pair)
            self._of[1][pair.other_index].append(pair)

    def takes(self, pair: Pair) -> bool:
        """Take a pair if both places are free, and no other pair of one of them is as good."""
        if self._is_too_far(pair) or not self._is_free(pair) or self._has_rival(pair):
            return False
        self._taken[0].add(pair.feed_index)
        self._taken[1].add(pair.other_index)
        return True

    def _is_free(self, pair: Pair) -> bool:
        return pair.feed_index not in self._taken[0] and pair.other_index not in self._taken[1]

    def _is_too_far(self, pair: Pair) -> bool:
        """Return whether a pair is only a rival of others."""
        share = DISTANCE_ALONE_SHARE if pair.name_similarity is None else 1.0
        reach = share * self._reach[pair.feed_index]
        return pair.identifier is None and pair.distance_m > reach

    def _has_rival(self, pair: Pair) -> bool:
        least = pair.score - LEAST_LEAD_M[pair.by] / self._reach[pair.feed_index] / 2
        return any(
            other.score > least
            and other is not pair
            and self._is_free(other)
            and not self._are_double(pair, other)
            for other in (*self._of[0][pair.feed_index], *self._of[1][pair.other_index])
        )

    def _are_double(self, pair: Pair, other: Pair) -> bool:
        """Return whether two pairs of one place have one other place, recorded twice."""
        if pair.other_index == other.other_index:
            one, two = self._positions[0][[pair.feed_index, other.feed_index]]
        else:
            if self._have_different_identifiers(pair.other_index, other.other_index):
                return False
            one, two = self._positions[1][[pair.other_index, other.other_index]]
        east, north = (two - one) * METRES_OF_DEGREE
        apart = np.hypot(east * np.cos(np.radians(one[1])), north)
        return bool(apart <= DOUBLE_SHARE * self._reach[pair.feed_index])

    def _have_different_identifiers(self, one: int, two: int) -> bool:
        """Return whether two places of the other table are two, such as platforms 1 and 2."""
        ours, theirs = self._identifiers[one], self._identifiers[two]
        return any(set(ours[key]).isdisjoint(theirs[key]) for key in ours.keys() & theirs.keys())


def _candidates(
    feed: pa.Table,
    osm: pa.Table,
    ids: tuple[Sequence[Mapping[str, str]], Sequence[Mapping[str, Sequence[str]]]],
) -> list[Pair]:
    """Return the pairs within reach, and those that are only their rivals."""
    ours, theirs = _rows_by_kind(feed), _rows_by_kind(osm)
    names = _all_names(feed), _all_names(osm)
    found = []
    for kind in sorted(ours.keys() & theirs.keys()):
        reach = _reach_of(kind)
        around = _near(feed, ours[kind], osm, theirs[kind], reach + max(LEAST_LEAD_M.values()))
        near = {pair: distance for pair, distance in around.items() if distance <= reach}
        identifiers = Identifiers(
            {row: ids[0][row] for row in ours[kind]},
            {row: ids[1][row] for row in theirs[kind]},
            near,
        )
        far = identifiers.of_trusted_schemes() - around.keys()
        around |= _distances(feed, osm, sorted(far), IDENTIFIER_REACH_M)
        for (one, other), distance in around.items():
            if identifiers.differ(one, other):
                continue
            pair = _pair(
                one,
                other,
                distance,
                identifier=identifiers.shared(one, other),
                names=likeness(names[0][one], names[1][other], kind),
                reach=reach,
            )
            found += [] if pair is None else [pair]
    return found


def _pair(
    one: int,
    other: int,
    distance: float,
    *,
    identifier: Shared | None,
    names: Likeness,
    reach: float,
) -> Pair | None:
    """Return two records as one place with the evidence, or None if they are two places."""
    similarity = names.similarity
    if identifier is not None:
        return Pair(one, other, "identifier", identifier, distance, similarity, 1.0)
    are_alike = similarity is not None and similarity >= ALIKE
    are_unlike = similarity is not None and not are_alike
    if names.is_other_number or (are_unlike and distance > NEXT_TO_M):
        return None
    worth = WORTH_WITHOUT_NAMES if similarity is None else similarity
    score = round((1 - distance / reach + worth) / 2, 3)
    return Pair(one, other, "name" if are_alike else "distance", None, distance, similarity, score)


def _reach_of(kind: str) -> float:
    return REACH_M.get(kind, DEFAULT_REACH_M)


def _rows_by_kind(table: pa.Table) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for index, kind in enumerate(table.column("kind").to_pylist()):
        rows[str(kind)].append(index)
    return rows


def _near(
    feed: pa.Table, ours: Sequence[int], osm: pa.Table, theirs: Sequence[int], reach: float
) -> dict[tuple[int, int], float]:
    """Return the pairs of rows within reach, with their geodesic distance in metres."""
    import shapely

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
    rows = [(ours[i], theirs[j]) for i, j in zip(left, right, strict=True)]
    return _distances(feed, osm, rows, reach)


def _distances(
    feed: pa.Table, osm: pa.Table, rows: Sequence[tuple[int, int]], reach: float
) -> dict[tuple[int, int], float]:
    """Return those pairs of rows that are within reach, with their geodesic distance in metres."""
    from pyproj import Geod

    if not rows:
        return {}
    one, other = np.array(rows).T
    # As lists: pyproj takes an array of one place for a number.
    places = (*_positions(feed)[one].T.tolist(), *_positions(osm)[other].T.tolist())
    _, _, metres = Geod(ellps="WGS84").inv(*places)
    return {
        pair: distance
        for pair, distance in zip(rows, np.round(metres, 1).tolist(), strict=True)
        if distance <= reach
    }


def _positions(table: pa.Table) -> FloatArray:
    return np.column_stack([table.column("lon").to_numpy(), table.column("lat").to_numpy()])


def _all_names(table: pa.Table) -> list[list[str]]:
    """Return each row's distinct names in all languages, without the name of its brand.

    A brand or an operator names no place: it has several, and other sources do not use its name.
    """
    return [
        sorted({*([name] if name and not _is_brand(key) else []), *json.loads(names).values()})
        for name, key, names in zip(
            *(table.column(name).to_pylist() for name in ("name", "name_source", "names")),
            strict=True,
        )
    ]


def _is_brand(name_source: str | None) -> bool:
    key = (name_source or "").removeprefix(TRANSLITERATED)
    return key == "brand" or key.startswith("brand:")
