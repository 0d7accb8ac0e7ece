"""Objects that an extract holds more than once, and which copy of each is used.

Merged extracts (`cat`, or a merge of neighbours) hold the objects of their common border twice.
Equal copies count once. Of different copies the one with the highest version counts, and with equal
versions the one with the latest timestamp. A file whose copies differ only in content is rejected.

Memory: 8 bytes for each object of the file. Files with ascending ids have no copies and are not
searched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ingestion_pipeline.sources.pbf import blocks as pbf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from ingestion_pipeline.core.arrays import BoolArray, IntArray

    Digests = npt.NDArray[np.uint64]

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Spreads a number over 64 bits: odd, and derived from the golden ratio."""
_HALF = np.uint64(32)


@dataclass(frozen=True)
class Copies:
    """The copies in a file.

    Attributes:
        unused: The rows of the copies that do not count, by kind and block.
        outdated: Objects of which the file also holds an older version, such as `node/1`.
    """

    unused: Mapping[tuple[pbf.Kind, pbf.Blob], IntArray] = field(default_factory=dict)
    outdated: Sequence[str] = ()


def find_copies(file: int, blobs: Sequence[pbf.Blob]) -> Copies:
    """Find the objects that a file holds more than once.

    Args:
        file: Its descriptor.
        blobs: Its data blocks.

    Raises:
        NotPbfError: A block is damaged.
        UnsupportedPbfError: Two copies of an object have the same version and timestamp, and
            different contents.
    """
    ids: dict[pbf.Kind, list[IntArray]] = {kind: [] for kind in pbf.MEMBER_KINDS}
    for block in pbf.read_blocks(file, blobs):
        for kind in pbf.MEMBER_KINDS:
            ids[kind].append(block.ids(kind))
    unused: dict[tuple[pbf.Kind, pbf.Blob], IntArray] = {}
    outdated: list[str] = []
    for kind, by_block in ids.items():
        places = _repeated(np.concatenate([np.empty(0, np.int64), *by_block]))
        starts = np.cumsum([0, *map(len, by_block)])
        number = np.searchsorted(starts, places, side="right") - 1
        row = places - starts[number]
        numbers = np.unique(number).tolist()
        blocks = pbf.read_blocks(file, [blobs[each] for each in numbers])
        parts = [
            _described(kind, block, row[number == each])
            for each, block in zip(numbers, blocks, strict=True)
        ]
        if not parts:
            continue
        copies = np.concatenate(parts)
        loses, older = _compared(kind, copies)
        outdated += [f"{kind}/{osm_id}" for osm_id in pbf.distinct(copies["id"][older]).tolist()]
        for each in numbers:
            rows = row[loses & (number == each)]
            if len(rows):
                unused[kind, blobs[each]] = rows
    return Copies(unused, outdated)


def _repeated(ids: IntArray) -> IntArray:
    """Return the positions of ids that occur more than once, ascending."""
    order = np.argsort(ids, kind="stable")
    equal = np.flatnonzero(np.diff(ids[order]) == 0)
    return pbf.distinct(np.concatenate([order[equal], order[equal + 1]]))


def _compared(kind: pbf.Kind, copies: npt.NDArray[Any]) -> tuple[BoolArray, BoolArray]:
    """Return which copies do not count, and which of these are older than the one that does.

    Raises:
        UnsupportedPbfError: Nothing determines the newer of two copies.
    """
    age = [-copies["moment"].astype(np.int64), -copies["version"]]
    order = np.lexsort((*age, copies["id"]))  # stable; the last key is the primary one
    found = copies[order]
    is_first = np.diff(found["id"], prepend=found["id"][0] - 1) != 0
    newest = found[np.maximum.accumulate(np.where(is_first, np.arange(len(found)), 0))]
    is_older = (found["version"] != newest["version"]) | (found["moment"] != newest["moment"])
    for copy in found[~is_older & (found["content"] != newest["content"])][:1]:
        raise pbf.UnsupportedPbfError(
            f"it contains {kind}/{copy['id']} more than once, with version {copy['version']} each "
            "time and different contents"
        )
    loses, older = np.empty((2, len(order)), np.bool_)
    loses[order], older[order] = ~is_first, is_older
    return loses, older


_DESCRIBED = [
    ("id", np.int64),
    ("version", np.int64),
    ("moment", "datetime64[s]"),
    ("content", np.uint64),
]


def _described(kind: pbf.Kind, block: pbf.Block, rows: IntArray) -> npt.NDArray[Any]:
    """Return a description of the objects at some rows of a block."""
    texts = np.array([hash(text) for text in block.strings], np.int64)
    described: list[npt.NDArray[Any]] = []
    start = 0
    for objects in block.of_kind(kind):
        ids = objects.ids(kind)
        own = rows[(rows >= start) & (rows < start + len(ids))] - start
        part = np.empty(len(own), _DESCRIBED)
        part["id"] = ids[own]
        part["version"], part["moment"] = objects.versions(own)
        content = _of_tags(objects.tags, texts, len(ids))[own]
        if isinstance(objects, pbf.Dense) or kind == "node":
            content += _mixed(objects.xy[own, 0], objects.xy[own, 1])
        else:
            content += _of_parts(objects, own, texts if kind == "relation" else None)
        part["content"] = content
        described.append(part)
        start += len(ids)
    return np.concatenate(described)


def _of_tags(tags: pbf.Tags, texts: IntArray, count: int) -> Digests:
    """Return digests of the tags of all objects; their order does not matter."""
    for numbers in (tags.keys, tags.values):
        pbf.require_below(numbers, len(texts), what="texts")
    return _summed(_mixed(texts[tags.keys], texts[tags.values]), tags.owner, count)


def _of_parts(objects: pbf.Messages, rows: IntArray, texts: IntArray | None) -> Digests:
    """Return digests of the nodes of ways, with their positions; or of the members of relations."""
    columns, offsets = (
        objects.way_nodes(rows) if texts is None else objects.members(rows, len(texts))
    )
    if texts is not None:
        columns = [*columns[:-1], texts[columns[-1]]]
    sizes = np.diff(offsets)
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
    return _summed(_mixed(place, *columns), np.repeat(np.arange(len(rows)), sizes), len(rows))


def _mixed(*columns: IntArray) -> Digests:
    """Return digests of rows of numbers."""
    digests = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        digests = (digests ^ column.astype(np.uint64)) * _FACTOR
        digests ^= digests >> _HALF
    return digests


def _summed(digests: Digests, owner: IntArray, count: int) -> Digests:
    sums = np.zeros(count, np.uint64)
    np.add.at(sums, owner, digests)
    return sums
