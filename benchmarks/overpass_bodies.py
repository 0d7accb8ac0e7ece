"""Overpass answers made of an extract: what a server that has its data would send.

Belongs here: the two forms of an answer. Does not belong here: reading them.

We and osm2geojson read the form that our query asks for: counts first, then every selected object
with its geometry (`out meta geom`). osmnx cannot: it gets the form that its own query asks for,
the selected objects and all that they are made of (`(...; >;); out;`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import osmium

from ingestion_pipeline.osm.selection import POIS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

BASE = "2025-01-19T00:00:00Z"
"""What the answer says of its time."""

Json = dict[str, Any]


@dataclass
class _Found:
    """What the answers are made of, by type and id."""

    nodes: dict[int, Json] = field(default_factory=dict)
    ways: dict[int, Json] = field(default_factory=dict)
    relations: dict[int, Json] = field(default_factory=dict)
    member_ways: dict[int, Json] = field(default_factory=dict)
    """Ways that are members of the relations and are not selected."""
    positions: dict[int, Json] = field(default_factory=dict)
    """Nodes of all these ways."""

    def member(self, member: Json) -> Json:
        """Give a member with its geometry."""
        way = self.ways.get(member["ref"]) or self.member_ways.get(member["ref"])
        if member["type"] == "way" and way is not None:
            return member | {"geometry": way["geometry"]}
        if member["type"] == "node" and member["ref"] in self.nodes:
            node = self.nodes[member["ref"]]
            return member | {"lat": node["lat"], "lon": node["lon"]}
        return member


def write_bodies(extract: Path, with_geometry: Path, recursed: Path) -> None:
    """Write both forms of the answer that selects the POIs of an extract."""
    found = _find(extract)
    counts = {name: len(getattr(found, name)) for name in ("nodes", "ways", "relations")}
    tags = {name: str(number) for name, number in counts.items()}
    relations = [
        relation | {"members": [found.member(member) for member in relation["members"]]}
        for relation in found.relations.values()
    ]
    _write(
        with_geometry,
        [
            {"type": "count", "id": 0, "tags": tags | {"total": str(sum(counts.values()))}},
            *found.nodes.values(),
            *found.ways.values(),
            *relations,
        ],
    )
    ways = (found.ways | found.member_ways).values()
    _write(
        recursed,
        [
            *(found.positions | found.nodes).values(),
            *({name: way[name] for name in way if name != "geometry"} for way in ways),
            *found.relations.values(),
        ],
    )


def selected(extract: Path) -> Iterator[Any]:
    """Give the selected objects of an extract, those twice that are selected in two ways."""
    for tag_filter in (
        osmium.filter.KeyFilter(*POIS.any_value_keys),
        osmium.filter.TagFilter(*POIS.closed_pairs),
    ):
        yield from osmium.FileProcessor(str(extract)).with_filter(tag_filter)


def count(extract: Path) -> int:
    """Count the selected objects of an extract."""
    return len({(item.type_str(), item.id) for item in selected(extract)})


def _find(extract: Path) -> _Found:
    found = _Found()
    chosen: set[int] = set()
    for item in selected(extract):
        if item.is_node():
            place = {"lat": item.location.lat, "lon": item.location.lon}
            found.nodes[item.id] = _head(item) | place | {"tags": dict(item.tags)}
        elif item.is_way():
            chosen.add(item.id)
        else:
            names = {"n": "node", "w": "way", "r": "relation"}
            members = [
                {"type": names[member.type], "ref": member.ref, "role": member.role}
                for member in item.members
            ]
            found.relations[item.id] = _head(item) | {"members": members, "tags": dict(item.tags)}
    wanted = {
        member["ref"]
        for relation in found.relations.values()
        for member in relation["members"]
        if member["type"] == "way"
    }
    ways = osmium.FileProcessor(str(extract), osmium.osm.NODE | osmium.osm.WAY)
    no_nodes = osmium.filter.EntityFilter(osmium.osm.WAY)
    for way in ways.with_locations("flex_mem").with_filter(no_nodes):
        if way.id not in chosen and way.id not in wanted:
            continue
        made = _way(way, found.positions)
        if len(made["nodes"]) > 1:  # the others lie beyond the extract's border
            (found.ways if way.id in chosen else found.member_ways)[way.id] = made
    for name in ("nodes", "ways", "relations"):
        setattr(found, name, dict(sorted(getattr(found, name).items())))
    return found


def _head(item: Any) -> Json:
    kind = {"n": "node", "w": "way", "r": "relation"}[item.type_str()]
    head: Json = {"type": kind, "id": item.id}
    if item.version:
        moment = item.timestamp.strftime("%Y-%m-%dT%H:%M:%SZ")
        head |= {"timestamp": moment, "version": item.version}
    return head


def _way(way: Any, positions: dict[int, Json]) -> Json:
    """Give a way of the nodes that the extract has; a server has them all."""
    nodes = [node for node in way.nodes if node.location.valid()]
    geometry = [{"lat": node.lat, "lon": node.lon} for node in nodes]
    refs = [node.ref for node in nodes]
    for ref, place in zip(refs, geometry, strict=True):
        positions[ref] = {"type": "node", "id": ref} | place
    return _head(way) | {"nodes": refs, "geometry": geometry, "tags": dict(way.tags)}


def _write(path: Path, elements: Iterable[Json]) -> None:
    body = {
        "version": 0.6,
        "generator": "Overpass API",
        "osm3s": {"timestamp_osm_base": BASE},
        "elements": list(elements),
    }
    path.write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8")
