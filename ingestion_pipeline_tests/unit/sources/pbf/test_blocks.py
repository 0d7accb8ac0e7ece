"""What the PBF format allows beside the usual is read, what it forbids is refused, by its name."""

from __future__ import annotations

import lzma
import zlib
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any

import osmium
import pyarrow as pa
import pytest
import shapely

from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.errors import (
    ExtractCorrupt,
    ExtractNotConfigured,
    ExtractUnsupported,
    OsmError,
)
from ingestion_pipeline.sources.pbf import blocks as pbf
from ingestion_pipeline.sources.pbf.extract import fetch, read
from ingestion_pipeline_tests.support.pbf_files import (
    Node,
    Relation,
    Way,
    block,
    classes,
    file_block,
    header,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORLD = Area(Bbox(-180, -90, 180, 90), boundary_relation=None)

CAFE = Node(1, {"amenity": "cafe", "name": "A"}, (10.5, 50.5))
CORNERS = ((10.0, 50.0), (10.2, 50.0), (10.2, 50.2), (10.0, 50.0))
NODES = [Node(number, {}, at) for number, at in zip((2, 3, 4), CORNERS, strict=False)]
SCHOOL = Way(10, {"amenity": "school", "name": "S"}, [2, 3, 4, 2])
LOCATED_SCHOOL = Way(10, {"amenity": "school", "name": "S"}, [2, 3, 4, 2], CORNERS)
SITE = Relation(20, {"type": "site", "tourism": "attraction"}, [("n1", ""), ("n2", "entrance")])

TOWN = {
    "node/1": "POINT (10.5 50.5)",
    "way/10": "POLYGON ((10 50, 10.2 50.2, 10.2 50, 10 50))",
    "relation/20": "MULTIPOINT ((10.5 50.5), (10 50))",
}


def town() -> list[Any]:
    return [block(CAFE, *NODES), block(SCHOOL), block(SITE)]


def shapes(path: Path) -> dict[str, str]:
    features = read(path, area=WORLD).features
    normal = shapely.to_wkt(shapely.normalize(features.geometry)).tolist()
    return dict(zip(features.source_refs(), normal, strict=True))


def libosmium_shapes(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Give the nodes and the nodes of the ways as libosmium has them."""
    found = {}
    items: Any = osmium.FileProcessor(osmium.io.File(str(path), "pbf"))
    for item in items:
        if item.is_node() and item.tags:
            found[f"node/{item.id}"] = [(item.location.lon, item.location.lat)]
        elif item.is_way():
            found[f"way/{item.id}"] = [(each.lon, each.lat) for each in item.nodes]
    return found


# --- LocationsOnWays -----------------------------------------------------------------------------


def test_ways_bring_the_places_of_their_nodes(tmp_path: Path) -> None:
    head = header(optional=["LocationsOnWays"])
    path = write(tmp_path / "x", head, block(CAFE), block(LOCATED_SCHOOL))

    assert shapes(path) == {ref: TOWN[ref] for ref in ("node/1", "way/10")}
    assert libosmium_shapes(path) == {"node/1": [CAFE.at], "way/10": list(CORNERS)}


def test_a_node_of_a_relation_may_be_known_from_a_way_alone(tmp_path: Path) -> None:
    head = header(optional=["LocationsOnWays"])
    path = write(tmp_path / "x", head, block(CAFE), block(LOCATED_SCHOOL), block(SITE))

    assert shapes(path) == TOWN


def test_ways_of_such_a_file_may_leave_the_places_to_its_nodes(tmp_path: Path) -> None:
    path = write(tmp_path / "x", header(optional=["LocationsOnWays"]), *town())

    assert shapes(path) == TOWN


def test_a_place_that_the_writer_did_not_know_is_missing(tmp_path: Path) -> None:
    nowhere = (pbf.UNKNOWN / 10_000_000, pbf.UNKNOWN / 10_000_000)  # libosmium's "undefined"
    way = Way(10, {"amenity": "school"}, [2, 3, 4, 5, 2], [*CORNERS[:3], nowhere, CORNERS[0]])
    path = write(tmp_path / "x", header(optional=["LocationsOnWays"]), block(CAFE), block(way))

    features = read(path, area=WORLD).features
    assert features.geom_quality.tolist() == ["exact", "partial"]
    assert shapely.to_wkt(features.geometry[1]) == TOWN["way/10"]


def test_places_for_some_nodes_of_a_way_only_are_damage(tmp_path: Path) -> None:
    way = Way(10, {"amenity": "school"}, [2, 3, 4, 2], CORNERS[:3])
    with pytest.raises(ExtractCorrupt, match="positions of only some of its nodes"):
        read(write(tmp_path / "x", block(way)), area=WORLD)


# --- deleted objects -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "gone",
    [
        Node(7, {"amenity": "cafe"}, visible=False),
        Way(7, {"amenity": "school"}, [], visible=False),
        Relation(7, {"type": "site"}, [], visible=False),
    ],
    ids=["node", "way", "relation"],
)
def test_a_file_with_deleted_objects_is_refused(gone: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "x", block(CAFE), block(gone))
    kind = type(gone).__name__.lower()
    with pytest.raises(ExtractUnsupported, match=f"{kind}/7 is deleted"):
        read(path, area=WORLD)


def test_objects_may_say_that_they_exist(tmp_path: Path) -> None:
    there: list[Any] = [
        Node(1, CAFE.tags, CAFE.at, visible=True),
        *(Node(each.id, {}, each.at, visible=True) for each in NODES),
        Way(10, SCHOOL.tags, SCHOOL.refs, visible=True),
        Relation(20, SITE.tags, SITE.members, visible=True),
    ]
    path = write(tmp_path / "x", *map(block, there))

    assert shapes(path) == TOWN


# --- protobuf ------------------------------------------------------------------------------------


def unpacked(message: Any) -> bytes:
    """Write a message with every number of a list as a field of its own, as protobuf allows."""
    out = b""
    for descriptor, value in message.ListFields():
        many = list(value) if descriptor.is_repeated else [value]
        for each in many:
            tag = descriptor.number << 3
            if descriptor.message_type is not None:
                inner = unpacked(each)
                out += varint(tag | 2) + varint(len(inner)) + inner
            elif isinstance(each, bytes):
                out += varint(tag | 2) + varint(len(each)) + each
            else:
                signed = descriptor.type == descriptor.TYPE_SINT64
                out += varint(tag) + varint((each << 1) ^ (each >> 63) if signed else each)
    return out


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def test_lists_may_be_unpacked(tmp_path: Path) -> None:
    blocks = [unpacked(each) for each in town()]
    for raw, packed in zip(blocks, town(), strict=True):
        assert raw != packed.SerializeToString()
        assert classes()["PrimitiveBlock"].FromString(raw) == packed  # protobuf's own reading
    assert shapes(write(tmp_path / "x", header(), *blocks)) == TOWN


def in_pieces(message: Any) -> bytes:
    """Write a way's list of nodes as two packed pieces, as protobuf allows."""
    way = message.primitivegroup[0].ways[0]
    first, second = (
        classes()["Way"](refs=part).SerializeToString() for part in (way.refs[:2], way.refs[2:])
    )
    del way.refs[:]
    return wrapped(message, way.SerializeToString() + first + second)


def out_of_order(message: Any) -> bytes:
    """Write a way's nodes before its id, as protobuf allows."""
    way = message.primitivegroup[0].ways[0]
    refs = classes()["Way"](refs=way.refs).SerializeToString()
    del way.refs[:]
    return wrapped(message, refs + way.SerializeToString())


def with_an_unknown_field(message: Any) -> bytes:
    """Give a way a field that nobody knows, of a form that the format does not use."""
    way = message.primitivegroup[0].ways[0].SerializeToString()
    return wrapped(message, way + varint(1000 << 3 | 1) + bytes(8))


def wrapped(message: Any, way: bytes) -> bytes:
    texts: bytes = classes()["PrimitiveBlock"](stringtable=message.stringtable).SerializeToString()
    group = varint(3 << 3 | 2) + varint(len(way)) + way
    return texts + varint(2 << 3 | 2) + varint(len(group)) + group


@pytest.mark.parametrize("written", [in_pieces, out_of_order, with_an_unknown_field])
def test_other_ways_of_writing_a_message_are_read(
    written: Callable[[Any], bytes], tmp_path: Path
) -> None:
    nodes, ways, relations = town()
    path = write(tmp_path / "x", header(), nodes, written(ways), relations)

    assert shapes(path) == TOWN


@pytest.mark.parametrize(
    ("kind", "column", "value", "said"),
    [
        ("dense", "keys_vals", -1, "texts"),
        ("dense", "keys_vals", 99, "texts"),
        ("ways", "keys", 2**32 - 1, "texts"),
        ("ways", "vals", 99, "texts"),
        ("relations", "roles_sid", -1, "texts"),
        ("relations", "types", -1, "kinds of members"),
        ("relations", "types", 3, "kinds of members"),
    ],
)
def test_a_number_that_refers_to_nothing_is_damage(
    kind: str, column: str, value: int, said: str, tmp_path: Path
) -> None:
    nodes, ways, relations = blocks = town()
    message = {
        "dense": lambda: nodes.primitivegroup[0].dense,
        "ways": lambda: ways.primitivegroup[0].ways[0],
        "relations": lambda: relations.primitivegroup[0].relations[0],
    }[kind]()
    getattr(message, column)[0] = value
    with pytest.raises(ExtractCorrupt, match=said):
        read(write(tmp_path / "x", *blocks), area=WORLD)


@pytest.mark.parametrize("column", ["lat", "lon", "version", "timestamp"])
def test_columns_of_different_lengths_are_damage(column: str, tmp_path: Path) -> None:
    nodes, *others = town()
    dense = nodes.primitivegroup[0].dense
    del getattr(dense if column in {"lat", "lon"} else dense.denseinfo, column)[-1]
    with pytest.raises(ExtractCorrupt, match="3 numbers for the 4 nodes"):
        read(write(tmp_path / "x", nodes, *others), area=WORLD)


def test_a_relation_with_more_members_than_roles_is_damage(tmp_path: Path) -> None:
    message = block(SITE)
    del message.primitivegroup[0].relations[0].roles_sid[-1]
    with pytest.raises(ExtractCorrupt, match="without a role"):
        read(write(tmp_path / "x", block(CAFE), message), area=WORLD)


def test_the_last_end_of_tags_may_be_left_out(tmp_path: Path) -> None:
    message = block(CAFE)
    assert message.primitivegroup[0].dense.keys_vals.pop() == 0
    path = write(tmp_path / "x", message)

    assert shapes(path) == libosmium_wkt(path) == {"node/1": TOWN["node/1"]}


def libosmium_wkt(path: Path) -> dict[str, str]:
    return {ref: shapely.to_wkt(shapely.Point(xy)) for ref, (xy,) in libosmium_shapes(path).items()}


def test_a_number_of_more_than_64_bits_is_damage(tmp_path: Path) -> None:
    way = varint(1 << 3) + b"\xff" * 11 + b"\x01"
    raw = wrapped(block(SCHOOL), way)
    with pytest.raises(ExtractCorrupt, match="longer than 64 bits"):
        read(write(tmp_path / "x", header(), raw), area=WORLD)


# --- blocks of a file ----------------------------------------------------------------------------


def zstd(raw: bytes) -> bytes:
    packed: bytes = pa.compress(raw, codec="zstd", asbytes=True)
    return packed


@pytest.mark.parametrize("raw_size", [True, False], ids=["with size", "without size"])
@pytest.mark.parametrize(
    ("codec", "compress"),
    [
        ("zlib_data", zlib.compress),
        ("lzma_data", lzma.compress),
        ("lzma_data", lambda raw: lzma.compress(raw, format=lzma.FORMAT_ALONE)),
        ("zstd_data", zstd),
        ("raw", bytes),
    ],
)
def test_every_compression_is_read_whether_the_size_is_there_or_not(
    codec: str, compress: Callable[[bytes], bytes], raw_size: bool, tmp_path: Path
) -> None:
    path = write(tmp_path / "x", *town(), codec=codec, compress=compress, raw_size=raw_size)

    assert shapes(path) == TOWN


def test_a_compression_that_is_not_read_is_named_as_such(tmp_path: Path) -> None:
    path = write(tmp_path / "x", *town(), codec="bzip2_data", compress=bytes)
    with pytest.raises(ExtractUnsupported, match="has a compression that this release"):
        read(path, area=WORLD)


@pytest.mark.parametrize("raw_size", [True, False])
def test_a_block_that_would_fill_the_memory_is_refused(raw_size: bool, tmp_path: Path) -> None:
    size = 200 * 1024 * 1024
    blob = file_block(b"", of="OSMData", compress=lambda _: _packed_zeros(size), raw_size=raw_size)
    path = tmp_path / "x"
    path.write_bytes(file_block(header()) + blob)
    with pytest.raises(ExtractCorrupt, match="cannot be read"):
        read(path, area=WORLD)


def _packed_zeros(size: int) -> bytes:
    packer = zlib.compressobj()
    part = bytes(1024 * 1024)
    packed = b"".join(packer.compress(part) for _ in range(size // len(part)))
    return packed + packer.flush()


def test_files_may_be_put_together(tmp_path: Path) -> None:
    other = Node(5, {"amenity": "bar"}, (11, 51))
    path = write(tmp_path / "x", header(), block(CAFE), header(), block(other))

    assert shapes(path) == {"node/1": TOWN["node/1"], "node/5": "POINT (11 51)"}


def test_blocks_of_unknown_types_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x"
    index = file_block(b"index", of="OSMIndex")
    path.write_bytes(file_block(header()) + index + b"".join(map(file_block, town())))

    assert shapes(path) == TOWN


@pytest.mark.parametrize(
    "optional",
    ["Sort.Type_then_ID", "Sort.Geographic", "Has_Metadata", "timestamp=2024-06-01T12:00:00Z"],
)
def test_other_optional_features_change_nothing(optional: str, tmp_path: Path) -> None:
    assert shapes(write(tmp_path / "x", header(optional=[optional]), *town())) == TOWN


def test_a_required_feature_that_is_not_known_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x", header(required=["Foo-V2"]), *town())
    with pytest.raises(
        ExtractUnsupported, match="x cannot be used: it requires the feature Foo-V2"
    ) as caught:
        read(path, area=WORLD)
    assert not caught.value.should_retry


def test_a_required_feature_that_is_no_text_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "town.osm.pbf"
    path.write_bytes(file_block(bytes.fromhex("2203466fff"), of="OSMHeader"))
    with pytest.raises(ExtractCorrupt, match="the block at byte"):
        read(path, area=WORLD)


def test_a_block_that_is_no_message_is_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "town.osm.pbf", *town())
    path.write_bytes(path.read_bytes() + file_block(b"\xff" * 9, of="OSMData"))
    with pytest.raises(ExtractCorrupt, match="the block at byte"):
        read(path, area=WORLD)


class _NoWait:
    """A clock that shows noon of the town's day."""

    def now(self) -> datetime:
        return datetime(2024, 6, 1, 12, tzinfo=UTC)

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody should wait {seconds} s for a file")


def test_whatever_bytes_change_only_our_errors_come(tmp_path: Path) -> None:
    path = tmp_path / "town.osm.pbf"
    blocks = [header(), *town()]
    whole = [
        write(path, *blocks, codec="raw", compress=bytes).read_bytes(),
        write(path, *[block(CAFE, *NODES, LOCATED_SCHOOL, SITE)]).read_bytes(),
    ]
    random, refused = Random(1), 0
    for number in range(300):
        raw = bytearray(whole[number % 2])
        for _ in range(random.randint(1, 3)):
            raw[random.randrange(len(raw))] = random.choice((0, 127, 128, random.randrange(256)))
        path.write_bytes(raw)
        for attempt in (
            lambda: fetch(str(path), clock=_NoWait(), workdir=tmp_path),
            lambda: read(path, area=WORLD),
        ):
            try:
                attempt()
            except OsmError:
                refused += 1
    assert 150 < refused < 600


def test_a_history_file_is_named_as_one(tmp_path: Path) -> None:
    path = write(tmp_path / "x", header(required=["HistoricalInformation"]), *town())
    with pytest.raises(ExtractNotConfigured, match="x is a history file"):
        read(path, area=WORLD)
