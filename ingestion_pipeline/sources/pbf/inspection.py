"""A whole extract read once: whether all of it can be read, and of which time it is.

Belongs here: what is to be known of a file before it is kept. Does not belong here: what is
selected in it (`find.py`), and which day it may stand for (`as_of.py`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ingestion_pipeline.sources.pbf import blocks as pbf
from ingestion_pipeline.sources.pbf.copies import find_copies

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Inspection(NamedTuple):
    """What a file says of itself.

    Attributes:
        replication_timestamp: Of its header, seconds since 1970 in UTC; None where one of its
            headers has none.
        newest: The newest timestamp of its objects, seconds too; None where it has no objects, and
            where its header has a timestamp.
        outdated: Objects of which it holds an older version too, such as `node/1`.
    """

    replication_timestamp: int | None
    newest: int | None
    outdated: Sequence[str]


def inspect(path: Path) -> Inspection:
    """Read all blocks of a PBF file.

    Raises:
        NotPbfError: It is none, or is cut off or damaged.
        UnsupportedPbfError: It has something that is not read here, or objects that contradict each
            other.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        blobs = pbf.data_blobs(file)
        stated = {header.replication_timestamp or None for header in pbf.headers(file)}
        moments = stated - {None}
        if len(moments) > 1:
            raise pbf.UnsupportedPbfError(
                "it is put together of extracts of different moments, as its headers say"
            )
        newest: list[int] = []
        ascends = True
        last = (-1, 0)
        for block in pbf.read_blocks(file, blobs):
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
