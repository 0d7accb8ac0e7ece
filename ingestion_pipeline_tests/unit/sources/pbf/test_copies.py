"""An object that is in an extract twice counts once: the newer copy, wherever it is in the file."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import osmium
import pytest
import shapely

from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.errors import ExtractUnsupported
from ingestion_pipeline.sources.pbf.extract import acquire, read
from ingestion_pipeline_tests.support.pbf_files import Node, Relation, Way, block, header, write

if TYPE_CHECKING:
    from pathlib import Path

    from ingestion_pipeline.sources.base import Acquisition

WORLD = Area(Bbox(-180, -90, 180, 90), boundary_relation=None)
CORNERS = ((10.0, 50.0), (10.2, 50.0), (10.2, 50.2))
NODES = [Node(number, {}, at) for number, at in zip((2, 3, 4), CORNERS, strict=True)]
SCHOOL = Way(10, {"amenity": "school"}, [2, 3, 4, 2])
PARK = Relation(20, {"type": "multipolygon", "leisure": "park"}, [("w10", "outer")])


class StoppedClock:
    """A clock that shows noon of the day that the invented headers tell of."""

    def now(self) -> datetime:
        return datetime(2024, 6, 1, 12, tzinfo=UTC)

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody should wait {seconds} s for a file")


def acquired(path: Path, tmp_path: Path) -> Acquisition:
    (workdir := tmp_path / "work").mkdir()
    return acquire(
        str(path),
        day=date(2024, 6, 1),
        clock=StoppedClock(),
        maximum_age=timedelta(hours=48),
        workdir=workdir,
    )


def cafe(number: int, name: str, version: int = 1, **changes: Any) -> Node:
    return Node(number, {"amenity": "cafe", "name": name}, version=version, **changes)


def staged(path: Path) -> dict[str, tuple[int, str]]:
    features = read(path, area=WORLD).features
    assert len(set(features.source_refs())) == len(features)
    return {
        ref: (version, tags.get("name", shapely.to_wkt(geometry)))
        for ref, version, tags, geometry in zip(
            features.source_refs(),
            features.version.tolist(),
            features.tags,
            features.geometry,
            strict=True,
        )
    }


def test_files_of_neighbours_put_together_hold_their_border_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    town = [block(cafe(1, "A"), *NODES), block(SCHOOL), block(PARK)]
    one = write(tmp_path / "one", *town)
    both = write(tmp_path / "both", header(), *town, header(), *town, block(cafe(7, "B")))

    assert staged(both) == staged(one) | {"node/7": (1, "B")}
    with caplog.at_level(logging.WARNING):
        acquired(both, tmp_path)
    assert not caplog.records


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("in_one_block", [True, False])
def test_the_newest_copy_counts_wherever_it_is(
    order: tuple[int, ...], in_one_block: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copies = [cafe(1, "old"), cafe(1, "newer", 2), cafe(1, "newest", 3)]
    sorted_copies = [copies[place] for place in order]
    blocks = [block(*sorted_copies)] if in_one_block else list(map(block, sorted_copies))
    path = write(tmp_path / "twice.osm.pbf", *blocks, block(cafe(9, "other")))

    assert staged(path) == {"node/1": (3, "newest"), "node/9": (1, "other")}
    assert staged(path) == libosmium_newest(path)
    with caplog.at_level(logging.WARNING):
        acquired(path, tmp_path)
    (warning,) = caplog.messages
    assert "twice.osm.pbf contains node/1 in several versions (1 objects in all)" in warning


def libosmium_newest(path: Path) -> dict[str, tuple[int, str]]:
    """Give what libosmium keeps where it merges a file with itself, newest versions alone."""
    reader = osmium.MergeInputReader()
    reader.add_file(str(path))
    found = {}

    class Keeper(osmium.SimpleHandler):
        def node(self, node: Any) -> None:
            found[f"node/{node.id}"] = (node.version, node.tags["name"])

    reader.apply(Keeper(), simplify=True)
    return found


def test_with_equal_versions_the_later_timestamp_counts(tmp_path: Path) -> None:
    # versions are 0 where a writer leaves them out
    later = cafe(1, "later", 0, timestamp=1_717_200_001)
    path = write(
        tmp_path / "x", block(later), block(cafe(1, "earlier", 0, timestamp=1_717_200_000))
    )

    assert staged(path) == {"node/1": (0, "later")}


def test_an_older_copy_is_not_staged_though_the_newer_is_not_selected(tmp_path: Path) -> None:
    path = write(tmp_path / "x", block(cafe(1, "was here")), block(Node(1, {}, version=2)))

    assert staged(path) == {}


def test_an_older_copy_is_not_staged_though_the_newer_is_elsewhere(tmp_path: Path) -> None:
    moved = cafe(1, "moved", 2, at=(30.0, 30.0))
    path = write(tmp_path / "x", block(cafe(1, "was here")), block(moved))

    town = Area(Bbox(10, 50, 10.1, 50.1), boundary_relation=None)
    assert len(read(path, area=town).features) == 0


@pytest.mark.parametrize("newer_first", [True, False])
def test_parts_are_those_of_the_newest_copies(newer_first: bool, tmp_path: Path) -> None:
    def turned(*copies: Any) -> list[Any]:
        return list(map(block, reversed(copies) if newer_first else copies))

    moved = Node(4, {}, (10.0, 50.4), version=2)
    shrunk = Way(10, SCHOOL.tags, [2, 3, 4], version=2)
    path = write(
        tmp_path / "x",
        block(NODES[0], NODES[1]),
        *turned(NODES[2], moved),
        *turned(shrunk, Way(10, SCHOOL.tags, SCHOOL.refs, version=3)),
        *turned(Relation(20, PARK.tags, []), Relation(20, PARK.tags, PARK.members, version=2)),
    )

    polygon = shapely.Polygon([CORNERS[0], CORNERS[1], (10.0, 50.4)]).normalize()
    assert staged(path) == {
        "way/10": (3, shapely.to_wkt(polygon)),
        "relation/20": (2, shapely.to_wkt(polygon)),
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (cafe(1, "A"), cafe(1, "B")),
        (cafe(1, "A"), cafe(1, "A", at=(10.0, 50.0000001))),
        (SCHOOL, Way(10, SCHOOL.tags, [2, 4, 3, 2])),
        (SCHOOL, Way(10, {"amenity": "school", "x": "y"}, SCHOOL.refs)),
        (PARK, Relation(20, PARK.tags, [("w10", "inner")])),
        (PARK, Relation(20, PARK.tags, [("n10", "outer")])),
    ],
    ids=["tags", "place", "order of nodes", "one tag more", "role", "kind of a member"],
)
def test_copies_of_which_none_is_newer_refuse_the_file(
    one: Any, other: Any, tmp_path: Path
) -> None:
    path = write(tmp_path / "twice.osm.pbf", block(one), block(other))
    ref = f"{type(one).__name__.lower()}/{one.id}"
    said = rf"twice\.osm\.pbf cannot be used: it contains {ref} more than once, with version 1"
    with pytest.raises(ExtractUnsupported, match=said):
        acquired(path, tmp_path)
    with pytest.raises(ExtractUnsupported, match=said):
        read(path, area=WORLD)


def test_the_order_of_tags_is_no_difference(tmp_path: Path) -> None:
    tags = {"name": "A", "amenity": "cafe"}
    path = write(tmp_path / "x", block(cafe(1, "A")), block(Node(1, tags)))

    assert staged(path) == {"node/1": (1, "A")}


def test_an_unsorted_file_without_copies_is_read_as_it_is(tmp_path: Path) -> None:
    nodes = [cafe(number, str(number)) for number in (15, 13, -2, 14)]
    path = write(tmp_path / "x", block(SCHOOL), block(*nodes), block(*NODES[:2]))

    assert [*staged(path)] == ["node/-2", "node/13", "node/14", "node/15", "way/10"]
