"""The blocks of a `.osm.pbf` file, taken apart in columns.

Belongs here: the format alone, from the file's frames to arrays of numbers. Does not belong here:
which objects are wanted (`extract.py`), and the proof that a file is whole and of its day
(`extract.acquire`, by libosmium).

A block holds some thousand objects and a table of their strings. protobuf takes its messages apart,
NumPy its lists of numbers, all of a block's at once; so an object that nobody asks for costs some
nanoseconds and never becomes an object of Python. docs/adr/012-columnar-extracts.md tells why this
is not left to libosmium's Python bindings.
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

from ingestion_pipeline.cores import ahead
from ingestion_pipeline.osm.acquire import Bbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Kind = Literal["node", "way", "relation"]
Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Moments = npt.NDArray[np.datetime64]

MEMBER_KINDS: tuple[Kind, ...] = ("node", "way", "relation")
"""The kinds of members, by their number in a relation."""

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
    "HeaderBlock": {"bbox": (1, "HeaderBBox"), "required_features": (4, "string*")},
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
        "id": (1, "bytes"),
        "denseinfo": (5, "DenseInfo"),
        "lat": (8, "bytes"),
        "lon": (9, "bytes"),
        "keys_vals": (10, "bytes"),
    },
    "DenseInfo": {"version": (1, "bytes"), "timestamp": (2, "bytes")},
}
"""The messages of the format: their fields' numbers and types, `*` for many. What is a message or a
packed list of numbers in the format is `bytes` where NumPy takes it apart. Users have no field.

Source: "PBF Format" of the OSM wiki."""

_UNDERSTOOD = frozenset({"OsmSchema-V0.6", "DenseNodes"})
_LARGEST_HEADER = 64 * 1024
_LARGEST_BLOB = 32 * 1024 * 1024
_AHEAD = 4
"""How many blocks are decompressed before they are asked for; that runs beside the reading."""

_NANODEGREES = 1_000_000_000
_USUAL_GRANULARITY = 100
"""Nanodegrees of a unit of a coordinate; those of `Units.positions`."""

_ID, _KEYS, _VALUES, _INFO = 1, 2, 3, 4  # fields of ways, relations and single nodes
_NODE_LAT, _NODE_LON = 8, 9
_INFO_VERSION, _INFO_TIMESTAMP = 1, 2
_VARINT, _LENGTH = 0, 2
_MORE = 128
_NOTHING = np.empty(0, dtype=np.uint8)


class NotPbfError(Exception):
    """The bytes are no OSM PBF, are cut off or damaged, or have something that is not read here."""


class Blob(NamedTuple):
    """Where a block lies in its file."""

    offset: int
    size: int


def message(name: str) -> Any:
    """Give protobuf's class of one of the messages."""
    return _classes()[name]


@cache
def _classes() -> Mapping[str, Any]:
    return message_classes(_MESSAGES)


def message_classes(layout: Mapping[str, Mapping[str, tuple[int, str]]]) -> dict[str, Any]:
    """Make protobuf's classes of messages.

    Args:
        layout: For each message, and each of its fields, the number and the type: one of protobuf's
            or a message of the layout, with `*` for many; many numbers are packed.
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
                if is_many and "int" in base:
                    added.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"osm.{name}"))
        for name in layout
    }


def data_blobs(file: int) -> list[Blob]:
    """List the data blocks of an open file, in their order, without reading them.

    Args:
        file: A descriptor.

    Raises:
        NotPbfError: The file is none, is cut off, or needs a feature that is not read here.
    """
    position, end = 0, os.fstat(file).st_size
    found: list[Blob] = []
    has_header = False
    while position < end:
        size = int.from_bytes(os.pread(file, 4, position), "big")
        if not 0 < size <= _LARGEST_HEADER:
            raise NotPbfError(f"no block begins at byte {position}")
        with _as_damage(position):
            header = message("BlobHeader").FromString(os.pread(file, size, position + 4))
        blob = Blob(position + 4 + size, header.datasize)
        position = blob.offset + blob.size
        if not 0 <= blob.size <= _LARGEST_BLOB or position > end:
            raise NotPbfError(f"the block at byte {blob.offset} is cut off")
        if header.type == "OSMHeader":
            _require_understood(unpacked(file, blob))
            has_header = True
        elif header.type == "OSMData":
            found.append(blob)
    if not has_header:
        raise NotPbfError("it has no header")
    return found


def header_box(file: int) -> Bbox | None:
    """Return the box in the header of an open file, as it is written; None where there is none.

    Args:
        file: A descriptor.

    Raises:
        NotPbfError: The header is damaged.
    """
    with _as_damage(0):
        size = int.from_bytes(os.pread(file, 4, 0), "big")
        first = message("BlobHeader").FromString(os.pread(file, min(size, _LARGEST_HEADER), 4))
        header = message("HeaderBlock").FromString(unpacked(file, Blob(4 + size, first.datasize)))
    box = header.bbox
    if not header.HasField("bbox"):
        return None
    return Bbox(*(side / _NANODEGREES for side in (box.left, box.bottom, box.right, box.top)))


def _require_understood(header: bytes) -> None:
    with _as_damage(0):
        required = set(message("HeaderBlock").FromString(header).required_features)
    if not required <= _UNDERSTOOD:
        raise NotPbfError(
            f"it needs features that are not read: {', '.join(sorted(required - _UNDERSTOOD))}"
        )


def unpacked(file: int, blob: Blob) -> bytes:
    """Read and decompress a block.

    Raises:
        NotPbfError: It is damaged.
    """
    with _as_damage(blob.offset):
        packed = message("Blob").FromString(os.pread(file, blob.size, blob.offset))
        if packed.HasField("raw"):
            raw: bytes = packed.raw
            return raw
        for field, decompress in _CODECS.items():
            if packed.HasField(field):
                data = decompress(getattr(packed, field), packed.raw_size)
                if len(data) != packed.raw_size:
                    raise ValueError(f"{len(data)} bytes instead of {packed.raw_size}")
                return data
        raise ValueError("an unknown compression")


def _by_arrow(codec: Literal["lz4_raw", "zstd"]) -> Callable[[bytes, int], bytes]:
    def decompress(packed: bytes, size: int) -> bytes:
        import pyarrow as pa

        data: bytes = pa.decompress(packed, size, codec=codec, asbytes=True)
        return data

    return decompress


_CODECS: dict[str, Callable[[bytes, int], bytes]] = {
    "zlib_data": lambda packed, size: zlib_ng.decompress(packed, bufsize=size),
    "lzma_data": lambda packed, _: lzma.decompress(packed),
    "lz4_data": _by_arrow("lz4_raw"),
    "zstd_data": _by_arrow("zstd"),
}


def read_blocks(file: int, blobs: Sequence[Blob]) -> Iterator[Block]:
    """Read blocks one by one, while the next ones are decompressed.

    Raises:
        NotPbfError: One is damaged.
    """
    decompressed = ahead(partial(unpacked, file), blobs, most=_AHEAD)
    for blob, raw in zip(blobs, decompressed, strict=True):
        with _as_damage(blob.offset):
            block = Block.of(raw)
        yield block


def kinds_in(raw: bytes) -> set[Kind]:
    """Tell of which kinds a block has objects, without reading these."""
    kinds: set[Kind] = set()
    for group in message("PrimitiveBlock").FromString(raw).primitivegroup:
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
        """Tell of which kinds it has objects."""
        return {kind for kind in MEMBER_KINDS if getattr(self, f"{kind}s")}

    @classmethod
    def of(cls, raw: bytes) -> Block:
        """Find what is in a block, without taking it apart."""
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
            for messages, objects in (
                (list(group.nodes), block.nodes),
                (list(group.ways), block.ways),
                (list(group.relations), block.relations),
            ):
                if messages:
                    objects.append(Messages(messages, units))
        return block


class Units(NamedTuple):
    """What the numbers of a block mean.

    Attributes:
        degrees: Nanodegrees of one unit of a coordinate.
        time: Milliseconds of one unit of a moment.
        lat: Nanodegrees to be added to every latitude.
        lon: Nanodegrees to be added to every longitude.
    """

    degrees: int
    time: int
    lat: int
    lon: int

    def positions(self, lon: Integers, lat: Integers) -> Integers:
        """Give (n, 2) lon and lat in 1e-7 degrees."""
        both = np.column_stack([lon, lat])
        if self.degrees != _USUAL_GRANULARITY:
            both *= self.degrees
            both += (self.lon, self.lat)
            both //= _USUAL_GRANULARITY
        elif self.lon or self.lat:
            both += (self.lon // _USUAL_GRANULARITY, self.lat // _USUAL_GRANULARITY)
        return both

    def seconds(self, moments: Integers) -> npt.NDArray[np.datetime64]:
        """Give moments as datetime64[s], UTC; the year 1970 where the file does not say."""
        return (moments * self.time // 1000).astype("datetime64[s]")


class Tags(NamedTuple):
    """The tags of objects, by the numbers of their strings.

    Attributes:
        keys: (t,) of all tags of all objects.
        values: (t,).
        owner: (t,) to which object each belongs, ascending.
    """

    keys: Integers
    values: Integers
    owner: Integers


class Dense:
    """Nodes that are stored column by column.

    Attributes:
        id: (n,) their ids.
    """

    def __init__(self, message: Any, units: Units) -> None:
        """Begin with a message `DenseNodes`; only the ids are read at once."""
        self._message = message
        self._units = units
        self.id = np.cumsum(_zigzag(_varints(_bytes(message.id))))

    @cached_property
    def xy(self) -> Integers:
        """(n, 2) lon and lat in 1e-7 degrees."""
        lon, lat = (
            np.cumsum(_zigzag(_varints(_bytes(column))))
            for column in (self._message.lon, self._message.lat)
        )
        return self._units.positions(lon, lat)

    @cached_property
    def tags(self) -> Tags:
        """The tags of all nodes."""
        # k v k v 0, node by node; in a block without tags there is nothing at all
        numbers = _varints(_bytes(self._message.keys_vals))
        ends = numbers == 0
        said = np.flatnonzero(~ends)
        if len(numbers) and (ends.sum() != len(self.id) or len(said) % 2):
            raise NotPbfError("the tags of a block's nodes cannot be told apart")
        owner = np.cumsum(ends)[said]
        return Tags(numbers[said[::2]], numbers[said[1::2]], owner[::2])

    def versions(self, rows: Integers) -> tuple[Integers, Moments]:
        """Give the versions and the moments of some nodes; 0 and 1970 where there are none."""
        info = self._message.denseinfo
        version = _varints(_bytes(info.version))
        moment = np.cumsum(_zigzag(_varints(_bytes(info.timestamp))))
        nothing = np.zeros(len(self.id), np.int64)
        return (
            np.maximum((version if len(version) else nothing)[rows], 0),
            self._units.seconds((moment if len(moment) else nothing)[rows]),
        )


class Messages:
    """Objects that are stored one after the other: ways, relations, and nodes of old files."""

    def __init__(self, messages: Sequence[bytes], units: Units) -> None:
        """Find the fields in all of n messages at once."""
        self._count = len(messages)
        self._units = units
        self._data = _bytes(b"".join(messages))
        stops = np.cumsum(np.fromiter(map(len, messages), np.int64, self._count))
        starts = np.concatenate([[0], stops[:-1]])
        self._numbers, self._parts = _take_apart(self._data, np.column_stack([starts, stops]))

    @property
    def id(self) -> Integers:
        """(n,) the ids of ways or relations."""
        return self._number(_ID)

    @property
    def node_id(self) -> Integers:
        """(n,) the ids of nodes, which are written with a sign."""
        return _zigzag(self._number(_ID))

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

    def versions(self, rows: Integers) -> tuple[Integers, Moments]:
        """Give the versions and the moments of some objects; 0 and 1970 where there are none."""
        numbers, _ = _take_apart(self._data, self._spans(_INFO)[rows])
        nothing = np.zeros(len(rows), np.int64)
        return (
            np.maximum(numbers.get(_INFO_VERSION, nothing), 0),
            self._units.seconds(numbers.get(_INFO_TIMESTAMP, nothing)),
        )

    def packed(self, field: int, rows: Integers | None = None) -> tuple[Integers, Integers]:
        """Give a field of some messages (of all by default) that is a list of unsigned numbers.

        Returns:
            The numbers of r messages, and the (r + 1,) offsets at which each message's begin.
        """
        spans = self._spans(field)
        spans = spans if rows is None else spans[rows]
        data = self._data[together(spans)]
        bounds = np.concatenate([[0], np.cumsum(spans[:, 1] - spans[:, 0])])
        before = np.concatenate([[0], np.cumsum(data < _MORE)])
        return _varints(data), before[bounds]

    def deltas(self, field: int, rows: Integers) -> tuple[Integers, Integers]:
        """Give a list of signed numbers that are stored as differences; as `packed` does."""
        values, offsets = self.packed(field, rows)
        sums = np.concatenate([[0], np.cumsum(_zigzag(values))])
        return sums[1:] - np.repeat(sums[offsets[:-1]], np.diff(offsets)), offsets

    def _number(self, field: int) -> Integers:
        return self._numbers.get(field, np.zeros(self._count, np.int64))

    def _spans(self, field: int) -> Integers:
        return self._parts.get(field, np.zeros((self._count, 2), np.int64))


def _bytes(data: bytes) -> Bytes:
    return np.frombuffer(data, dtype=np.uint8)


def _varints(data: Bytes) -> Integers:
    """Read numbers of 7 bits a byte, the lowest first; bit 8 says that more follow."""
    last = np.flatnonzero(data < _MORE)
    if len(data) and (not len(last) or last[-1] != len(data) - 1):
        raise NotPbfError("a list of numbers is cut off")
    if len(last) == len(data):
        return data.astype(np.int64)
    first = np.empty_like(last)
    first[0] = 0
    np.add(last[:-1], 1, out=first[1:])
    values = (data[first] & 127).astype(np.int64)
    more, place = np.flatnonzero(last > first), 0
    while len(more):
        place += 1
        at = first[more] + place
        values[more] |= (data[at] & 127).astype(np.int64) << (7 * place)
        more = more[last[more] > at]
    return values


def _zigzag(values: Integers) -> Integers:
    """Give the signs back: 0, -1, 1, -2 are written as 0, 1, 2, 3."""
    return (values >> 1) ^ -(values & 1)


def together(spans: Integers) -> Integers:
    """Give the positions in (n, 2) spans, one span after the other."""
    sizes = spans[:, 1] - spans[:, 0]
    before = np.cumsum(sizes) - sizes
    return np.repeat(spans[:, 0] - before, sizes) + np.arange(sizes.sum())


def distinct(values: Integers) -> Integers:
    """Give each value once, ascending; on millions of ids `numpy.unique` takes 50 times as long."""
    ordered = np.sort(values)
    once: Integers = ordered[np.diff(ordered, prepend=ordered[:1] - 1) != 0]
    return once


def _take_apart(data: Bytes, spans: Integers) -> tuple[dict[int, Integers], dict[int, Integers]]:
    """Read the fields of many messages at once.

    Returns:
        The fields that are numbers, (n,) with 0 where a message has none; and the fields that are
        bytes, (n, 2) where they begin and end, twice 0 where a message has none.
    """
    numbers: dict[int, Integers] = {}
    parts: dict[int, Integers] = {}
    position, rows = spans[:, 0].copy(), np.flatnonzero(spans[:, 0] < spans[:, 1])
    while len(rows):
        tag, at = _varints_at(data, position[rows])
        value, at = _varints_at(data, at)
        wire, field = tag & 7, tag >> 3
        if not np.isin(wire, (_VARINT, _LENGTH)).all():
            raise NotPbfError("a field has a form that OSM PBF does not use")
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
        if (stop > spans[rows, 1]).any():
            raise NotPbfError("a field is longer than its object")
        position[rows] = stop
        rows = rows[stop < spans[rows, 1]]
    return numbers, parts


def _varints_at(data: Bytes, position: Integers) -> tuple[Integers, Integers]:
    """Read a number at each of some positions; also give the positions behind them."""
    byte = data[position]
    values = (byte & 127).astype(np.int64)
    after = position + 1
    more, place = np.flatnonzero(byte >= _MORE), 0
    while len(more):
        place += 1
        byte = data[after[more]]
        values[more] |= (byte & 127).astype(np.int64) << (7 * place)
        after[more] += 1
        more = more[byte >= _MORE]
    return values, after


@contextmanager
def _as_damage(offset: int) -> Iterator[None]:
    """Say of whatever bytes of another form lead to that they are damaged."""
    from google.protobuf.message import DecodeError

    try:
        yield
    except (
        DecodeError,
        IndexError,
        ValueError,
        OSError,
        EOFError,
        zlib_ng.error,  # type: ignore[misc]  # its stubs take the class for an error
        lzma.LZMAError,
    ) as error:
        raise NotPbfError(f"the block at byte {offset} cannot be read ({error})") from error
