"""Geometries of elements, for every source.

Every reader converts its raw elements into `Elements` and leaves the rest to `assemble`, so the
same objects have the same geometry, byte for byte, from every source.

Rules
-----
- A node is a point.
- An open way is a line. A closed way is a polygon, unless its tags make it a line (`area_tags`).
- A relation of type `multipolygon` or `boundary` is the area that its ways enclose: segments that
  occur an even number of times cancel each other, the rest forms rings, and what is inside an odd
  number of rings is inside the area. Roles are used only where something is missing, so that a
  courtyard is not mistaken for the building around it. These are libosmium's rules, except that
  libosmium returns no area where a ring is open or crosses itself.
- Any other relation (`site`, `route`, ...) has no area of its own. It consists of its members:
  closed ways that are areas by their own tags, areas of multipolygons, lines of other ways, points
  of nodes, and the same of nested relations. Overlapping areas are merged. Members of one dimension
  make a Multi geometry, those of several a GeometryCollection.
- An area that encloses nothing is kept as lines or as points, and `geom_quality` records it; so is
  an area that exceeds the limits of `geometry/complexity.py`. Only an object without a usable
  coordinate is rejected.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ingestion_pipeline.columns.tag_sets import TagSets
from ingestion_pipeline.core.characters import storable
from ingestion_pipeline.core.parallel import cores, on_each
from ingestion_pipeline.core.rejection import Rejection, RejectionReason
from ingestion_pipeline.geometry.complexity import (
    MAX_SEGMENTS,
    MAX_TEXT,
    flaws,
    has_too_much_text,
    is_large,
    is_too_complex,
    rings_of,
)
from ingestion_pipeline.geometry.rings import HALF_WORLD, eastward, enclosed, plain_areas, segments
from ingestion_pipeline.osm.area_tags import is_area
from ingestion_pipeline.osm.features import Features, GeomQuality

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pyproj import Transformer

    from ingestion_pipeline.core.arrays import (
        BoolArray,
        FloatArray,
        IntArray,
        ObjectArray,
        TimeArray,
    )


_WORTH_FORKING = 500
"""The number of relations for which a second process pays off; a tenth of a second of work."""

AREAL_TYPES = frozenset({"multipolygon", "boundary"})
"""Types of relations that are areas. Source: "Types of relation" of the OSM wiki."""

LINEAR_TYPES = frozenset({"route", "superroute", "waterway"})
"""Types of relations whose closed ways are lines where the source lacks their tags. Same source."""

MAX_DEPTH = 4
"""The deepest nesting of relations below the assembled one. A group of stop areas with
multipolygons has a depth of two."""


class Member(NamedTuple):
    """One member of a relation.

    Attributes:
        type: The kind of element.
        ref: Its OSM id.
        role: Its role, often empty.
        xy: (j, 2) lon and lat in degrees: one row for a node, the line of a way, NaN rows for
            nodes that the source lacks. None where the source has no geometry of the member
            (always for relations).
        tags: A way's own tags; None where the source does not provide them.
    """

    type: Literal["node", "way", "relation"]
    ref: int
    role: str
    xy: FloatArray | None
    tags: Mapping[str, str] | None = None


class Nested(NamedTuple):
    """A relation that is a member of others.

    Attributes:
        type: The value of its tag `type`.
        members: In the relation's order.
    """

    type: str | None
    members: Sequence[Member]


@dataclass(frozen=True)
class Elements:
    """Raw selected elements of any source, column by column, EPSG:4326 (lon, lat).

    No kind has duplicates; the order does not matter.

    Attributes:
        node_id: (n,) OSM ids.
        node_version: (n,) versions; 0 where unknown.
        node_timestamp: (n,) datetime64[s], UTC; NaT where unknown.
        node_tags: Of n nodes.
        node_xy: (n, 2).
        way_id: (m,).
        way_version: (m,).
        way_timestamp: (m,).
        way_tags: Of m ways.
        way_offsets: (m + 1,); way i has the rows `way_offsets[i]:way_offsets[i + 1]` of `way_xy`.
        way_xy: (k, 2); NaN rows for nodes that the source lacks.
        way_closed: (m,) whether the first and the last node have the same id.
        relation_id: (r,).
        relation_version: (r,).
        relation_timestamp: (r,).
        relation_tags: Of r relations.
        relation_members: r lists of members, in the relation's order.
        nested: Relations that may be members, by id, selected or not; without those that the source
            lacks.
    """

    node_id: IntArray
    node_version: IntArray
    node_timestamp: TimeArray
    node_tags: TagSets
    node_xy: FloatArray
    way_id: IntArray
    way_version: IntArray
    way_timestamp: TimeArray
    way_tags: TagSets
    way_offsets: IntArray
    way_xy: FloatArray
    way_closed: BoolArray
    relation_id: IntArray
    relation_version: IntArray
    relation_timestamp: TimeArray
    relation_tags: TagSets
    relation_members: list[list[Member]]
    nested: Mapping[int, Nested] = field(default_factory=dict)


class _Shapes(NamedTuple):
    """Geometries of the elements of one kind.

    Attributes:
        geometry: Geometries, None for rejected elements.
        quality: `GeomQuality` of each.
        reason: `RejectionReason` of each; undefined where there is a geometry.
    """

    geometry: ObjectArray
    quality: ObjectArray
    reason: ObjectArray


def assemble(elements: Elements) -> tuple[Features, list[Rejection]]:
    """Build the geometry of every element.

    Returns:
        The features, ordered by (node, way, relation) and id, and the rejections of elements
        without a usable geometry. Every element is in exactly one of them.
    """
    import shapely

    # Results are pickled, so the other process builds the few expensive geometries.
    processes = cores(len(elements.relation_id), worth=_WORTH_FORKING)
    (node, way), (relation,) = on_each(
        lambda makers: [make(elements) for make in makers],
        [[_node_shapes, _way_shapes], [_relation_shapes]],
        processes=processes,
    )
    shapes = (node, way, relation)
    everything = Features(
        osm_type=np.repeat(
            np.array(["node", "way", "relation"], dtype=object),
            [len(shape.geometry) for shape in shapes],
        ),
        osm_id=np.concatenate([elements.node_id, elements.way_id, elements.relation_id]),
        version=np.concatenate(
            [elements.node_version, elements.way_version, elements.relation_version]
        ),
        timestamp=np.concatenate(
            [elements.node_timestamp, elements.way_timestamp, elements.relation_timestamp]
        ),
        tags=TagSets.joined([elements.node_tags, elements.way_tags, elements.relation_tags]),
        geometry=np.concatenate([shape.geometry for shape in shapes]),
        geom_quality=np.concatenate([shape.quality for shape in shapes]),
    )
    reason = np.concatenate([shape.reason for shape in shapes])
    kind = np.repeat([0, 1, 2], [len(shape.geometry) for shape in shapes])
    order = np.lexsort((everything.osm_id, kind))
    usable = ~shapely.is_missing(everything.geometry)[order]
    return (
        take(everything, order[usable]),
        [rejection(everything, index, reason[index]) for index in order[~usable]],
    )


def take(features: Features, index: npt.NDArray[Any]) -> Features:
    """Return the features at `index` (integers or a mask), in that order."""
    rows = np.arange(len(features))[index]
    return Features(
        osm_type=features.osm_type[rows],
        osm_id=features.osm_id[rows],
        version=features.version[rows],
        timestamp=features.timestamp[rows],
        tags=features.tags.take(rows),
        geometry=features.geometry[rows],
        geom_quality=features.geom_quality[rows],
        refs=None if features.refs is None else features.refs[rows],
    )


_DETAIL: dict[RejectionReason, str] = {
    "invalid_coordinates": "a coordinate is not a number or outside -180..180 / -90..90 degrees",
    "missing_nodes": "the source has none of the way's nodes",
    "no_geometry": "no member of the relation, nested ones included, has a geometry in the source",
    "too_much_text": f"its tags have more than {MAX_TEXT} characters",
    "invalid_text": "a key or value is not UTF-8, or contains U+0000 or an unpaired surrogate",
    "invalid_version": "the version exceeds 32 bits, which no version in OpenStreetMap does",
}


def rejection(features: Features, index: int, reason: RejectionReason) -> Rejection:
    """Return the rejection of a feature."""
    tags = features.tags[index]
    (source_ref,) = take(features, np.array([index])).source_refs()
    return Rejection(
        source_ref=source_ref,
        reason=reason,
        detail=_DETAIL[reason],
        raw={
            "type": features.osm_type[index],
            "id": int(features.osm_id[index]) or None,
            "version": int(features.version[index]),
            "tags": {} if has_too_much_text(tags) else storable(tags),
        },
    )


def _off_earth(xy: FloatArray) -> BoolArray:
    """Return which rows are not on Earth; NaN, an unknown position, is not one of them."""
    off: BoolArray = np.any(np.abs(xy) > (180.0, 90.0), axis=1)
    return off


def _node_shapes(elements: Elements) -> _Shapes:
    import shapely

    xy = elements.node_xy.reshape(-1, 2)
    usable = np.isfinite(xy).all(axis=1) & ~_off_earth(xy)
    geometry = np.full(len(xy), None, dtype=object)
    geometry[usable] = shapely.points(xy[usable])
    return _Shapes(
        geometry,
        quality=np.full(len(xy), "exact", dtype=object),
        reason=np.full(len(xy), "invalid_coordinates", dtype=object),
    )


def _way_shapes(elements: Elements) -> _Shapes:
    import shapely

    xy = elements.way_xy.reshape(-1, 2)
    counts = np.diff(elements.way_offsets)
    ways = len(counts)
    owner = np.repeat(np.arange(ways), counts)
    known = ~np.isnan(xy).any(axis=1)
    known_counts = np.bincount(owner[known], minlength=ways)
    invalid = np.bincount(owner[_off_earth(xy)], minlength=ways) > 0

    geometry = np.full(ways, None, dtype=object)
    quality = np.where(known_counts < counts, "partial", "exact").astype(object)
    tags = elements.way_tags
    areal_sets = np.fromiter(map(is_area, tags.sets), dtype=np.bool_, count=len(tags.sets))
    areal = elements.way_closed & areal_sets[tags.set_of]

    rings = areal & ~invalid & (known_counts >= 3)  # noqa: PLR2004 - a triangle
    corners = rings[owner] & known
    shapely.linearrings(xy[corners], indices=owner[corners], out=geometry)
    geometry[rings], repaired = canonical(np.asarray(shapely.polygons(geometry[rings])))
    quality[rings] = _worse(quality[rings], repaired)

    lines = shapely.is_missing(geometry) & ~invalid & (known_counts >= 2)  # noqa: PLR2004 - a segment
    corners = lines[owner] & known
    shapely.linestrings(xy[corners], indices=owner[corners], out=geometry)
    lines &= shapely.length(geometry) > 0
    geometry[lines] = canonical(geometry[lines])[0]
    quality[lines & areal] = "line"

    points = ~(shapely.length(geometry) > 0) & ~invalid & (known_counts >= 1)
    first = np.searchsorted(owner[known], np.flatnonzero(points))
    geometry[points] = shapely.points(xy[known][first])
    quality[points] = "point"

    reason = np.where(invalid, "invalid_coordinates", "missing_nodes").astype(object)
    return _Shapes(geometry, quality, reason)


def _worse(quality: ObjectArray, repaired: ObjectArray) -> ObjectArray:
    """Combine the quality of the source with that of `canonical`.

    That of the source takes precedence, except where `canonical` found an area too complex.
    """
    return np.where((quality == "exact") | (repaired == "too_complex"), repaired, quality)


def _relation_shapes(elements: Elements) -> _Shapes:
    import shapely

    relations = len(elements.relation_id)
    geometry = np.full(relations, None, dtype=object)
    quality = np.full(relations, "exact", dtype=object)
    reason = np.full(relations, "no_geometry", dtype=object)
    reason[_have_invalid_coordinates(elements.relation_members)] = "invalid_coordinates"
    tags = elements.relation_tags
    areal_sets = [each.get("type") in AREAL_TYPES for each in tags.sets]
    areal = np.array(areal_sets, dtype=np.bool_)[tags.set_of]
    usable = reason != "invalid_coordinates"
    members = elements.relation_members
    own = np.flatnonzero(usable & areal)
    geometry[own], quality[own] = _areas([members[index] for index in own])
    # A relation without ways and nodes may still have nested relations.
    others = np.flatnonzero(usable & shapely.is_missing(geometry))
    valid = _without_invalid_coordinates(elements.nested)
    geometry[others], quality[others] = _collections(
        [
            _Pieces.of(
                Nested(None if areal[index] else tags[index].get("type"), members[index]),
                int(elements.relation_id[index]),
                valid,
            )
            for index in others.tolist()
        ],
        valid,
    )
    return _Shapes(geometry, quality, reason)


def _without_invalid_coordinates(nested: Mapping[int, Nested]) -> dict[int, Nested]:
    invalid = _have_invalid_coordinates([relation.members for relation in nested.values()])
    return {
        osm_id: relation
        for (osm_id, relation), off in zip(nested.items(), invalid.tolist(), strict=True)
        if not off
    }


def _have_invalid_coordinates(relations: Sequence[Sequence[Member]]) -> BoolArray:
    known = [[member.xy for member in each if member.xy is not None] for each in relations]
    off = _off_earth(np.concatenate([np.empty((0, 2)), *chain.from_iterable(known)]))
    if not off.any():
        return np.zeros(len(relations), np.bool_)
    owner = np.repeat(np.arange(len(relations)), [sum(map(len, lines)) for lines in known])
    return np.bincount(owner[off], minlength=len(relations)) > 0


def _lines_of_ways(members: Sequence[Member]) -> list[FloatArray]:
    """Return the lines of the member ways, each way once."""
    ways = {member.ref: member.xy for member in members if member.type == "way"}
    return [np.empty((0, 2)) if xy is None else xy for xy in ways.values()]


def _areas(relations: Sequence[Sequence[Member]]) -> tuple[ObjectArray, ObjectArray]:
    """Build the areas of multipolygons and boundaries, or else their lines or points.

    Returns:
        (N,) canonical geometries, None where there is none, and the quality of each.
    """
    import shapely

    geometry = np.full(len(relations), None, dtype=object)
    quality = np.full(len(relations), "exact", dtype=object)
    line_groups = [_lines_of_ways(members) for members in relations]
    plain = [index for index, lines in enumerate(line_groups) if not _is_too_large(lines)]
    geometry[plain] = plain_areas([line_groups[index] for index in plain])
    for index in np.flatnonzero(shapely.is_missing(geometry)).tolist():
        geometry[index], quality[index] = _area_or_less(relations[index])
    shaped = ~shapely.is_missing(geometry)
    geometry[shaped], repaired = canonical(geometry[shaped])
    quality[shaped] = _worse(quality[shaped], repaired)
    return geometry, quality


def _is_too_large(lines: Sequence[FloatArray]) -> bool:
    """Return whether so many segments are too complex, with or without crossings."""
    return is_large(sum(map(len, lines)), len(lines)) and is_too_complex(
        [_known(line) for line in lines]
    )


def _area_or_less(members: Sequence[Member]) -> tuple[Any | None, GeomQuality]:
    """Return the area of a multipolygon, or its lines, or its points, or None."""
    ways = list(_ways(members).values())
    too_complex = is_too_complex(ways)
    area, quality = (None, None) if too_complex else _area(members)
    if area is not None and quality is not None:
        return area, quality
    lines = _lines(members) if sum(map(len, ways)) <= MAX_SEGMENTS else None
    if lines is not None:
        return lines, "too_complex" if too_complex else "line"
    return _points(members), "too_complex" if too_complex else "point"


class _Pieces:
    """The parts of a relation that is not an area, each member once.

    Attributes:
        rings: Closed ways that are areas.
        multipolygons: Ids of nested relations that are areas.
        areas: Polygons of both, set by `_find_areas`.
        lines: Other ways.
        points: Positions of nodes.
        flaws: The quality of parts that are not `exact`.
        segments: Number of segments.
    """

    def __init__(self, nested: Mapping[int, Nested]) -> None:
        """Begin without parts."""
        self.rings: list[FloatArray] = []
        self.multipolygons: list[int] = []
        self.areas: list[Any] = []
        self.lines: list[FloatArray] = []
        self.points: list[FloatArray] = []
        self.flaws: set[GeomQuality] = set()
        self.segments = 0
        self._nested = nested
        self._seen: set[tuple[str, int]] = set()
        self._starts: list[FloatArray] = []

    @classmethod
    def of(cls, relation: Nested, osm_id: int, nested: Mapping[int, Nested]) -> _Pieces:
        """Collect the parts of a relation and of its nested relations."""
        pieces = cls(nested)
        pieces._seen.add(("relation", osm_id))
        pieces._add(relation, depth=0)
        if not (pieces.rings or pieces.multipolygons or pieces.lines or pieces.points):
            pieces.points = pieces._starts
        return pieces

    def _add(self, relation: Nested, depth: int) -> None:
        for member in relation.members:
            if (member.type, member.ref) in self._seen:
                continue
            self._seen.add((member.type, member.ref))
            if member.type == "relation":
                self._add_relation(member.ref, depth + 1)
                continue
            xy = _known(member.xy)
            if member.xy is None or len(xy) < len(member.xy):
                self.flaws.add("partial")
            if not len(xy):
                continue
            if member.type == "node":
                self.points.append(xy)
            else:
                self._add_way(xy, is_ring=_is_ring(member, relation.type))

    def _add_way(self, xy: FloatArray, *, is_ring: bool) -> None:
        self._starts.append(xy[:1])
        self.segments += len(xy) - 1
        if _ends_where_it_begins(xy) and not (xy != xy[:1]).any():
            self.flaws.add("partial")
        elif is_ring:
            self.rings.append(xy)
        else:
            self.lines.append(xy)

    def _add_relation(self, ref: int, depth: int) -> None:
        relation = self._nested.get(ref)
        if relation is None or depth > MAX_DEPTH:
            self.flaws.add("partial")
        elif relation.type in AREAL_TYPES and _lines_of_ways(relation.members):
            self.multipolygons.append(ref)
        else:
            self._add(relation, depth)

    def add_shape(self, shape: Any, quality: GeomQuality) -> None:
        """Add the geometry of a ring or a multipolygon."""
        import shapely

        # An area that became lines or points is incomplete.
        self.flaws.add("partial" if quality in {"line", "point"} else quality)
        parts = shapely.get_parts(shape)
        self.segments += int(shapely.get_num_coordinates(parts).sum())
        for part, dimension in zip(parts, shapely.get_dimensions(parts), strict=True):
            if dimension == _AREA:
                self.areas.append(part)
            else:
                pieces = self.lines if dimension == _LINE else self.points
                pieces.append(shapely.get_coordinates(part))

    def limit(self) -> None:
        """Keep only single points where there are too many segments."""
        if self.segments > MAX_SEGMENTS:
            self.flaws.add("too_complex")
            self.areas, self.lines = [], []
            self.points += self._starts

    def area(self) -> Any | None:
        """Return the areas, overlapping ones merged, as one geometry; None if there is none."""
        import shapely

        if len(self.areas) < 2:  # noqa: PLR2004
            return self.areas[0] if self.areas else None
        rings = rings_of(np.array(self.areas, dtype=object))
        if is_too_complex(rings):
            self.flaws.add("too_complex")
            self.lines += rings
            return None
        together = shapely.MultiPolygon(self.areas)
        return together if shapely.is_valid(together) else shapely.union_all(self.areas)

    @property
    def quality(self) -> GeomQuality:
        """The worst quality of the parts."""
        worst: tuple[GeomQuality, ...] = ("too_complex", "partial", "repaired")
        return next((flaw for flaw in worst if flaw in self.flaws), "exact")


def _is_whole(member: Member) -> bool:
    return member.xy is not None and not np.isnan(member.xy).any()


def _is_ring(member: Member, kind: str | None) -> bool:
    """Return whether a member way is an area, by its tags or else by the relation's type."""
    closed = (
        member.xy is not None
        and len(member.xy) > 3  # noqa: PLR2004 - a triangle
        and _ends_where_it_begins(member.xy)
    )
    if not closed:
        return False
    return kind not in LINEAR_TYPES if member.tags is None else is_area(member.tags)


def _ends_where_it_begins(xy: FloatArray) -> bool:
    start, end = xy[0].tolist(), xy[-1].tolist()  # faster to compare than arrays of two
    return bool(start == end)


def _find_areas(relations: Sequence[_Pieces], nested: Mapping[int, Nested]) -> None:
    """Build the areas of the rings and the multipolygons, all at once."""
    import shapely

    rings = [ring for each in relations for ring in each.rings]
    of_ring = [each for each in relations for _ in each.rings]
    xy, ring_of = _flat(rings)
    shapes, qualities = canonical(
        np.asarray(shapely.polygons(shapely.linearrings(xy, indices=ring_of)), dtype=object)
    )
    for pieces, ring, shape, quality in zip(of_ring, rings, shapes, qualities, strict=True):
        if shape is None:
            pieces.lines.append(ring)
        else:
            pieces.add_shape(shape, quality)
    asked = sorted({osm_id for each in relations for osm_id in each.multipolygons})
    made = _areas([nested[osm_id].members for osm_id in asked])
    areas = dict(zip(asked, zip(*made, strict=True), strict=True))
    for pieces in relations:
        for osm_id in pieces.multipolygons:
            pieces.add_shape(*areas[osm_id])


def _collections(
    relations: Sequence[_Pieces], nested: Mapping[int, Nested]
) -> tuple[ObjectArray, ObjectArray]:
    """Build the geometries of relations that are not areas.

    Returns:
        (N,) canonical geometries, None where there is no part, and the quality of each.
    """
    import shapely

    _find_areas(relations, nested)
    for each in relations:
        each.limit()
    count = len(relations)
    areas = np.array([each.area() for each in relations], dtype=object)
    lines, points = np.full((2, count), None, dtype=object)
    for column, pieces, make, join in (
        (lines, [each.lines for each in relations], shapely.linestrings, shapely.multilinestrings),
        (points, [each.points for each in relations], shapely.points, shapely.multipoints),
    ):
        xy, piece_of = _flat([xy for each in pieces for xy in each])
        owner = np.repeat(np.arange(count), [len(each) for each in pieces])
        join(np.asarray(make(xy, indices=piece_of)), indices=owner, out=column)
    shapes = np.stack([areas, lines, points], axis=1)
    owner, _ = np.nonzero(~shapely.is_missing(shapes))
    made, _ = canonical(shapes[~shapely.is_missing(shapes)])
    geometry = np.full(count, None, dtype=object)
    geometry[owner] = made
    parts, shape_of = shapely.get_parts(made, return_index=True)
    mixed = (np.bincount(owner, minlength=count) > 1)[owner[shape_of]]
    shapely.geometrycollections(parts[mixed], indices=owner[shape_of][mixed], out=geometry)
    return geometry, np.array([each.quality for each in relations], dtype=object)


def _flat(lines: Sequence[FloatArray]) -> tuple[FloatArray, IntArray]:
    """Return the positions of all lines, and the index of each position's line."""
    xy = np.concatenate([np.empty((0, 2)), *lines])
    return xy, np.repeat(np.arange(len(lines)), [len(line) for line in lines])


def _lines(members: Sequence[Member]) -> Any | None:
    """Return the known lines of the ways, each once, or None."""
    import shapely

    lines = [xy for xy in _ways(members).values() if (xy != xy[:1]).any()]
    return shapely.MultiLineString(lines) if lines else None


def _points(members: Sequence[Member]) -> Any | None:
    """Return the points of the nodes, or of the ways' nodes if there are no others, or None."""
    import shapely

    for kind in ("node", "way"):
        known = (_known(member.xy) for member in members if member.type == kind)
        points = np.concatenate([np.empty((0, 2)), *(xy[:1] for xy in known)])
        if len(points):
            return shapely.MultiPoint(points)
    return None


def _ways(members: Sequence[Member]) -> dict[int, FloatArray]:
    """Return the known nodes of the member ways, each way once: some relations list a way twice.

    Where one of them crosses the antimeridian, all continue beyond 180 degrees.
    """
    ways = {member.ref: _known(member.xy) for member in members if member.type == "way"}
    # A line can only be that wide if all lines together are.
    if _width(ways.values()) > HALF_WORLD and any(
        (np.abs(np.diff(xy[:, 0])) > HALF_WORLD).any() for xy in ways.values()
    ):
        return {ref: np.column_stack([eastward(xy[:, 0]), xy[:, 1]]) for ref, xy in ways.items()}
    return ways


def _width(lines: Iterable[FloatArray]) -> float:
    lon = np.concatenate([np.empty((0, 2)), *lines])[:, 0]
    return float(np.ptp(lon)) if len(lon) else 0.0


def _known(xy: FloatArray | None) -> FloatArray:
    if xy is None:
        return np.empty((0, 2))
    missing = np.isnan(xy)
    return xy[~missing.any(axis=1)] if np.count_nonzero(missing) else xy


def relation_area(members: Sequence[Member]) -> Any | None:
    """Build the area that a relation's ways enclose.

    Args:
        members: All members of the relation; only its ways count.

    Returns:
        A canonical Polygon or MultiPolygon; None where a way is missing or a ring is open, because
        the inside is then undefined, and where it is too complex (`geometry/complexity.py`).
    """
    if is_too_complex(list(_ways(members).values())):
        return None
    area, quality = _area(members)
    if area is None or quality == "partial":
        return None
    geometry: Any = canonical(np.array([area], dtype=object))[0][0]
    return geometry


def _area(members: Sequence[Member]) -> tuple[Any | None, GeomQuality]:
    """Build the best area of a relation, or return None.

    Where ways or nodes are missing or rings are open, only closed rings count, and of these the
    outer ones without the inner ones, so that a courtyard does not become the area of a building
    whose outline is incomplete.
    """
    import shapely

    ways = _ways(members)
    whole = all(_is_whole(member) for member in members if member.type == "way")
    everything = enclosed(segments(ways.values()))
    if everything is not None and everything.closed and whole:
        return everything.area, "exact" if everything.simple else "repaired"
    inner = {member.ref for member in members if member.type == "way" and member.role == "inner"}
    outside = enclosed(segments([xy for ref, xy in ways.items() if ref not in inner]))
    inside = enclosed(segments([xy for ref, xy in ways.items() if ref in inner]))
    if outside is None:
        return None, "partial"
    area = _valid(outside.area)
    if inside is not None:
        area = shapely.difference(area, _valid(inside.area))
    return (None if area.is_empty else area), "partial"


_AREA, _LINE = 2, 1


def canonical(geoms: ObjectArray) -> tuple[ObjectArray, ObjectArray]:
    """Return geometries in the form that the project stores.

    They are 2D; valid; single where they have a single part; split at the antimeridian where they
    cross it, which is where a part is wider than 180 degrees; and areas contain only areas, in a
    vertex order that depends on the shape alone (`shapely.normalize`). Lines keep their direction.
    Areas are made valid by the method `structure`, which keeps both halves of a bow-tie and the
    intersection of overlapping rings.

    Args:
        geoms: (N,) geometries, EPSG:4326 (lon, lat), no None.

    Returns:
        The (N,) geometries, None for an area that encloses nothing; and their quality: `repaired`
        for invalid ones, `too_complex` for an area that is returned as lines because it exceeds
        `geometry/complexity.py`, and `exact` for the rest.
    """
    import shapely

    result = _unwrapped(geoms if not shapely.has_z(geoms).any() else shapely.force_2d(geoms))
    areal = shapely.get_dimensions(result) == _AREA
    invalid, too_complex = np.zeros((2, len(result)), np.bool_)
    invalid[areal], too_complex[areal] = flaws(result[areal])
    invalid[~areal] = ~shapely.is_valid(result[~areal])
    result[too_complex] = shapely.boundary(result[too_complex])
    areal &= ~too_complex
    result[invalid & areal] = _valid(result[invalid & areal])
    result[invalid & ~areal] = shapely.make_valid(result[invalid & ~areal])
    across = shapely.bounds(result)[:, 2] > HALF_WORLD
    result[across] = _split(result[across])
    mixed = areal & (shapely.get_type_id(result) == shapely.GeometryType.GEOMETRYCOLLECTION)
    for index in np.flatnonzero(mixed):
        parts = shapely.get_parts(result[index])
        result[index] = shapely.union_all(parts[shapely.get_dimensions(parts) == _AREA])
    single = (shapely.get_num_geometries(result) == 1) & (shapely.get_type_id(result) > _SIMPLE)
    result[single] = shapely.get_geometry(result[single], 0)
    result[areal] = shapely.normalize(result[areal])
    result[shapely.is_empty(result)] = None
    quality = np.where(invalid, "repaired", "exact").astype(object)
    quality[too_complex] = "too_complex"
    return result, quality


def _valid(areas: Any) -> Any:
    import shapely

    return shapely.make_valid(areas, method="structure", keep_collapsed=False)


_SIMPLE = 3  # type ids up to POLYGON are single geometries


def _unwrapped(geoms: ObjectArray) -> ObjectArray:
    """Extend geometries beyond 180 degrees where a part of them is wider than half the world."""
    import shapely

    parts, owner = shapely.get_parts(geoms, return_index=True)
    west, _, east, _ = shapely.bounds(parts).T
    crossing = np.zeros(len(geoms), np.bool_)
    crossing[owner[east - west > HALF_WORLD]] = True
    result = geoms.copy()
    result[crossing] = shapely.transform(
        geoms[crossing], lambda xy: np.column_stack([eastward(xy[:, 0]), xy[:, 1]])
    )
    return result


def _split(geoms: ObjectArray) -> ObjectArray:
    """Split geometries at 180 degrees, and move the part beyond it to the west."""
    import shapely

    here = shapely.intersection(geoms, shapely.box(-180, -90, 180, 90))
    beyond = shapely.transform(
        shapely.intersection(geoms, shapely.box(180, -90, 540, 90)),
        # OSM has 7 decimals; rounding removes the error of adding 360.
        lambda xy: np.column_stack([np.round(xy[:, 0] - 360.0, 7), xy[:, 1]]),
    )
    parts, owner = shapely.get_parts(np.concatenate([here, beyond]), return_index=True)
    owner %= len(geoms)
    dimension = shapely.get_dimensions(geoms)
    result = np.empty(len(geoms), dtype=object)
    for index in range(len(geoms)):
        # Parts of a lower dimension only touch the antimeridian.
        mine = parts[(owner == index) & (shapely.get_dimensions(parts) == dimension[index])]
        multi = shapely.multipolygons if dimension[index] == _AREA else shapely.multilinestrings
        result[index] = multi(mine)
    return result


def areas_m2(geoms: ObjectArray) -> FloatArray:
    """Return the sizes of areas.

    Args:
        geoms: (N,) geometries, EPSG:4326.

    Returns:
        (N,) square metres, NaN for other geometries. Measured in EPSG:6933, a cylindrical
        equal-area projection of the WGS 84 ellipsoid: exact except that sides are straight in
        degrees instead of geodesic (one part in a million for 10 km).
    """
    import shapely

    areas: FloatArray = np.full(len(geoms), np.nan)
    areal = shapely.get_dimensions(geoms) == _AREA
    if areal.any():
        areas[areal] = shapely.area(shapely.transform(geoms[areal], _in_equal_area))
    return areas


def _in_equal_area(xy: FloatArray) -> FloatArray:
    return np.column_stack(_equal_area_projection().transform(xy[:, 0], xy[:, 1]))


@cache
def _equal_area_projection() -> Transformer:
    from pyproj import Transformer

    return Transformer.from_crs(4326, 6933, always_xy=True)
