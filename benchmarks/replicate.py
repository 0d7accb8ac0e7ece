"""Large realistic extracts, made of a real one: merged, and replicated with new ids and places.

Belongs here: writing `.osm.pbf` files. Does not belong here: which ones, and keeping them
(`inputs.py`).

A copy has ids of its own (real-sized: as far from the next copy's as OpenStreetMap's ids reach
today) and lies elsewhere. All else is as mapped: shapes, versions, times, tags. In a renamed file
the names carry the copy's number, so that it has as many different sets of tags as a real one of
its size, or more.

Ids and coordinates are delta coded in PBF, so it is enough to change the first of each run of them;
a file of a million POIs is written in minutes. The format: "PBF Format" of the OSM wiki.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import osmium

from ingestion_pipeline.sources.pbf.blocks import message_classes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

ID_OFFSET = 13_000_000_000
"""Between the ids of a copy and of the next one; the newest nodes have ids of that size."""

COPIES_IN_A_ROW = 16
STEP_EAST, STEP_SOUTH = 3.0, 1.5
"""Between a copy and the next one of its row, and the next row; degrees."""

NANODEGREES = 1_000_000_000

LAYOUT: dict[str, dict[str, tuple[int, str]]] = {
    "BlobHeader": {"type": (1, "string"), "datasize": (3, "int32")},
    "Blob": {"raw": (1, "bytes"), "raw_size": (2, "int32"), "zlib_data": (3, "bytes")},
    "StringTable": {"s": (1, "bytes*")},
    "DenseNodes": {
        "id": (1, "sint64*"),
        "lat": (8, "sint64*"),
        "lon": (9, "sint64*"),
        "keys_vals": (10, "int32*"),
    },
    "Way": {
        "id": (1, "int64"),
        "keys": (2, "uint32*"),
        "vals": (3, "uint32*"),
        "refs": (8, "sint64*"),
    },
    "Relation": {
        "id": (1, "int64"),
        "keys": (2, "uint32*"),
        "vals": (3, "uint32*"),
        "roles_sid": (8, "int32*"),
        "memids": (9, "sint64*"),
    },
    "PrimitiveGroup": {
        "dense": (2, "DenseNodes"),
        "ways": (3, "Way*"),
        "relations": (4, "Relation*"),
    },
    "PrimitiveBlock": {
        "stringtable": (1, "StringTable"),
        "primitivegroup": (2, "PrimitiveGroup*"),
        "granularity": (17, "int32"),
    },
}
"""The fields that are looked at or changed; protobuf keeps all others as they are."""

GRANULARITY = 100
"""Nanodegrees in a unit of a coordinate, where a block does not say otherwise."""


def merge(sources: Iterable[Path], target: Path) -> None:
    """Write files as one, sorted by type and id, each object once and in its newest version."""
    reader = osmium.MergeInputReader()
    for source in sources:
        reader.add_file(str(source))
    header = osmium.io.Header()
    header.set("sorting", "Type_then_ID")
    with osmium.SimpleWriter(osmium.io.File(str(target), "pbf"), header=header) as writer:
        reader.apply(writer, simplify=True)


def replicate(source: Path, target: Path, *, copies: int, renamed: bool) -> None:
    """Write a file `copies` times into one, sorted by type and id.

    Args:
        source: A file that `merge` wrote.
        target: Where to.
        copies: How many; the first is the source as it is.
        renamed: Whether names carry the number of their copy.
    """
    with source.open("rb") as file:
        header, *data = _blobs(file.read())
    blocks = [_Source.of(_unpacked(content), renamed=renamed) for _, content in data]
    with target.open("wb") as file:
        file.write(_file_block("OSMHeader", header[1]))
        for _, of_a_type in itertools.groupby(blocks, key=lambda block: block.type):
            same = list(of_a_type)
            for number in range(copies):
                for block in same:
                    file.write(_file_block("OSMData", _packed(block.copy(number))))


@dataclass(frozen=True)
class _Source:
    """A block of the source.

    Attributes:
        type: What it holds: the name of a field of `PrimitiveGroup`.
        raw: The serialized block.
        names: Positions of the strings that are to be changed: names and nothing else.
    """

    type: str
    raw: bytes
    names: Sequence[int]

    @classmethod
    def of(cls, raw: bytes, *, renamed: bool) -> _Source:
        block = _message("PrimitiveBlock").FromString(raw)
        types = {
            name
            for group in block.primitivegroup
            for name in ("dense", "ways", "relations")
            if (group.HasField(name) if name == "dense" else getattr(group, name))
        }
        assert len(types) == 1, "libosmium writes blocks of one type"
        return cls(types.pop(), raw, _names(block) if renamed else ())

    def copy(self, number: int) -> bytes:
        """Give the block as it stands in a copy."""
        if number == 0:
            return self.raw
        block = _message("PrimitiveBlock").FromString(self.raw)
        row, place = divmod(number, COPIES_IN_A_ROW)
        unit = (block.granularity or GRANULARITY) / NANODEGREES
        ids = number * ID_OFFSET
        for group in block.primitivegroup:
            if group.HasField("dense"):
                group.dense.id[0] += ids
                group.dense.lon[0] += round(place * STEP_EAST / unit)
                group.dense.lat[0] -= round(row * STEP_SOUTH / unit)
            for item in itertools.chain(group.ways, group.relations):
                item.id += ids
            for refs in _references(group):
                if refs:
                    refs[0] += ids
        for position in self.names:
            block.stringtable.s[position] += b" %d" % number
        raw: bytes = block.SerializeToString()
        return raw


def _references(group: Any) -> Iterator[Any]:
    """Give each object's ids of what it is made of."""
    yield from (way.refs for way in group.ways)
    yield from (relation.memids for relation in group.relations)


def _names(block: Any) -> list[int]:
    strings = block.stringtable.s
    names: set[int] = set()
    others: set[int] = {0}
    for key, value in _tags(block):
        others.add(key)
        (names if b"name" in strings[key] else others).add(value)
    for group in block.primitivegroup:
        for relation in group.relations:
            others.update(relation.roles_sid)
    return sorted(names - others)


def _tags(block: Any) -> Iterator[tuple[int, int]]:
    """Give all tags, as positions in the table of strings."""
    for group in block.primitivegroup:
        # Tags of dense nodes are keys and values in turn; a 0 ends those of a node.
        dense = filter(None, group.dense.keys_vals)
        yield from zip(dense, dense, strict=True)
        for item in itertools.chain(group.ways, group.relations):
            yield from zip(item.keys, item.vals, strict=True)


def _blobs(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Take a file apart into (type, serialized blob)."""
    position = 0
    while position < len(raw):
        (length,) = struct.unpack_from(">I", raw, position)
        start = position + 4 + length
        header = _message("BlobHeader").FromString(raw[position + 4 : start])
        position = start + header.datasize
        yield header.type, raw[start:position]


def _file_block(kind: str, blob: bytes) -> bytes:
    header: bytes = _message("BlobHeader")(type=kind, datasize=len(blob)).SerializeToString()
    return struct.pack(">I", len(header)) + header + blob


def _unpacked(content: bytes) -> bytes:
    blob = _message("Blob").FromString(content)
    raw: bytes = blob.raw or zlib.decompress(blob.zlib_data)
    return raw


def _packed(raw: bytes) -> bytes:
    blob = _message("Blob")(raw_size=len(raw), zlib_data=zlib.compress(raw))
    content: bytes = blob.SerializeToString()
    return content


def _message(name: str) -> Any:
    return _messages()[name]


@cache
def _messages() -> dict[str, Any]:
    return message_classes(LAYOUT)
