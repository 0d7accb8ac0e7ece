"""Invented `.osm.pbf` files, down to the bytes: what no library would write can be in them.

Belongs here: writing the format. Does not belong here: expectations. Files that any writer could
write are made by osmium instead.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.sources.pbf.blocks import message_classes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NOON = 1_717_243_200
"""2024-06-01T12:00:00Z, in seconds."""

Text = str | bytes
Tags = Mapping[Any, Any]
"""Texts by texts, `str` or the bytes of what is none."""

_LAYOUT: dict[str, dict[str, tuple[int, str]]] = {
    "BlobHeader": {"type": (1, "string"), "datasize": (3, "int32")},
    "Blob": {
        "raw": (1, "bytes"),
        "raw_size": (2, "int32"),
        "zlib_data": (3, "bytes"),
        "lzma_data": (4, "bytes"),
        "bzip2_data": (5, "bytes"),
        "lz4_data": (6, "bytes"),
        "zstd_data": (7, "bytes"),
    },
    "HeaderBlock": {
        "bbox": (1, "HeaderBBox"),
        "required_features": (4, "string*"),
        "optional_features": (5, "string*"),
        "osmosis_replication_timestamp": (32, "int64"),
    },
    "HeaderBBox": {
        "left": (1, "sint64"),
        "right": (2, "sint64"),
        "top": (3, "sint64"),
        "bottom": (4, "sint64"),
    },
    "PrimitiveBlock": {"stringtable": (1, "StringTable"), "primitivegroup": (2, "Group*")},
    "StringTable": {"s": (1, "bytes*")},
    "Group": {"dense": (2, "Dense"), "ways": (3, "Way*"), "relations": (4, "Relation*")},
    "Dense": {
        "id": (1, "sint64*"),
        "denseinfo": (5, "DenseInfo"),
        "lat": (8, "sint64*"),
        "lon": (9, "sint64*"),
        "keys_vals": (10, "int32*"),
    },
    "DenseInfo": {"version": (1, "int64*"), "timestamp": (2, "sint64*"), "visible": (6, "bool*")},
    "Info": {"version": (1, "int64"), "timestamp": (2, "int64"), "visible": (6, "bool")},
    "Way": {
        "id": (1, "int64"),
        "keys": (2, "uint32*"),
        "vals": (3, "uint32*"),
        "info": (4, "Info"),
        "refs": (8, "sint64*"),
        "lat": (9, "sint64*"),
        "lon": (10, "sint64*"),
    },
    "Relation": {
        "id": (1, "int64"),
        "keys": (2, "uint32*"),
        "vals": (3, "uint32*"),
        "info": (4, "Info"),
        "roles_sid": (8, "int32*"),
        "memids": (9, "sint64*"),
        "types": (10, "int32*"),
    },
}
_KINDS = {"n": 0, "w": 1, "r": 2}


@dataclass(frozen=True)
class Node:
    """A node; `at` is lon and lat in degrees."""

    id: int
    tags: Tags = field(default_factory=dict)
    at: tuple[float, float] = (10.05, 50.05)
    version: int = 1
    visible: bool | None = None
    timestamp: int = NOON


@dataclass(frozen=True)
class Way:
    """A way; `at` has the places of its nodes in files with `LocationsOnWays`."""

    id: int
    tags: Tags
    refs: Sequence[int]
    at: Sequence[tuple[float, float]] = ()
    version: int = 1
    visible: bool | None = None


@dataclass(frozen=True)
class Relation:
    """A relation; its members are such as `("n1", "role")`."""

    id: int
    tags: Tags
    members: Sequence[tuple[str, Text]]
    version: int = 1
    visible: bool | None = None


def block(*objects: Node | Way | Relation) -> Any:
    """Make the message of a block, which a test may change before it is written."""
    texts: dict[bytes, int] = {b"": 0}

    def number(text: Text) -> int:
        return texts.setdefault(text.encode() if isinstance(text, str) else text, len(texts))

    nodes = [each for each in objects if isinstance(each, Node)]
    others = [each for each in objects if not isinstance(each, Node)]
    group: dict[str, Any] = {}
    if nodes:
        flags = [each.visible for each in nodes if each.visible is not None]
        tags = [[number(text) for tag in each.tags.items() for text in tag] + [0] for each in nodes]
        group["dense"] = {
            "id": _deltas([each.id for each in nodes]),
            "denseinfo": {
                "version": [each.version for each in nodes],
                "timestamp": _deltas([each.timestamp for each in nodes]),
                "visible": flags,
            },
            "lon": _deltas([_units(each.at[0]) for each in nodes]),
            "lat": _deltas([_units(each.at[1]) for each in nodes]),
            "keys_vals": [number for each in tags for number in each],
        }
    for each in others:
        written: dict[str, Any] = {
            "id": each.id,
            "keys": [number(key) for key in each.tags],
            "vals": [number(value) for value in each.tags.values()],
            "info": {"version": each.version, "timestamp": NOON}
            | ({} if each.visible is None else {"visible": each.visible}),
        }
        if isinstance(each, Way):
            written |= {
                "refs": _deltas(each.refs),
                "lon": _deltas([_units(lon) for lon, _ in each.at]),
                "lat": _deltas([_units(lat) for _, lat in each.at]),
            }
            group.setdefault("ways", []).append(written)
        else:
            written |= {
                "roles_sid": [number(role) for _, role in each.members],
                "memids": _deltas([int(ref[1:]) for ref, _ in each.members]),
                "types": [_KINDS[ref[0]] for ref, _ in each.members],
            }
            group.setdefault("relations", []).append(written)
    return classes()["PrimitiveBlock"](
        stringtable={"s": list(texts)}, primitivegroup=[group] if group else []
    )


def header(
    *,
    timestamp: int | None = NOON,
    required: Sequence[str] = (),
    optional: Sequence[str] = (),
    box: Sequence[float] | None = None,
) -> Any:
    """Make the message of a header; the box is west, south, east, north in degrees."""
    known: dict[str, Any] = {}
    if timestamp is not None:
        known["osmosis_replication_timestamp"] = timestamp
    if box is not None:
        left, bottom, right, top = (round(side * 1_000_000_000) for side in box)
        known["bbox"] = {"left": left, "bottom": bottom, "right": right, "top": top}
    return classes()["HeaderBlock"](
        required_features=["OsmSchema-V0.6", "DenseNodes", *required],
        optional_features=list(optional),
        **known,
    )


def file_block(
    message: Any,
    *,
    of: str | None = None,
    codec: str = "zlib_data",
    compress: Callable[[bytes], bytes] = zlib.compress,
    raw_size: bool = True,
) -> bytes:
    """Write a message, or the bytes of one, as a block of a file."""
    raw = message if isinstance(message, bytes) else message.SerializeToString()
    of = of or ("OSMHeader" if type(message).__name__ == "HeaderBlock" else "OSMData")
    size = {"raw_size": len(raw)} if raw_size else {}
    blob: bytes = classes()["Blob"](**{codec: compress(raw)}, **size).SerializeToString()
    head: bytes = classes()["BlobHeader"](type=of, datasize=len(blob)).SerializeToString()
    return len(head).to_bytes(4, "big") + head + blob


def write(path: Path, *messages: Any, **options: Any) -> Path:
    """Write headers and blocks to a file; without a header, one that is as usual is put first."""
    if not messages or type(messages[0]).__name__ != "HeaderBlock":
        messages = (header(), *messages)
    path.write_bytes(b"".join(file_block(each, **options) for each in messages))
    return path


@cache
def classes() -> dict[str, Any]:
    """Return protobuf's classes of the messages."""
    return message_classes(_LAYOUT)


def _units(degrees: float) -> int:
    return round(degrees * 10_000_000)


def _deltas(values: Sequence[int]) -> list[int]:
    return [after - before for before, after in pairwise([0, *values])]
