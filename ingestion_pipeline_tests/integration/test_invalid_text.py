"""A text that no database stores costs its object, from every source, on both databases."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline.staging.days import Slice, read_day
from ingestion_pipeline.staging.rejections import rejected_objects
from ingestion_pipeline_tests.support.installation import TODAY, ScriptedClock, installed, why
from ingestion_pipeline_tests.support.overpass_server import OverpassServer, Reply, overpass_json
from ingestion_pipeline_tests.support.pbf_files import Node, Relation, Way, block, header, write
from testbed.towns import NOON, TOWN

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ingestion_pipeline_tests.support.installation import Installation

KEY = f"town|{TODAY}"
TOILETS: dict[Any, Any] = {"amenity": "toilets"}
CONTROLS = "a\x01b\x1f\x7f\ufffe\uffff"
FAR_AWAY = (20.0, 60.0)

# Objects of every kind, what is wrong with each, and what is kept of that.
REJECTED = {
    "node/2": ("invalid_text", {"name": r"Caf\xe9"}),
    "node/3": ("invalid_text", {"name": r"a\u0000b"}),
    "node/4": ("invalid_text", {"name": "я" * 127 + r"\xd1"}),
    "node/5": ("invalid_text", {r"na\xffme": "x"}),
    "node/6": ("invalid_version", {"name": "x"}),
    "way/10": ("invalid_text", {"name": r"\xed\xa0\x80"}),
    "relation/20": ("invalid_text", {"name": r"\x80"}),
}
STAGED = {"node/1", "node/7", "way/11", "relation/21"}

SQUARE = [(10.01, 50.01), (10.02, 50.01), (10.02, 50.02)]
CORNERS = [Node(100 + place, {}, at) for place, at in enumerate(SQUARE)]
RING = [100, 101, 102, 100]


COVERED = (9.0, 49.0, 21.0, 61.0)
"""What the extracts say that they cover: both towns."""


def extract(path: Path) -> Path:
    nodes = [
        Node(1, TOILETS),
        Node(2, TOILETS | {"name": b"Caf\xe9"}),
        Node(3, TOILETS | {"name": b"a\0b"}),
        Node(4, TOILETS | {"name": ("я" * 128).encode()[:255]}),
        Node(5, TOILETS | {b"na\xffme": "x"}),
        Node(6, TOILETS | {"name": "x"}, version=2**32 + 1),
        Node(7, TOILETS | {"name": CONTROLS}),
        Node(8, {"note": b"not selected \xff;\xff"}),
        Node(9, TOILETS | {"name": b"elsewhere \xff"}, FAR_AWAY),
        Node(12, TOILETS, FAR_AWAY),
    ]
    ways = [
        Way(10, TOILETS | {"name": b"\xed\xa0\x80"}, RING),  # a surrogate, as CESU-8 has it
        Way(11, TOILETS, RING),
    ]
    area = TOILETS | {"type": "multipolygon"}
    relations = [
        Relation(20, area | {"name": b"\x80"}, [("w11", "outer")]),
        Relation(21, area, [("w11", b"out\xffer")]),
    ]
    return write(
        path, header(box=COVERED), block(*nodes, *CORNERS), block(*ways), block(*relations)
    )


def answer() -> bytes:
    """Write the same objects as Overpass would send them, if it let such bytes through."""
    line = [{"lon": lon, "lat": lat} for lon, lat in (*SQUARE, SQUARE[0])]

    def node(number: int, at: tuple[float, float] = (10.05, 50.05), **tags: str) -> dict[str, Any]:
        place = {"lon": at[0], "lat": at[1]}
        return {"type": "node", "id": number, "version": 1, **place, "tags": TOILETS | tags}

    def way(number: int, **tags: str) -> dict[str, Any]:
        return {"type": "way", "id": number, "version": 1, "nodes": RING} | {
            "geometry": line,
            "tags": TOILETS | tags,
        }

    def relation(number: int, role: str, **tags: str) -> dict[str, Any]:
        member = {"type": "way", "ref": 11, "role": role, "geometry": line}
        return {"type": "relation", "id": number, "version": 1, "members": [member]} | {
            "tags": TOILETS | {"type": "multipolygon"} | tags
        }

    selected = [
        node(1),
        node(2, name="Caf\udce9"),
        node(3, name="a\0b"),
        node(4, name="я" * 127 + "\udcd1"),
        node(5) | {"tags": TOILETS | {"na\udcffme": "x"}},
        node(6, name="x") | {"version": 2**32 + 1},
        node(7, name=CONTROLS),
        node(9, FAR_AWAY, name="elsewhere \udcff"),
        way(10, name="HALF"),
        way(11),
        relation(20, "outer", name="\udc80"),
        relation(21, "out\udcffer"),
    ]
    document = json.loads(overpass_json([], base=NOON.strftime("%Y-%m-%dT%H:%M:%SZ")))
    count = {"nodes": "8", "ways": "2", "relations": "2", "total": "12"}
    document["elements"] = [{"type": "count", "id": 0, "tags": count}, *selected]
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogateescape")
    return body.replace(b"HALF", rb"\ud800")


def check(
    here: Installation, job_type: str, rejected: Mapping[str, tuple[str, dict[str, str]]]
) -> None:
    """Run the day, and compare what became of each object."""
    result = here.run(KEY, job_type=job_type)
    assert result.success, why(result)
    dataset, part = ("poi", "") if job_type == "osm_import" else ("helper", "#toilets")
    target = Slice("town", dataset, "osm", TODAY)
    rows = read_day(here.engine, target, ["source_ref", "tags"])
    assert rows is not None
    assert {row["source_ref"] for row in rows} == {f"{ref}{part}" for ref in STAGED}
    (controls,) = (row for row in rows if row["source_ref"] == f"node/7{part}")
    assert controls["tags"] == TOILETS | {"name": CONTROLS}

    found = {row["source_ref"]: row for row in rejected_objects(here.engine, target)}
    assert {ref: row["reason"] for ref, row in found.items()} == {
        ref: reason for ref, (reason, _) in rejected.items()
    }
    for ref, (_, told) in rejected.items():
        tags = found[ref]["raw"]["tags"]
        assert tags.items() >= (TOILETS | told).items()


@pytest.mark.parametrize("job_type", ["osm_import", "helpers_import"])
def test_of_an_extract(job_type: str, tmp_path: Path, database_url: str) -> None:
    path = extract(tmp_path / "town.osm.pbf")
    city = TOWN | {"osm_source": "extract", "osm_extract": str(path)}
    with installed(tmp_path, database_url, cities=[city], clock=ScriptedClock(NOON)) as here:
        check(here, job_type, REJECTED)


@pytest.mark.parametrize("job_type", ["osm_import", "helpers_import"])
def test_of_an_answer(job_type: str, tmp_path: Path, database_url: str) -> None:
    half = {"way/10": ("invalid_text", {"name": r"\ud800"})}
    with OverpassServer() as server:
        server.enqueue(Reply(body=answer()))
        with installed(
            tmp_path,
            database_url,
            cities=[TOWN],
            clock=ScriptedClock(NOON),
            overpass_url=server.url,
        ) as here:
            check(here, job_type, REJECTED | half)


def test_of_an_extract_that_cities_share(tmp_path: Path, database_url: str) -> None:
    path = extract(tmp_path / "region.osm.pbf")
    town = TOWN | {"osm_source": "extract", "osm_extract": str(path)}
    other = town | {"slug": "other", "name": {"en": "Other"}, "bbox": [19.9, 59.9, 20.1, 60.1]}
    with installed(tmp_path, database_url, cities=[town, other], clock=ScriptedClock(NOON)) as here:
        result = here.run(f"other|{TODAY}")
        assert result.success, why(result)
        target = Slice("other", "poi", "osm", TODAY)
        (rejected,) = rejected_objects(here.engine, target)
        assert (rejected["source_ref"], rejected["reason"]) == ("node/9", "invalid_text")
        check(here, "osm_import", REJECTED)
