"""Broken objects of every kind: none is lost, and a rejected one can be staged afterwards."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import osmium

import ingestion_pipeline
from ingestion_pipeline.datasets.poi import POI
from ingestion_pipeline.plan import look, plan
from ingestion_pipeline.staging.days import Slice, read_day
from ingestion_pipeline.staging.rejections import rejected_objects
from ingestion_pipeline_tests.support.installation import (
    TODAY,
    ScriptedClock,
    installed,
    metadata,
    why,
)
from ingestion_pipeline_tests.support.overpass_server import OverpassServer, Reply, overpass_json
from testbed.towns import AROUND_TOWNS, NOON, TOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingestion_pipeline_tests.support.installation import Installation

TOWN_KEY = f"town|{TODAY}"
SLICE = Slice("town", "poi", "osm", TODAY)

Position = tuple[float, float]
Tags = dict[str, str]


class Node(NamedTuple):
    position: Position
    tags: Tags


class Way(NamedTuple):
    nodes: str
    tags: Tags


class Relation(NamedTuple):
    members: str
    tags: Tags


# Corners of a square ABCD, a point E on its side AB, one without a known place (M, twice), and one
# off the earth (X).
CORNERS: dict[str, Position | None] = {
    "A": (10.01, 50.01),
    "B": (10.03, 50.01),
    "C": (10.03, 50.03),
    "D": (10.01, 50.03),
    "E": (10.02, 50.01),
    "M": None,
    "N": None,
    "X": (10.02, 95.0),
}
IDS = {corner: 100 + number for number, corner in enumerate(CORNERS)}

CAFE = {"amenity": "cafe"}
PARK = {"leisure": "park"}
AREA = {"leisure": "park", "type": "multipolygon"}
SITE = {"tourism": "attraction", "type": "site"}

NODES = {
    1: Node((10.05, 50.05), CAFE),
    2: Node((10.05, 50.05), {"amenity": "no"}),
    3: Node((10.05, 50.05), {"amenity": "no;no", "shop": ";"}),
    4: Node((10.05, 95.0), CAFE),
    5: Node((-179.0, 50.05), CAFE),
}
WAYS = {
    1: Way("ABCDA", PARK),
    2: Way("", PARK),
    3: Way("MN", PARK),
    4: Way("ABMDA", PARK),
    5: Way("ACBDA", PARK),
    6: Way("ABA", PARK),
    7: Way("AEBA", PARK),
    8: Way("A", PARK),
    9: Way("AA", PARK),
    10: Way("ABC", PARK),
    11: Way("ABXDA", PARK),
    12: Way("AMMMA", PARK),
    13: Way("ABCDA", {"leisure": "no"}),
    14: Way("ABCDA", {"historic": "citywalls", "barrier": "city_wall", "area": "no"}),
    # The parts of the relations: no POIs.
    51: Way("ABC", {}),
    52: Way("CDA", {}),
    53: Way("ACBDA", {}),
    54: Way("AXA", {}),
    55: Way("ABCDA", {}),
}
RELATIONS = {
    1: Relation("w51 w52", AREA),
    2: Relation("", AREA),
    3: Relation("w998 w999", AREA),
    4: Relation("w51 w999", AREA),
    5: Relation("w51", AREA),
    6: Relation("w53", AREA),
    7: Relation("w54", AREA),
    8: Relation("n100 n102", AREA),
    9: Relation("n100 n102", SITE),
    10: Relation("n100 n999", SITE),
    11: Relation("r1", SITE),
    12: Relation("", SITE),
    13: Relation("w51 w51 w52", AREA),
    14: Relation("w55 w999", AREA),
    15: Relation("w51 w52", {"type": "multipolygon", "leisure": "no"}),
}

STAGED = {
    "node/1": "exact",
    "way/1": "exact",
    "way/4": "partial",
    "way/5": "repaired",
    "way/6": "line",
    "way/7": "line",
    "way/8": "point",
    "way/9": "point",
    "way/10": "exact",
    "way/12": "point",
    "way/14": "exact",
    "relation/1": "exact",
    "relation/4": "line",
    "relation/5": "line",
    "relation/6": "repaired",
    "relation/8": "point",
    "relation/9": "exact",
    "relation/10": "partial",
    "relation/11": "exact",
    "relation/13": "exact",
    "relation/14": "partial",
}
REJECTED = {
    "node/2": "no_main_tag",
    "node/3": "no_main_tag",
    "node/4": "invalid_coordinates",
    "way/2": "missing_nodes",
    "way/3": "missing_nodes",
    "way/13": "no_main_tag",
    "relation/2": "no_geometry",
    "relation/3": "no_geometry",
    "relation/12": "no_geometry",
    "relation/15": "no_main_tag",
}
# libosmium has no position of a node off the earth for the way that goes there, so to the reader of
# an extract that node is missing; a node of which the file does not say where it is can only be
# in an extract, and an empty place in a line only in an answer.
STAGED_OF_EXTRACT = {"way/11": "partial", "relation/7": "point"}
REJECTED_OF_EXTRACT = {"node/6": "invalid_coordinates"}
REJECTED_OF_ANSWER = {
    "way/11": "invalid_coordinates",
    "relation/7": "invalid_coordinates",
    "way/60": "missing_nodes",
}

ELSEWHERE = {"node/5"}
"""What lies outside the city is whole, and nobody's loss."""


def selected_refs() -> set[str]:
    """Name every object that is asked for."""
    kinds: dict[str, Mapping[int, Node | Way | Relation]] = {
        "node": NODES,
        "way": WAYS,
        "relation": RELATIONS,
    }
    return {
        f"{kind}/{number}"
        for kind, objects in kinds.items()
        for number, item in objects.items()
        if item.tags.keys() - {"type"}
    }


def write_broken(path: Path) -> Path:
    """Write the objects as an extract."""
    header = osmium.io.Header()
    header.set("osmosis_replication_timestamp", NOON.strftime("%Y-%m-%dT%H:%M:%SZ"))
    header.add_box(osmium.osm.Box(*AROUND_TOWNS))
    corners = {IDS[corner]: Node(xy, {}) for corner, xy in CORNERS.items() if xy is not None}
    lines = [
        *(
            f"n{number} v1 T{_opl(item.tags)} x{item.position[0]} y{item.position[1]}"
            for number, item in (NODES | corners).items()
        ),
        # A node of which the file says that it is and not where.
        f"n6 v1 T{_opl(CAFE)} x y",
        *(
            f"w{number} v1 T{_opl(item.tags)} N{','.join(f'n{IDS[node]}' for node in item.nodes)}"
            for number, item in WAYS.items()
        ),
        *(
            f"r{number} v1 T{_opl(item.tags)} "
            f"M{','.join(f'{member}@' for member in item.members.split())}"
            for number, item in RELATIONS.items()
        ),
    ]
    text = ("\n".join(lines) + "\n").encode()
    with osmium.SimpleWriter(osmium.io.File(str(path), "pbf"), header=header) as writer:
        for item in osmium.FileProcessor(osmium.io.FileBuffer(text, "opl")):
            writer.add(item)
    return path


def _opl(tags: Tags) -> str:
    return ",".join(f"{key}={value}" for key, value in tags.items())


def broken_answer() -> bytes:
    """Write the selected objects as Overpass does."""
    selected: list[dict[str, Any]] = [
        {"type": "node", "id": number, "lon": item.position[0], "lat": item.position[1]}
        | {"version": 1, "tags": item.tags}
        for number, item in NODES.items()
    ]
    for number, way in WAYS.items():
        if way.tags:
            geometry = _vertices(way)
            # The server gives such a way bounds that are nowhere.
            bounds = {"minlat": 100.0, "minlon": 200.0, "maxlat": 100.0, "maxlon": 200.0}
            selected.append(
                {"type": "way", "id": number, "version": 1, "tags": way.tags}
                | {"nodes": [IDS[node] for node in way.nodes], "geometry": geometry}
                | ({} if geometry else {"bounds": bounds})
            )
    selected += [
        {"type": "relation", "id": number, "version": 1, "tags": item.tags}
        | {"members": [_member(text) for text in item.members.split()]}
        for number, item in RELATIONS.items()
    ]
    # A way of whose nodes the server has no position, said in the other way that it has.
    selected.append(
        {"type": "way", "id": 60, "version": 1, "tags": PARK, "nodes": [105, 106]}
        | {"geometry": [None, None]}
    )
    return overpass_json(selected, base=NOON.strftime("%Y-%m-%dT%H:%M:%SZ"))


def _vertices(way: Way) -> list[dict[str, float] | None]:
    positions = [CORNERS[node] for node in way.nodes]
    if not any(positions):
        return []
    return [xy and {"lon": xy[0], "lat": xy[1]} for xy in positions]


def _member(text: str) -> dict[str, Any]:
    kind = {"n": "node", "w": "way", "r": "relation"}[text[0]]
    ref = int(text[1:])
    member: dict[str, Any] = {"type": kind, "ref": ref, "role": ""}
    if kind == "way" and ref in WAYS:
        member["geometry"] = _vertices(WAYS[ref])
    if kind == "node":
        at = next((CORNERS[corner] for corner, number in IDS.items() if number == ref), None)
        member |= {"lon": at[0], "lat": at[1]} if at else {}
    return member


def check(here: Installation, staged_too: dict[str, str], rejected_too: dict[str, str]) -> None:
    """Run the day, and compare what became of each object."""
    result = here.run(TOWN_KEY)
    assert result.success, why(result)
    rows = read_day(here.engine, SLICE, ["source_ref", "geom_quality", "lon", "lat"])
    assert rows is not None
    staged = {row["source_ref"]: row["geom_quality"] for row in rows}
    assert all(map(math.isfinite, (row[name] for row in rows for name in ("lon", "lat"))))
    rejected = {row["source_ref"]: row["reason"] for row in rejected_objects(here.engine, SLICE)}

    assert staged == STAGED | staged_too
    assert rejected == REJECTED | rejected_too
    assert staged.keys().isdisjoint(rejected)
    assert staged.keys() | rejected.keys() | ELSEWHERE == selected_refs() | rejected_too.keys()

    (run,) = here.ledger()
    assert run.counts is not None
    assert run.counts["rejected"] == len(rejected)
    said = metadata(result, "osm_pois")
    assert said["rejected"] == len(rejected)
    reasons = dict(re.findall(r"^\| (\w+) \| (\d+) \|$", said["rejections"], re.MULTILINE))
    assert {reason: int(number) for reason, number in reasons.items()} == {
        reason: list(rejected.values()).count(reason) for reason in set(rejected.values())
    }


def test_no_object_of_an_extract_is_lost(tmp_path: Path, database_url: str) -> None:
    extract = write_broken(tmp_path / "town.osm.pbf")
    city = TOWN | {"osm_source": "extract", "osm_extract": str(extract)}
    with installed(tmp_path, database_url, cities=[city], clock=ScriptedClock(NOON)) as here:
        check(here, STAGED_OF_EXTRACT, REJECTED_OF_EXTRACT)


def test_no_object_of_an_overpass_answer_is_lost(tmp_path: Path, database_url: str) -> None:
    with OverpassServer() as server:
        server.enqueue(Reply(body=broken_answer()))
        with installed(
            tmp_path,
            database_url,
            cities=[TOWN],
            clock=ScriptedClock(NOON),
            overpass_url=server.url,
        ) as here:
            check(here, {}, REJECTED_OF_ANSWER)


# Replay


RULE = 'return value != "no" and ('
FAULTY_RULE = 'return value not in ("no", "cafe") and ('


def run_faulty_release(here: Installation, database_url: str) -> None:
    """Stage the day with a release, beside this one, in whose rules a café is no POI."""
    package = Path(ingestion_pipeline.__file__).parent
    release = here.folder / "faulty_release"
    shutil.copytree(package, release / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(package.parent / "migrations", release / "migrations")
    rules = release / package.name / "osm" / "taxonomy.py"
    text = rules.read_text("utf-8")
    assert text.count(RULE) == 1
    rules.write_text(text.replace(RULE, FAULTY_RULE), "utf-8")
    settings = {
        "DATABASE_URL": database_url,
        "DATA_DIR": str(here.folder / "lake"),
        "CITIES_FILE": str(here.folder / "cities.toml"),
        "PARTITIONS_START": "2015-01-01",
        "STATE_DIR": str(here.folder / "state"),
        "DAGSTER_HOME": str(here.folder / "dagster_home_of_the_faulty"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "ingestion_pipeline", "run", "--city", "town", "--day", str(TODAY)],
        env=os.environ | settings | {"PYTHONPATH": str(release)},
        cwd=here.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def rejected_refs(here: Installation) -> set[str]:
    return {row["source_ref"] for row in rejected_objects(here.engine, SLICE)}


def planned_way(here: Installation) -> str:
    """Tell what a backfill would stage the day from."""
    shop = here.workshop
    city = shop.cities.get("town")
    kept = look(shop.lake, shop.engine, city, [TODAY], dataset=POI)
    (day,) = plan(city, [TODAY], settings=shop.settings, kept=kept, now=shop.clock.now())
    return day.way


def test_what_a_faulty_release_rejected_is_staged_from_the_stored_snapshot_by_the_next(
    tmp_path: Path, database_url: str
) -> None:
    wrongly = "node/1"
    rightly = (REJECTED | REJECTED_OF_EXTRACT).keys()
    extract = write_broken(tmp_path / "town.osm.pbf")
    city = TOWN | {"osm_source": "extract", "osm_extract": str(extract)}
    with installed(tmp_path, database_url, cities=[city], clock=ScriptedClock(NOON)) as here:
        assert here.run(TOWN_KEY, only=["osm_snapshot"]).success
        extract.unlink()  # from here on there are only the stored bytes
        run_faulty_release(here, database_url)
        assert rejected_refs(here) == rightly | {wrongly}
        assert planned_way(here) == "snapshot"

    with installed(tmp_path, database_url, cities=[city]) as here:
        again = here.run(TOWN_KEY)
        assert again.success, why(again)
        assert metadata(again, "osm_snapshot")["replayed"] is True
        assert metadata(again, "poi_staging")["written"] == 1
        staged = read_day(here.engine, SLICE, ["source_ref"])
        assert staged is not None
        assert {row["source_ref"] for row in staged} == (STAGED | STAGED_OF_EXTRACT).keys()
        assert rejected_refs(here) == rightly
        assert planned_way(here) == "staged"
