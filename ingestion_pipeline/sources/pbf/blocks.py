"""Blocks of a `.osm.pbf` file as columns: the format only.

A block holds some thousand objects and a table of their strings. protobuf parses its messages,
NumPy the lists of numbers of a whole block at once, so an unused object costs some nanoseconds and
never becomes a Python object. docs/adr/012-columnar-extracts.md explains why libosmium's Python
bindings are not used for this.
"""

from __future__ import annotations

import lzma
import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from zlib_ng import zlib_ng

from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.core.parallel import ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Kind = Literal["node", "way", "relation"]
Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Moments = npt.NDArray[np.datetime64]

MEMBER_KINDS: tuple[Kind, ...] = ("node", "way", "relation")
"""The kinds of members, by their number in a relation."""

HISTORY = "HistoricalInformation"
"""The required feature of a file with several versions of an object."""

_MESSAGES: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "BlobHeader": {"type": (1, "string"), "datasize": (3, "int32")},
    "Blob": {
        "raw": (1, "bytes"),
        "raw_size": (2, "int32"),
        "zlib_data": (3, "bytes"),
        "lzma_data": (4, "bytes"),
        "lz4_data": (6, "bytes"),
        "zstd_data": (7, "bytes"),
    },
    "HeaderBlock": {
        "bbox": (1, "HeaderBBox"),
        "required_features": (4, "string*"),
        "osmosis_replication_timestamp": (32, "int64"),
    },
    "HeaderBBox": {
        "left": (1, "sint64"),
        "right": (2, "sint64"),
        "top": (3, "sint64"),
        "bottom": (4, "sint64"),
    },
    "PrimitiveBlock": {
        "stringtable": (1, "StringTable"),
        "primitivegroup": (2, "PrimitiveGroup*"),
        "granularity": (17, "int32"),
        "date_granularity": (18, "int32"),
        "lat_offset": (19, "int64"),
        "lon_offset": (20, "int64"),
    },
    "StringTable": {"s": (1, "bytes*")},
    "PrimitiveGroup": {
        "nodes": (1, "bytes*"),
        "dense": (2, "DenseNodes"),
        "ways": (3, "bytes*"),
        "relations": (4, "bytes*"),
    },
    "DenseNodes": {
        "id": (1, "bytes*"),
        "denseinfo": (5, "DenseInfo"),
        "lat": (8, "bytes*"),
        "lon": (9, "bytes*"),
        "keys_vals": (10, "bytes*"),
    },
    "DenseInfo": {"version": (1, "bytes*"), "timestamp": (2, "bytes*"), "visible": (6, "bytes*")},
}
"""The messages of the format: their fields' numbers and types, `*` for repeated ones. A message or
a packed list of numbers is `bytes` where NumPy parses it, `bytes*` because protobuf allows a list
in several pieces. Users have no field.

Source: "PBF Format" of the OSM wiki."""

_OBJECT = {"keys": (2, "uint32*"), "vals": (3, "uint32*"), "info": (4, "Info")}
_WHOLE_MESSAGES: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "PrimitiveBlock": _MESSAGES["PrimitiveBlock"],
    "StringTable": _MESSAGES["StringTable"],
    "PrimitiveGroup": {
        "nodes": (1, "Node*"),
        "dense": (2, "DenseNodes"),
        "ways": (3, "Way*"),
        "relations": (4, "Relation*"),
    },
    "DenseNodes": {
        "id": (1, "sint64*"),
        "denseinfo": (5, "DenseInfo"),
        "lat": (8, "sint64*"),
        "lon": (9, "sint64*"),
        "keys_vals": (10, "int32*"),
    },
    "DenseInfo": {"version": (1, "int64*"), "timestamp": (2, "sint64*"), "visible": (6, "bool*")},
    "Info": {"version": (1, "int64"), "timestamp": (2, "int64"), "visible": (6, "bool")},
    "Node": {"id": (1, "sint64"), **_OBJECT, "lat": (8, "sint64"), "lon": (9, "sint64")},
    "Way": {
        "id": (1, "int64"),
        **_OBJECT,
        "refs": (8, "sint64*"),
        "lat": (9, "sint64*"),
        "lon": (10, "sint64*"),
    },
    "Relation": {
        "id": (1, "int64"),
        **_OBJECT,
        "roles_sid": (8, "int32*"),
        "memids": (9, "sint64*"),
        "types": (10, "int32*"),
    },
}
"""The messages of a block down to its numbers, with which protobuf rewrites them (`_usual`)."""

_UNDERSTOOD = frozenset({"OsmSchema-V0.6", "DenseNodes", "LocationsOnWays", HISTORY})
"""Required features that are supported. Of the optional ones, only `LocationsOnWays` adds data, and
its fields are read wherever they occur; `Sort.Type_then_ID`, `Sort.Geographic`, `Has_Metadata` and
`timestamp=` do not."""
_LARGEST_HEADER = 64 * 1024
_LARGEST_BLOB = 32 * 1024 * 1024
_AHEAD = 4
"""How many blocks are decompressed in advance, in parallel with the reading."""

UNKNOWN = np.iinfo(np.int32).max
"""A missing coordinate, in 1e-7 degrees; larger than any on Earth. libosmium uses it too."""

_NANODEGREES = 1_000_000_000
_USUAL_GRANULARITY = 100
"""Nanodegrees of a unit of a coordinate, as in `Units.positions`."""

_ID, _KEYS, _VALUES, _INFO = 1, 2, 3, 4  # fields of ways, relations and single nodes
_NODE_LAT, _NODE_LON = 8, 9
_WAY_REFS, _WAY_LAT, _WAY_LON = 8, 9, 10
_ROLES, _MEMBERS, _MEMBER_KINDS = 8, 9, 10
_INFO_VERSION, _INFO_TIMESTAMP = 1, 2
_NOT_VISIBLE = (6 << 3, 0)
"""The last two bytes of an `Info` of a deleted object: `visible` is its last field."""
_LISTS: Mapping[Kind, frozenset[int]] = {
    "node": frozenset({_KEYS, _VALUES}),
    "way": frozenset({_KEYS, _VALUES, _WAY_REFS, _WAY_LAT, _WAY_LON}),
    "relation": frozenset({_KEYS, _VALUES, _ROLES, _MEMBERS, _MEMBER_KINDS}),
}
"""Fields that are lists of numbers."""
_VARINT, _LENGTH = 0, 2
_LONGEST_VARINT = 10
_HIGHEST_FIELD = 31
_MORE = 128
_NOTHING = np.empty(0, dtype=np.uint8)


class NotPbfError(Exception):
    """The bytes are not OSM PBF, or are truncated or damaged."""


class UnsupportedPbfError(Exception):
    """The file may be valid, but has an unsupported feature."""


class _UnusualError(Exception):
    """A message has a valid protobuf encoding that is not parsed in columns."""


class Header(NamedTuple):
    """The header of the following blocks.

    Attributes:
        required: Features that a reader must support.
        replication_timestamp: Seconds since 1970, UTC; 0 if unknown.
        box: The bounding box of the blocks, unchanged; None if unknown.
    """

    required: frozenset[str]
    replication_timestamp: int
    box: Bbox | None


class Blob(NamedTuple):
    """The position of a block in its file."""

    offset: int
    size: int


def message(name: str) -> Any:
    """Return protobuf's class of one of the messages."""
    return _classes()[name]


@cache
def _classes() -> Mapping[str, Any]:
    return message_classes(_MESSAGES)


def message_classes(layout: Mapping[str, Mapping[str, tuple[int, str]]]) -> dict[str, Any]:
    """Return protobuf's classes of messages.

    Args:
        layout: For each message, and each of its fields, the number and the type: one of protobuf's
            or a message of the layout, with `*` for repeated fields; repeated numbers are packed.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    of_field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="osm.proto", package="osm", syntax="proto2")
    for name, fields in layout.items():
        described = file.message_type.add(name=name)
        for field, (number, of) in fields.items():
            base, is_many = of.removesuffix("*"), of.endswith("*")
            added = described.field.add(
                name=field,
                number=number,
                label=of_field.LABEL_REPEATED if is_many else of_field.LABEL_OPTIONAL,
            )
            if base in layout:
                added.type, added.type_name = of_field.TYPE_MESSAGE, f".osm.{base}"
            else:
                added.type = of_field.Type.Value(f"TYPE_{base.upper()}")
                if is_many and base not in {"bytes", "string"}:
                    added.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"osm.{name}"))
        for name in layout
    }


def headers(file: int) -> list[Header]:
    """Return the headers of an open file: one, or several in a concatenated file.

    Args:
        file: A descriptor.

    Raises:
        NotPbfError: The file is not PBF, or is truncated.
    """
    found: list[Header] = []
    for kind, blob in _blobs(file):
        if kind == "OSMHeader":
            raw = unpacked(file, blob)
            with _as_damage(blob.offset):
                header = message("HeaderBlock").FromString(raw)
                found.append(
                    Header(
                        required=frozenset(map(_utf8, header.required_features)),
                        replication_timestamp=header.osmosis_replication_timestamp,
                        box=_box(header.bbox) if header.HasField("bbox") else None,
                    )
                )
    if not found:
        raise NotPbfError("it has no header")
    return found


def _utf8(text: str | bytes) -> str:
    """Return a protobuf text; protobuf returns invalid UTF-8 as bytes."""
    return text if isinstance(text, str) else text.decode()


def _box(written: Any) -> Bbox:
    sides = (written.left, written.bottom, written.right, written.top)
    return Bbox(*(side / _NANODEGREES for side in sides))


def data_blobs(file: int) -> list[Blob]:
    """Return the data blocks of an open file, in their order, without reading them.

    Blocks of other types are skipped, as the format requires.

    Args:
        file: A descriptor.

    Raises:
        NotPbfError: The file is not PBF, or is truncated.
        UnsupportedPbfError: It requires an unsupported feature.
    """
    unknown = sorted(
        {feature for header in headers(file) for feature in header.required} - _UNDERSTOOD
    )
    if unknown:
        raise UnsupportedPbfError(
            f"it requires the feature {', '.join(unknown)}, which this release does not support"
        )
    return [blob for kind, blob in _blobs(file) if kind == "OSMData"]


def _blobs(file: int) -> Iterator[tuple[str, Blob]]:
    """Yield the types of all blocks, and their positions."""
    position, end = 0, os.fstat(file).st_size
    while position < end:
        size = int.from_bytes(os.pread(file, 4, position), "big")
        if not 0 < size <= _LARGEST_HEADER:
            raise NotPbfError(f"no block begins at byte {position}")
        with _as_damage(position):
            header = message("BlobHeader").FromString(os.pread(file, size, position + 4))
            kind = _utf8(header.type)
        blob = Blob(position + 4 + size, header.datasize)
        position = blob.offset + blob.size
        if not 0 <= blob.size <= _LARGEST_BLOB or position > end:
            raise NotPbfError(f"the block at byte {blob.offset} is truncated")
        yield kind, blob


def unpacked(file: int, blob: Blob) -> bytes:
    """Read and decompress a block.

    Raises:
        NotPbfError: It is damaged.
        UnsupportedPbfError: Its compression is not supported.
    """
    with _as_damage(blob.offset):
        packed = message("Blob").FromString(os.pread(file, blob.size, blob.offset))
        if packed.HasField("raw"):
            raw: bytes = packed.raw
            return raw
        size = packed.raw_size if packed.HasField("raw_size") else None
        if size is not None and not 0 <= size <= _LARGEST_BLOB:
            raise ValueError(f"{size} bytes exceed the limit of a block")
        for field, decompress in _CODECS.items():
            if packed.HasField(field):
                data = decompress(getattr(packed, field), size)
                if len(data) > _LARGEST_BLOB or (size is not None and len(data) != size):
                    raise ValueError(f"{len(data)} bytes instead of {size or _LARGEST_BLOB}")
                return data
    raise UnsupportedPbfError(
        f"the block at byte {blob.offset} has a compression that this release does not support"
    )


def _streamed(decompressor: Callable[[], Any]) -> Callable[[bytes, int | None], bytes]:
    """Return a function that decompresses at most the limit of a block."""

    def decompress(packed: bytes, size: int | None) -> bytes:
        stream = decompressor()
        data: bytes = stream.decompress(packed, (_LARGEST_BLOB if size is None else size) + 1)
        if not stream.eof:
            raise ValueError("it is truncated, or larger than declared")
        return data

    return decompress


def _by_arrow(codec: Literal["lz4_raw", "zstd"]) -> Callable[[bytes, int | None], bytes]:
    def decompress(packed: bytes, size: int | None) -> bytes:
        import pyarrow as pa

        if size is None and codec == "lz4_raw":
            raise ValueError("LZ4 without the size of its data")
        if size is None:
            stream = pa.CompressedInputStream(pa.BufferReader(packed), "zstd")
            streamed: bytes = stream.read(_LARGEST_BLOB + 1)
            return streamed
        data: bytes = pa.decompress(packed, size, codec=codec, asbytes=True)
        return data

    return decompress


_CODECS: dict[str, Callable[[bytes, int | None], bytes]] = {
    "zlib_data": _streamed(zlib_ng.decompressobj),
    "lzma_data": _streamed(lzma.LZMADecompressor),
    "lz4_data": _by_arrow("lz4_raw"),
    "zstd_data": _by_arrow("zstd"),
}


def read_blocks(file: int, blobs: Sequence[Blob]) -> Iterator[Block]:
    """Read blocks one by one, while the next ones are decompressed.

    Raises:
        NotPbfError: One is damaged.
        UnsupportedPbfError: One has an unsupported feature or a deleted object: the file contains
            changes, not a state of the map.
    """
    decompressed = ahead(partial(unpacked, file), blobs, most=_AHEAD)
    for blob, raw in zip(blobs, decompressed, strict=True):
        with _as_damage(blob.offset):
            block = Block.of(raw)
            deleted = block.first_deleted()
        if deleted is not None:
            raise UnsupportedPbfError(
                f"{deleted} is deleted (visible=false), so the file contains changes or a history, "
                "not a snapshot"
            )
        yield block


def kinds_in(file: int, blob: Blob) -> set[Kind]:
    """Return the kinds of a block's objects, without reading these.

    Raises:
        NotPbfError: It is damaged.
        UnsupportedPbfError: Its compression is not supported.
    """
    raw = unpacked(file, blob)
    with _as_damage(blob.offset):
        stored = message("PrimitiveBlock").FromString(raw)
    kinds: set[Kind] = set()
    for group in stored.primitivegroup:
        if group.HasField("dense") or group.nodes:
            kinds.add("node")
        if group.ways:
            kinds.add("way")
        if group.relations:
            kinds.add("relation")
    return kinds


@dataclass(frozen=True)
class Block:
    """The objects of one block.

    Attributes:
        strings: The texts of its tags and roles, by their number; UTF-8.
        nodes: Its nodes.
        ways: Its ways.
        relations: Its relations.
    """

    strings: Sequence[bytes]
    nodes: list[Dense | Messages]
    ways: list[Messages]
    relations: list[Messages]

    @property
    def kinds(self) -> set[Kind]:
        """Return the kinds of its objects."""
        return {kind for kind in MEMBER_KINDS if self.of_kind(kind)}

    def of_kind(self, kind: Kind) -> Sequence[Dense | Messages]:
        """Return its objects of one kind."""
        objects: Sequence[Dense | Messages] = getattr(self, f"{kind}s")
        return objects

    def ids(self, kind: Kind) -> Integers:
        """Return the ids of its objects of one kind, in their order."""
        ids = [objects.ids(kind) for objects in self.of_kind(kind)]
        return ids[0] if len(ids) == 1 else np.concatenate([np.empty(0, np.int64), *ids])

    def newest(self, kind: Kind) -> int:
        """Return the newest timestamp of its objects of one kind, in seconds since 1970, if any."""
        moments = [
            objects.versions(np.arange(len(objects.ids(kind))))[1].astype(np.int64).max()
            for objects in self.of_kind(kind)
        ]
        return int(max(moments))

    @classmethod
    def of(cls, raw: bytes) -> Block:
        """Index the content of a block, without parsing the objects."""
        try:
            return cls._of(raw)
        except _UnusualError:
            return cls._of(_usual(raw))

    @classmethod
    def _of(cls, raw: bytes) -> Block:
        stored = message("PrimitiveBlock").FromString(raw)
        units = Units(
            stored.granularity if stored.HasField("granularity") else _USUAL_GRANULARITY,
            stored.date_granularity if stored.HasField("date_granularity") else 1000,
            lat=stored.lat_offset,
            lon=stored.lon_offset,
        )
        block = cls(list(stored.stringtable.s), [], [], [])
        for group in stored.primitivegroup:
            if group.HasField("dense"):
                block.nodes.append(Dense(group.dense, units))
            for kind in MEMBER_KINDS:
                messages = list(getattr(group, f"{kind}s"))
                if messages:
                    objects: Any = block.of_kind(kind)
                    objects.append(Messages(messages, units, lists=_LISTS[kind]))
        return block

    def first_deleted(self) -> str | None:
        """Return a deleted object of the block, such as `node/1`, or None."""
        for kind in MEMBER_KINDS:
            for objects in self.of_kind(kind):
                rows = objects.deleted()
                if len(rows):
                    return f"{kind}/{objects.ids(kind)[rows[0]]}"
        return None


def _usual(raw: bytes) -> bytes:
    """Rewrite a block: fields in ascending order, lists packed and in one piece."""
    block = _whole_classes()["PrimitiveBlock"].FromString(raw)
    block.DiscardUnknownFields()
    written: bytes = block.SerializeToString()
    return written


@cache
def _whole_classes() -> Mapping[str, Any]:
    return message_classes(_WHOLE_MESSAGES)


def _is_unpacked(message: Any) -> bool:
    """Return whether a message of packed lists has one that is not."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    unknown: Any = UnknownFieldSet(message)  # a sequence, which the stubs lack
    return any(field.wire_type == _VARINT for field in unknown)


class Units(NamedTuple):
    """The units of the numbers of a block.

    Attributes:
        degrees: Nanodegrees of one unit of a coordinate.
        time: Milliseconds of one unit of a timestamp.
        lat: Nanodegrees to add to every latitude.
        lon: Nanodegrees to add to every longitude.
    """

    degrees: int
    time: int
    lat: int
    lon: int

    def positions(self, lon: Integers, lat: Integers) -> Integers:
        """Return (n, 2) lon and lat in 1e-7 degrees."""
        both = np.column_stack([lon, lat])
        if self.degrees != _USUAL_GRANULARITY:
            both *= self.degrees
            both += (self.lon, self.lat)
            both //= _USUAL_GRANULARITY
        elif self.lon or self.lat:
            both += (self.lon // _USUAL_GRANULARITY, self.lat // _USUAL_GRANULARITY)
        return both

    def seconds(self, moments: Integers) -> npt.NDArray[np.datetime64]:
        """Return timestamps as datetime64[s], UTC; the year 1970 where unknown."""
        return (moments * self.time // 1000).astype("datetime64[s]")


class Tags(NamedTuple):
    """The tags of objects, by the numbers of their strings.

    Attributes:
        keys: (t,) of all tags of all objects.
        values: (t,).
        owner: (t,) the object of each tag, ascending.
    """

    keys: Integers
    values: Integers
    owner: Integers


class Dense:
    """Nodes stored column by column.

    Attributes:
        id: (n,) their ids.
    """

    def __init__(self, message: Any, units: Units) -> None:
        """Parse the ids of a message `DenseNodes`; other columns are parsed on use."""
        if _is_unpacked(message) or _is_unpacked(message.denseinfo):
            raise _UnusualError
        self._message = message
        self._units = units
        self.id = np.cumsum(_zigzag(_varints(_bytes(message.id))))

    def ids(self, _: Kind = "node") -> Integers:
        """Return the (n,) ids, as `Messages` does."""
        return self.id

    @cached_property
    def xy(self) -> Integers:
        """(n, 2) lon and lat in 1e-7 degrees."""
        lon, lat = (
            np.cumsum(_zigzag(self._column(column)))
            for column in (self._message.lon, self._message.lat)
        )
        return self._units.positions(lon, lat)

    @cached_property
    def tags(self) -> Tags:
        """The tags of all nodes."""
        # k v k v 0, node by node; empty in a block without tags
        numbers = _varints(_bytes(self._message.keys_vals))
        if len(numbers) and numbers[-1]:  # some writers omit the last 0
            numbers = np.append(numbers, 0)
        ends = numbers == 0
        in_tags = np.flatnonzero(~ends)
        if len(numbers) and (ends.sum() != len(self.id) or len(in_tags) % 2):
            raise NotPbfError("the tags of a block's nodes cannot be separated")
        owner = np.cumsum(ends)[in_tags]
        return Tags(numbers[in_tags[::2]], numbers[in_tags[1::2]], owner[::2])

    def deleted(self) -> Integers:
        """Return the rows of deleted nodes."""
        return np.flatnonzero(_bytes(self._message.denseinfo.visible) == 0)

    def versions(self, rows: Integers) -> tuple[Integers, Moments]:
        """Return the versions and timestamps of some nodes; 0 and 1970 where unknown."""
        info = self._message.denseinfo
        version, moment = (
            self._column(column) if column else np.zeros(len(self.id), np.int64)
            for column in (info.version, info.timestamp)
        )
        return np.maximum(version[rows], 0), self._units.seconds(np.cumsum(_zigzag(moment))[rows])

    def _column(self, pieces: Sequence[bytes]) -> Integers:
        numbers = _varints(_bytes(pieces))
        if len(numbers) != len(self.id):
            raise NotPbfError(f"{len(numbers)} numbers for the {len(self.id)} nodes of a block")
        return numbers


class Messages:
    """Objects stored one after the other: ways, relations, and nodes of old files."""

    def __init__(
        self, messages: Sequence[bytes], units: Units, *, lists: frozenset[int] = frozenset()
    ) -> None:
        """Index the fields of n messages at once.

        Args:
            messages: n messages.
            units: The units of their numbers.
            lists: Which fields are lists of numbers.
        """
        self._count = len(messages)
        self._units = units
        self._data = _bytes(messages)
        stops = np.cumsum(np.fromiter(map(len, messages), np.int64, self._count))
        starts = np.concatenate([[0], stops[:-1]])
        self._numbers, self._parts = _take_apart(
            self._data, np.column_stack([starts, stops]), once=True
        )
        if not lists.isdisjoint(self._numbers):
            raise _UnusualError

    @property
    def id(self) -> Integers:
        """(n,) the ids of ways or relations."""
        return self._number(_ID)

    def ids(self, kind: Kind) -> Integers:
        """Return the (n,) ids; those of nodes are signed."""
        return _zigzag(self.id) if kind == "node" else self.id

    @property
    def xy(self) -> Integers:
        """(n, 2) lon and lat of nodes, in 1e-7 degrees."""
        return self._units.positions(
            _zigzag(self._number(_NODE_LON)), _zigzag(self._number(_NODE_LAT))
        )

    @cached_property
    def tags(self) -> Tags:
        """The tags of all objects."""
        keys, offsets = self.packed(_KEYS)
        values, also = self.packed(_VALUES)
        if not np.array_equal(offsets, also):
            raise NotPbfError("an object has keys without values")
        return Tags(keys, values, np.repeat(np.arange(self._count), np.diff(offsets)))

    def deleted(self) -> Integers:
        """Return the rows of deleted objects."""
        spans = self._spans(_INFO)
        rows = np.flatnonzero(spans[:, 1] - spans[:, 0] >= len(_NOT_VISIBLE))
        stops = spans[rows, 1]
        tag, value = _NOT_VISIBLE
        ends = (self._data[stops - 1] == value) & (self._data[stops - 2] == tag)
        deleted: Integers = rows[ends]
        return deleted

    def versions(self, rows: Integers) -> tuple[Integers, Moments]:
        """Return the versions and timestamps of some objects; 0 and 1970 where unknown."""
        numbers, _ = _take_apart(self._data, self._spans(_INFO)[rows])
        nothing = np.zeros(len(rows), np.int64)
        return (
            np.maximum(numbers.get(_INFO_VERSION, nothing), 0),
            self._units.seconds(numbers.get(_INFO_TIMESTAMP, nothing)),
        )

    def packed(self, field: int, rows: Integers | None = None) -> tuple[Integers, Integers]:
        """Return a field of some messages (by default all) that is a list of unsigned numbers.

        Returns:
            The numbers of r messages, and the (r + 1,) offsets of each message.
        """
        spans = self._spans(field)
        spans = spans if rows is None else spans[rows]
        data = self._data[together(spans)]
        bounds = np.concatenate([[0], np.cumsum(spans[:, 1] - spans[:, 0])])
        before = np.concatenate([[0], np.cumsum(data < _MORE)])
        return _varints(data), before[bounds]

    def deltas(self, field: int, rows: Integers) -> tuple[Integers, Integers]:
        """Return a list of signed numbers stored as differences; like `packed`."""
        values, offsets = self.packed(field, rows)
        sums = np.concatenate([[0], np.cumsum(_zigzag(values))])
        return sums[1:] - np.repeat(sums[offsets[:-1]], np.diff(offsets)), offsets

    def way_nodes(self, rows: Integers) -> tuple[list[Integers], Integers]:
        """Return the nodes of some ways.

        Returns:
            Their ids and, with `LocationsOnWays`, longitudes and latitudes in 1e-7 degrees; and the
            (r + 1,) offsets of each way.
        """
        refs, offsets = self.deltas(_WAY_REFS, rows)
        if _WAY_LAT not in self._parts and _WAY_LON not in self._parts:
            return [refs], offsets
        lat, of_lat = self.deltas(_WAY_LAT, rows)
        lon, of_lon = self.deltas(_WAY_LON, rows)
        located = np.diff(of_lat) > 0
        sizes = np.where(located, np.diff(offsets), 0)
        if not (np.array_equal(np.diff(of_lat), sizes) and np.array_equal(of_lat, of_lon)):
            raise NotPbfError("a way has positions of only some of its nodes")
        places = np.full((len(refs), 2), UNKNOWN)
        places[np.repeat(located, np.diff(offsets))] = self._units.positions(lon, lat)
        return [refs, *places.T], offsets

    def members(self, rows: Integers, texts: int) -> tuple[list[Integers], Integers]:
        """Return the members of some relations.

        Args:
            rows: The relations.
            texts: The number of texts in the block.

        Returns:
            Their ids, kinds and roles, and the (r + 1,) offsets of each relation.
        """
        roles, offsets = self.packed(_ROLES, rows)
        refs, of_refs = self.deltas(_MEMBERS, rows)
        kinds, of_kinds = self.packed(_MEMBER_KINDS, rows)
        if not (np.array_equal(offsets, of_refs) and np.array_equal(offsets, of_kinds)):
            raise NotPbfError("a relation has members without a role or a kind")
        require_below(roles, texts, what="texts")
        require_below(kinds, len(MEMBER_KINDS), what="kinds of members")
        return [refs, kinds, roles], offsets

    def _number(self, field: int) -> Integers:
        return self._numbers.get(field, np.zeros(self._count, np.int64))

    def _spans(self, field: int) -> Integers:
        return self._parts.get(field, np.zeros((self._count, 2), np.int64))


def _bytes(pieces: Sequence[bytes]) -> Bytes:
    return np.frombuffer(b"".join(pieces), dtype=np.uint8)


def _varints(data: Bytes) -> Integers:
    """Parse numbers of 7 bits a byte, the lowest first; bit 8 marks a continuation."""
    last = np.flatnonzero(data < _MORE)
    if len(data) and (not len(last) or last[-1] != len(data) - 1):
        raise NotPbfError("a list of numbers is truncated")
    if len(last) == len(data):
        return data.astype(np.int64)
    first = np.empty_like(last)
    first[0] = 0
    np.add(last[:-1], 1, out=first[1:])
    values = (data[first] & 127).astype(np.int64)
    more, place = np.flatnonzero(last > first), 0
    while len(more):
        place += 1
        if place == _LONGEST_VARINT:
            raise NotPbfError("a number is longer than 64 bits")
        at = first[more] + place
        values[more] |= (data[at] & 127).astype(np.int64) << (7 * place)
        more = more[last[more] > at]
    return values


def _zigzag(values: Integers) -> Integers:
    """Return signed numbers: 0, -1, 1, -2 are written as 0, 1, 2, 3."""
    return (values >> 1) ^ -(values & 1)


def together(spans: Integers) -> Integers:
    """Return the positions in (n, 2) spans, one span after the other."""
    sizes = spans[:, 1] - spans[:, 0]
    before = np.cumsum(sizes) - sizes
    return np.repeat(spans[:, 0] - before, sizes) + np.arange(sizes.sum())


def require_below(numbers: Integers, count: int, *, what: str) -> None:
    """Check numbers that refer to things; negative ones are invalid too.

    Args:
        numbers: Numbers that refer to one of `count` things.
        count: The number of things.
        what: What they are, for the message.

    Raises:
        NotPbfError: One of the numbers is not in 0..count - 1.
    """
    if len(numbers) and numbers.view(np.uint64).max() >= count:
        raise NotPbfError(f"a block refers to a missing one of its {count} {what}")


def distinct(values: Integers) -> Integers:
    """Return each value once, ascending; 50 times as fast as `numpy.unique` for millions of ids."""
    ordered = np.sort(values)
    once: Integers = ordered[np.diff(ordered, prepend=ordered[:1] - 1) != 0]
    return once


def _take_apart(
    data: Bytes, spans: Integers, *, once: bool = False
) -> tuple[dict[int, Integers], dict[int, Integers]]:
    """Parse the fields of many messages at once.

    Args:
        data: The bytes.
        spans: (n, 2) where the messages begin and end.
        once: Whether a field may occur only once in a message. If not, the last one counts.

    Returns:
        The fields that are numbers, (n,) with 0 where a message has none; and the fields that are
        bytes, (n, 2) where they begin and end, twice 0 where a message has none.
    """
    numbers: dict[int, Integers] = {}
    parts: dict[int, Integers] = {}
    position, rows = spans[:, 0].copy(), np.flatnonzero(spans[:, 0] < spans[:, 1])
    previous = np.zeros(len(rows), np.int64)
    met: list[tuple[Integers, Integers]] = []
    ascends = True
    while len(rows):
        tag, at = _varints_at(data, position[rows])
        value, at = _varints_at(data, at)
        wire, field = tag & 7, tag >> 3
        if not np.isin(wire, (_VARINT, _LENGTH)).all():
            raise _UnusualError if once else NotPbfError("a field has an unknown form")
        met.append((rows, field))
        ascends &= bool((field > previous).all())
        is_part = wire == _LENGTH
        stop = np.where(is_part, at + value, at)
        for one in distinct(field).tolist():
            here = field == one
            for mask, found, shape in (
                (here & ~is_part, numbers, (len(spans),)),
                (here & is_part, parts, (len(spans), 2)),
            ):
                if mask.any():
                    column = found.setdefault(one, np.zeros(shape, np.int64))
                    column[rows[mask]] = (
                        value[mask] if found is numbers else np.column_stack([at[mask], stop[mask]])
                    )
        if (stop < at).any() or (stop > spans[rows, 1]).any():
            raise NotPbfError("a field is longer than its object")
        position[rows] = stop
        is_more = stop < spans[rows, 1]
        rows, previous = rows[is_more], field[is_more]
    if once and not ascends and _are_repeated(met, len(spans)):
        raise _UnusualError
    return numbers, parts


def _are_repeated(fields: Sequence[tuple[Integers, Integers]], count: int) -> bool:
    """Return whether one of `count` messages has a field twice.

    Args:
        fields: Messages, each once, and a field of each; all unknown fields with high numbers count
            as one.
        count: The number of messages.
    """
    met = np.zeros(count, np.uint32)
    for rows, numbers in fields:
        bits = np.left_shift(1, np.minimum(numbers, _HIGHEST_FIELD)).astype(np.uint32)
        before = met[rows]
        if (before & bits).any():
            return True
        met[rows] = before | bits
    return False


def _varints_at(data: Bytes, position: Integers) -> tuple[Integers, Integers]:
    """Return the number at each of some positions, and the positions after them."""
    byte = data[position]
    values = (byte & 127).astype(np.int64)
    after = position + 1
    more, place = np.flatnonzero(byte >= _MORE), 0
    while len(more):
        place += 1
        if place == _LONGEST_VARINT:
            raise NotPbfError("a number is longer than 64 bits")
        byte = data[after[more]]
        values[more] |= (byte & 127).astype(np.int64) << (7 * place)
        after[more] += 1
        more = more[byte >= _MORE]
    return values, after


@contextmanager
def _as_damage(offset: int) -> Iterator[None]:
    """Report any error of parsing as damage."""
    from google.protobuf.message import DecodeError

    try:
        yield
    except (
        DecodeError,
        IndexError,
        ValueError,
        OSError,
        EOFError,
        _UnusualError,
        zlib_ng.error,  # type: ignore[misc]  # its stubs take the class for an error
        lzma.LZMAError,
    ) as error:
        raise NotPbfError(f"the block at byte {offset} cannot be read ({error})") from error
