"""Identity: which feature of a day is the place that another feature was before.

Belongs here: links between features that are gone and new ones, twins, and reused ids; pure
functions of the features. Does not belong here: ids of places, tables and events, which follow from
them.

The id of an object of OpenStreetMap is no identity of a place: mappers replace a node by the
outline of its building. Only the residue is looked at, features that are gone and features that are
new. No link is preferred to a wrong one: what is ambiguous stays unlinked, and is listed for a
person (docs/adr/017-identity-at-promotion.md).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import shapely

    from ingestion_pipeline.core.arrays import FloatArray
    from ingestion_pipeline.promotion.evidence import Compared, Known
    from ingestion_pipeline.promotion.nearness import Map

REACH_M = 200.0
"""The largest distance in metres between two features of one place."""

MOVED_M = 50.0
"""From this distance in metres on, an id that has another category and name is another place."""

COMPATIBLE = 0.75
"""The smallest similarity of compatible names."""

_NODE, _AREA = 0, 2  # dimensions


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A feature, as the matcher sees it.

    Attributes:
        ref: Its `source_ref`, unique among the features of one side.
        category: The primary category.
        categories: All categories, the primary one first.
        name: The name that is shown.
        names: Names by language.
        tags: The tags.
        contact: Contacts, as `text/contacts.py` returns them.
        wikidata: The item of Wikidata.
        geometry: EPSG:4326.
        lon: Of the representative point, in degrees.
        lat: Of the representative point, in degrees.
        geom_quality: The quality of the geometry.
    """

    ref: str
    category: str
    categories: tuple[str, ...]
    name: str | None
    names: Mapping[str, str]
    tags: Mapping[str, str]
    contact: Mapping[str, Any]
    wikidata: str | None
    geometry: shapely.Geometry
    lon: float
    lat: float
    geom_quality: str | None


class Link(NamedTuple):
    """Two features of one place.

    Attributes:
        gone: The ref of the feature that is gone.
        new: The ref of the new one.
        score: From 0.5 to 1, 3 decimals.
        evidence: What they have in common; see `evidence.numbers_of`.
    """

    gone: str
    new: str
    score: float
    evidence: Mapping[str, Any]


class Ambiguity(NamedTuple):
    """Features that could be one place in several ways; none of them is linked.

    Attributes:
        gone: The refs of those that are gone, sorted.
        new: The refs of the new ones, sorted.
        evidence: `{"pairs": [...]}`: each pair that could be one place, with its evidence.
    """

    gone: tuple[str, ...]
    new: tuple[str, ...]
    evidence: Mapping[str, Any]


class Matching(NamedTuple):
    """The result for a residue; each ref is in one link or one ambiguity at most."""

    links: tuple[Link, ...]
    ambiguous: tuple[Ambiguity, ...]


class Twin(NamedTuple):
    """A node inside an area that is the same place.

    Attributes:
        area: The ref of the area.
        node: The ref of the node.
        evidence: What they have in common.
    """

    area: str
    node: str
    evidence: Mapping[str, Any]


def match(gone: Sequence[Place], new: Sequence[Place]) -> Matching:
    """Return which new features are places that are gone, and what is ambiguous.

    The result does not depend on the order of the features. All places are of one source.

    Args:
        gone: Features that are no longer there.
        new: Features that were not there.

    Returns:
        Links and ambiguities, sorted by refs. What is in neither has no continuation.
    """
    import numpy as np

    from ingestion_pipeline.promotion import evidence
    from ingestion_pipeline.promotion.assignment import Pairs, assign

    left, right = _sorted(gone), _sorted(new)
    if not left or not right:
        return Matching((), ())
    compared = _compared(left, right, REACH_M)
    pairs, bits = compared.near, evidence.bits_of(compared)
    (likely,) = np.nonzero(bits > evidence.THRESHOLD_BITS)
    worth = bits[likely] - evidence.THRESHOLD_BITS
    assigned = assign(
        Pairs(pairs.left[likely], pairs.right[likely], worth), margin=evidence.MARGIN_BITS
    )
    scores = evidence.score_of(bits)

    def link(index: int) -> Link:
        pair = int(likely[index])
        return Link(
            left[int(pairs.left[pair])].ref,
            right[int(pairs.right[pair])].ref,
            float(scores[pair]),
            evidence.numbers_of(compared, bits, pair),
        )

    return Matching(
        tuple(link(index) for index in assigned.links),
        tuple(_ambiguity([link(index) for index in group]) for group in assigned.ambiguous),
    )


def twins(places: Sequence[Place]) -> tuple[Twin, ...]:
    """Return the nodes that are the same place as an area around them.

    These have an equal category, or the area is only the outline of a building of the node's
    category (`likeness.OUTLINES`). They have compatible names or one without a name, no different
    identifiers, and are on the same level. Of several areas the smallest counts. A node is no twin
    if the area has another one that is as good, as a school has several buildings.

    Args:
        places: Features of one day.

    Returns:
        Twins, sorted by refs. Each ref is in one twin at most.
    """
    import numpy as np

    from ingestion_pipeline.promotion import evidence

    areas, nodes = _nodes_in_areas(_sorted(places))
    if not areas:
        return ()
    compared = _compared(areas, nodes, 0.0)
    pairs, bits = compared.near, evidence.bits_of(compared)
    around: dict[int, list[int]] = defaultdict(list)
    for pair in np.argsort(_sizes(areas)[pairs.left], kind="stable").tolist():
        if _is_twin(areas[pairs.left[pair]], nodes[pairs.right[pair]], compared, pair):
            around[int(pairs.right[pair])].append(pair)
    within: dict[int, list[int]] = defaultdict(list)
    for smallest, *_ in around.values():
        within[int(pairs.left[smallest])].append(smallest)
    found = []
    for candidates in within.values():
        named = [pair for pair in candidates if not compared.unnamed[pair]]
        if len(best := named or candidates) == 1:
            found.append(best[0])
    return tuple(
        Twin(
            areas[int(pairs.left[pair])].ref,
            nodes[int(pairs.right[pair])].ref,
            evidence.numbers_of(compared, bits, pair),
        )
        for pair in sorted(found)
    )


def is_reused(before: Place, after: Place) -> Mapping[str, Any] | None:
    """Return the evidence that a ref is another place now, or None.

    It is another place if its category contradicts the former one, its name is another one, and it
    moved by `MOVED_M` or more. Any identifier that stayed makes it the same place.

    Args:
        before: The feature on the day before.
        after: The feature with the same ref.
    """
    from ingestion_pipeline.promotion import evidence, likeness
    from ingestion_pipeline.promotion.nearness import distance_m

    one, other = _known(before), _known(after)
    relation = likeness.relation(one.categories, other.categories)
    similarity = likeness.best_similarity(one.names, other.names)
    same = evidence.identified_by(one.identifiers, other.identifiers).same
    renamed = (similarity or 0.0) < COMPATIBLE if one.names or other.names else False
    if relation != "contradicting" or not renamed or same:
        return None
    metres = distance_m(_map([before]), _map([after]))
    if metres < MOVED_M:
        return None
    return {
        "metres": metres,
        "category": relation,
        "categories": [before.category, after.category],
        "name_similarity": similarity,
        "names": [before.name, after.name],
    }


def _sorted(places: Sequence[Place]) -> list[Place]:
    return sorted(places, key=lambda place: place.ref)


def _compared(left: Sequence[Place], right: Sequence[Place], reach_m: float) -> Compared:
    from ingestion_pipeline.promotion import evidence
    from ingestion_pipeline.promotion.nearness import near

    pairs = near(_map(left), _map(right), reach_m)
    return evidence.compare([*map(_known, left)], [*map(_known, right)], pairs)


def _map(places: Sequence[Place]) -> Map:
    import numpy as np

    from ingestion_pipeline.promotion.nearness import mapped

    return mapped(
        [place.geometry for place in places],
        np.array([place.lon for place in places]),
        np.array([place.lat for place in places]),
    )


def _known(place: Place) -> Known:
    from ingestion_pipeline.promotion import likeness
    from ingestion_pipeline.promotion.evidence import Known

    return Known(
        likeness.specific((place.category, *place.categories), place.tags),
        likeness.names_of(place.name, place.names, place.tags),
        likeness.identifiers(place.tags, place.contact, place.wikidata),
        likeness.details(place.tags),
    )


def _nodes_in_areas(places: Sequence[Place]) -> tuple[list[Place], list[Place]]:
    """Return the areas and the nodes of which one is in the other, if their categories agree."""
    import numpy as np
    import shapely

    from ingestion_pipeline.promotion import likeness

    areas = [each for each in places if shapely.get_dimensions(each.geometry) == _AREA]
    nodes = [each for each in places if shapely.get_dimensions(each.geometry) == _NODE]
    shapes, points = (
        np.array([each.geometry for each in side], dtype=object) for side in (areas, nodes)
    )
    around, within = shapely.STRtree(points).query(shapes, predicate="intersects")
    pairs = [
        (area, node)
        for area, node in zip(around.tolist(), within.tolist(), strict=True)
        if likeness.could_be_twins(areas[area].categories, nodes[node].categories)
    ]
    chosen, inside = ({pair[side] for pair in pairs} for side in (0, 1))
    return [areas[area] for area in sorted(chosen)], [nodes[node] for node in sorted(inside)]


def _ambiguity(pairs: Sequence[Link]) -> Ambiguity:
    return Ambiguity(
        tuple(sorted({pair.gone for pair in pairs})),
        tuple(sorted({pair.new for pair in pairs})),
        {"pairs": [{"gone": pair.gone, "new": pair.new, **pair.evidence} for pair in pairs]},
    )


def _sizes(areas: Sequence[Place]) -> FloatArray:
    import shapely

    sizes: FloatArray = shapely.area([area.geometry for area in areas])
    return sizes


def _is_twin(area: Place, node: Place, compared: Compared, pair: int) -> bool:
    from ingestion_pipeline.promotion import likeness

    return bool(
        compared.near.inside[pair]
        and (
            compared.relation[pair] == "equal"
            or likeness.is_outline(area.categories, node.categories)
        )
        and not compared.identified[pair].different
        and area.tags.get("level") == node.tags.get("level")
        and (compared.unnamed[pair] or compared.similarity[pair] >= COMPATIBLE)
    )
