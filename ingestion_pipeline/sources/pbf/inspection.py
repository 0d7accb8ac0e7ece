"""A complete pass over an extract: whether all of it can be read, and its time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ingestion_pipeline.core.progress import tracked
from ingestion_pipeline.sources.pbf import blocks as pbf
from ingestion_pipeline.sources.pbf.copies import find_copies

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Inspection(NamedTuple):
    """The result of a pass over a file.

    Attributes:
        replication_timestamp: Of its header, in seconds since 1970, UTC; None if one of its headers
            has none.
        newest: The newest timestamp of its objects, in seconds; None without objects, and if its
            header has a timestamp.
        outdated: Objects of which it also holds an older version, such as `node/1`.
    """

    replication_timestamp: int | None
    newest: int | None
    outdated: Sequence[str]


def inspect(path: Path) -> Inspection:
    """Read all blocks of a PBF file.

    Raises:
        NotPbfError: It is not PBF, or is truncated or damaged.
        UnsupportedPbfError: It has an unsupported feature, or contradictory objects.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        blobs = pbf.data_blobs(file)
        stated = {header.replication_timestamp or None for header in pbf.headers(file)}
        moments = stated - {None}
        if len(moments) > 1:
            raise pbf.UnsupportedPbfError(
                "it is merged from extracts of different times, by its headers"
            )
        newest: list[int] = []
        ascends = True
        last = (-1, 0)
        read = pbf.read_blocks(file, blobs)
        for block in tracked(read, "blocks of the extract verified", total=len(blobs)):
            for rank, kind in enumerate(pbf.MEMBER_KINDS):
                ids = block.ids(kind)
                if not len(ids):
                    continue
                ascends &= last < (rank, int(ids[0])) and bool((np.diff(ids) > 0).all())
                last = (rank, int(ids[-1]))
                if None in stated:
                    newest.append(block.newest(kind))
        copies = None if ascends else find_copies(file, blobs)
        return Inspection(
            replication_timestamp=None if None in stated else moments.pop(),
            newest=max(newest, default=None),
            outdated=() if copies is None else copies.outdated,
        )
    finally:
        os.close(file)
