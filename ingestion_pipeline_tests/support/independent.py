"""A second reading of extracts, written anew, to compare the pipeline with.

Belongs here: which objects of a file are a city's, told with nothing of the package: plain `if`s,
libosmium's own areas, and shapely. Does not belong here: speed, and anything imported from
`ingestion_pipeline`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import osmium
import shapely

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    Selects = Callable[[Mapping[str, str]], bool]

MAIN = {
    "amenity", "attraction", "club", "craft", "education", "healthcare", "historic", "leisure",
    "memorial", "office", "public_transport", "shop", "tourism",
}  # fmt: skip
LIFECYCLE = {
    "abandoned", "closed", "construction", "demolished", "destroyed", "dismantled", "disused",
    "historic", "planned", "proposed", "razed", "removed", "ruins", "vacant", "was",
}  # fmt: skip
SOME = {
    "aerialway": "station",
    "aeroway": "aerodrome helipad heliport spaceport terminal",
    "barrier": "border_control city_wall toll_booth",
    "building": "cathedral chapel church fire_station hotel mosque railway_station stadium "
    "synagogue temple train_station",
    "climbing": "area crag",
    "emergency": "ambulance_station assembly_point defibrillator disaster_response drinking_water "
    "landing_site lifeboat_station lifeguard lifeguard_base lifeguard_platform lifeguard_tower "
    "marine_rescue mountain_rescue phone ses_station water_rescue water_rescue_station",
    "golf": "clubhouse driving_range",
    "highway": "bus_stop platform rest_area services trailhead",
    "landuse": "allotments cemetery churchyard garden harbour recreation_ground religious "
    "winter_sports",
    "man_made": "adit ceremonial_gate chimney communications_tower cross dovecote gasometer "
    "geoglyph jetty lighthouse mdf mineshaft obelisk observation_tower observatory paifang pier "
    "ski_jump telephone_exchange telescope torii tower village_pump wastewater_plant water_tap "
    "water_tower water_well water_works watermill weigh_bridge weighbridge weighing_machine "
    "weighing_scale weighting_machine weighting-machine well windmill windpump winery works",
    "military": "airfield barracks base bunker checkpoint obstacle_course office range "
    "training_area",
    "natural": "arch beach cave_entrance geyser hot_spring peak saddle spring volcano waterfall",
    "place": "square",
    "police": "checkpoint",
    "power": "plant",
    "railway": "halt platform station subway_entrance tram_stop",
    "telecom": "data_center exchange",
    "waterway": "access_point boatyard dam fuel sanitary_dump_station water_point waterfall",
}


def is_selected(tags: Mapping[str, str]) -> bool:
    """Return whether an object is one that the pipeline promises to look at."""
    for key, value in tags.items():
        first, _, second = key.partition(":")
        main = second if first in LIFECYCLE and second in {*MAIN, *SOME} else key
        if main in MAIN and value.strip(" ;"):
            return True
        if main in SOME and is_one_of(SOME[main], value):
            return True
        if key in SOME:
            for word in LIFECYCLE - {"historic", "ruins"}:
                if is_one_of(word, value) and is_one_of(SOME[key], tags.get(word, "")):
                    return True
    return False


def is_one_of(words: str, value: str) -> bool:
    """Return whether a value, or one of several, is one of the words; `-` stands for a blank."""
    parts = [part.strip().lower() for part in value.split(";")]
    return any(word.replace("-", " ") in parts for word in words.split())


@dataclass(frozen=True)
class Thing:
    """An object of a file.

    Attributes:
        tags: Its tags.
        version: Its version.
        timestamp: When that version was made.
        geometry: Its shape, or None where the file has nothing of it.
    """

    tags: dict[str, str]
    version: int
    timestamp: datetime
    geometry: Any | None

    def lies_in(self, bbox: tuple[float, float, float, float]) -> bool:
        """Return whether a point on its largest part lies in a bbox (north and east are not in)."""
        point = self.point()
        if point is None:
            return False
        west, south, east, north = bbox
        return bool(west <= round(point.x, 7) < east and south <= round(point.y, 7) < north)

    def point(self) -> Any | None:
        """Return a point on its largest part."""
        if self.geometry is None:
            return None
        parts = shapely.get_parts(self.geometry)
        parts = parts[shapely.get_dimensions(parts) == shapely.get_dimensions(self.geometry)]
        if shapely.get_dimensions(self.geometry) == 2:
            return parts[np.argmax(shapely.area(parts))].point_on_surface()
        if shapely.get_dimensions(self.geometry) == 1:
            line = parts[np.argmax(shapely.length(parts))]
            return line.interpolate(0.5, normalized=True)
        return parts[0]


@cache
def things_of(path: Path, is_selected: Selects = is_selected) -> dict[str, Thing]:
    """Read all selected objects of an extract: `{"node/1": ...}`."""
    members = _Members(is_selected)
    members.apply_file(str(path))
    members.find_parts()
    reader = _Reader(members)
    reader.apply_file(str(path), locations=True)
    for number, relation in members.selected.items():
        reader.things[f"relation/{number}"] = relation.with_shape(reader)
    for ref, area in reader.areas.items():
        thing = reader.things.get(ref)
        if thing is not None and (ref[0] == "r" or not _is_line(thing.tags)):
            reader.things[ref] = Thing(thing.tags, thing.version, thing.timestamp, area)
    return reader.things


def _is_line(tags: Mapping[str, str]) -> bool:
    """Return whether a closed way is a line; only those that stand in the extracts of the tests."""
    if tags.get("area") == "yes":
        return False
    if tags.get("leisure") in ("track", "slipway") or tags.get("highway") not in (
        None, "rest_area", "services", "platform", "elevator",
    ):  # fmt: skip
        return not any(key in tags for key in ("amenity", "shop", "building"))
    return "barrier" in tags and not any(
        key in tags for key in ("amenity", "shop", "building", "leisure", "office", "historic")
    )


@dataclass(frozen=True)
class _Relation:
    tags: dict[str, str]
    version: int
    timestamp: datetime
    ways: list[int]
    nodes: list[int]
    relations: list[int]

    def is_area(self) -> bool:
        return self.tags.get("type") in ("multipolygon", "boundary")

    def with_shape(self, reader: _Reader) -> Thing:
        """Return all members; `things_of` puts the areas of multipolygons in their place."""
        areas, lines, points = self.parts(reader, {id(self)})
        if self.is_area() and lines:
            points = []
        kinds = [shapely.union_all(areas), *lines, *points] if areas else [*lines, *points]
        shape = shapely.GeometryCollection(shapely.get_parts(kinds)) if kinds else None
        return Thing(self.tags, self.version, self.timestamp, shape)

    def parts(self, reader: _Reader, seen: set[int]) -> tuple[list[Any], list[Any], list[Any]]:
        ways = [reader.lines[ref] for ref in self.ways if ref in reader.lines]
        closed = [reader.closed[ref] for ref in self.ways if ref in reader.closed]
        points = [reader.points[ref] for ref in self.nodes if ref in reader.points]
        if self.is_area():
            return [], [*ways, *(shape.exterior for shape in closed)], points
        areas = [shapely.make_valid(shape) for shape in closed]
        for ref in self.relations:
            part = reader.relations.get(ref)
            if part is None or id(part) in seen:
                continue
            seen.add(id(part))
            if f"relation/{ref}" in reader.areas:
                areas.append(reader.areas[f"relation/{ref}"])
            else:
                more = part.parts(reader, seen)
                areas, ways, points = areas + more[0], ways + more[1], points + more[2]
        return areas, ways, points


class _Members(osmium.SimpleHandler):
    """Finds the selected relations, and what they are made of."""

    def __init__(self, is_selected: Selects) -> None:
        super().__init__()
        self.is_selected = is_selected
        self.every: dict[int, _Relation] = {}
        self.selected: dict[int, _Relation] = {}
        self.parts: set[int] = set()
        self.ways: set[int] = set()
        self.nodes: set[int] = set()

    def relation(self, item: Any) -> None:
        refs = {kind: [each.ref for each in item.members if each.type == kind] for kind in "wnr"}
        relation = _Relation(dict(item.tags), item.version, item.timestamp, *refs.values())
        self.every[item.id] = relation
        if self.is_selected(relation.tags):
            self.selected[item.id] = relation

    def find_parts(self) -> None:
        """Follow the members of the selected relations."""
        waiting = list(self.selected.values())
        while waiting:
            relation = waiting.pop()
            self.ways.update(relation.ways)
            self.nodes.update(relation.nodes)
            new = self.every.keys() & (set(relation.relations) - self.parts)
            self.parts |= new
            waiting += [self.every[ref] for ref in new]


class _Reader(osmium.SimpleHandler):
    """Finds the selected nodes and ways, their shapes, and the areas that libosmium can close."""

    def __init__(self, members: _Members) -> None:
        super().__init__()
        self.things: dict[str, Thing] = {}
        self.areas: dict[str, Any] = {}
        self.lines: dict[int, Any] = {}
        self.closed: dict[int, Any] = {}
        self.relations = members.every
        self.points: dict[int, Any] = {}
        self._members = members
        self._is_selected = members.is_selected
        self._factory = osmium.geom.WKBFactory()

    def node(self, item: Any) -> None:
        if not item.tags and item.id not in self._members.nodes:
            return
        tags = dict(item.tags)
        point = shapely.Point(item.location.lon, item.location.lat)
        if item.id in self._members.nodes:
            self.points[item.id] = point
        if self._is_selected(tags):
            self.things[f"node/{item.id}"] = Thing(tags, item.version, item.timestamp, point)

    def way(self, item: Any) -> None:
        tags = dict(item.tags)
        selected = self._is_selected(tags)
        if not selected and item.id not in self._members.ways:
            return
        known = [
            (node.location.lon, node.location.lat) for node in item.nodes if node.location.valid()
        ]
        shape: Any | None = None
        if len(set(known)) > 1:
            shape = shapely.LineString(known)
            if item.is_closed() and len(known) > 3 and known[0] == known[-1] and not _is_line(tags):
                self.closed[item.id] = shapely.Polygon(known)
            else:
                self.lines[item.id] = shape
        elif known:
            shape = shapely.Point(known[0])
        if selected:
            self.things[f"way/{item.id}"] = Thing(tags, item.version, item.timestamp, shape)

    def area(self, item: Any) -> None:
        is_part = not item.from_way() and item.orig_id() in self._members.parts
        if is_part or self._is_selected(dict(item.tags)):
            kind = "way" if item.from_way() else "relation"
            wkb = self._factory.create_multipolygon(item)
            self.areas[f"{kind}/{item.orig_id()}"] = shapely.from_wkb(bytes.fromhex(wkb))
