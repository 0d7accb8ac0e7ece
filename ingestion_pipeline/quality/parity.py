"""Whether a day from Overpass and the same day from an extract are the same features.

Belongs here: comparing two frames of one city-day. Does not belong here: where they come from.

Two answers of one moment agree byte for byte (a test holds that on real data). Those of different
moments differ by what was edited between them. An edit shows in a feature's own timestamp; that a
feature was deleted, or that a node of its way was moved, shows nowhere, so so many differences as
a city has edits in that time are allowed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ingestion_pipeline.quality.catalogue import PARITY
from ingestion_pipeline.quality.counts import CHANGE_PER_DAY
from ingestion_pipeline.quality.findings import SAMPLES, Finding, some_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa

SAME_PLACE = 1e-7
"""How far two points may lie apart, in degrees: OpenStreetMap's own precision."""


def columns_compared(class_column: str) -> tuple[str, ...]:
    """Name what is compared: `category` of POIs, `kind` of helper places, and what all have."""
    return ("source_ref", class_column, "lon", "lat", "osm_timestamp")


def check_parity(
    frame: pa.Table,
    other: pa.Table,
    *,
    class_column: str,
    as_of: datetime,
    other_as_of: datetime,
) -> Finding:
    """Compare a frame with another of the same day.

    Args:
        frame: The rows that would be staged, with the columns of `columns_compared`.
        other: The rows that are staged, from the other source; likewise.
        class_column: What the rows are: `category`, or `kind` of helper places.
        as_of: The moment whose state the one shows.
        other_as_of: That of the other.
    """
    columns = columns_compared(class_column)
    mine, theirs = _rows(frame, columns), _rows(other, columns)
    earlier = min(as_of, other_as_of)
    days = abs((as_of - other_as_of).total_seconds()) / 86_400
    both = sorted(mine.keys() & theirs.keys())
    places = np.array([[*mine[ref][1:3], *theirs[ref][1:3]] for ref in both], dtype=float)
    apart = np.zeros(len(both), dtype=bool)
    if both:
        apart = np.abs(places[:, :2] - places[:, 2:]).max(axis=1) > SAME_PLACE
    found = {
        "only in this one": sorted(mine.keys() - theirs.keys()),
        "only in the staged one": sorted(theirs.keys() - mine.keys()),
        "another category": [ref for ref in both if mine[ref][0] != theirs[ref][0]],
        "another position": [ref for ref, moved in zip(both, apart, strict=True) if moved],
    }

    def is_edited(ref: str) -> bool:
        stamps = [rows[ref][3] for rows in (mine, theirs) if ref in rows]
        return any(stamp is not None and stamp > earlier for stamp in stamps)

    unexplained = {
        words: [ref for ref in refs if not is_edited(ref)] for words, refs in found.items()
    }
    differing = {ref for refs in unexplained.values() for ref in refs}
    edited = {ref for refs in found.values() for ref in refs} - differing
    allowed = math.ceil(CHANGE_PER_DAY * days * max(len(mine), len(theirs)))
    said = "; ".join(
        f"{words}: {len(refs):,} ({some_of(refs)})" for words, refs in unexplained.items() if refs
    )
    return Finding(
        PARITY,
        "warn" if len(differing) > allowed else "good",
        f"{len(differing):,} features differ, up to {allowed:,} may"
        + (f": {said}" if said else "")
        + f"; {len(both):,} are in both, {len(edited):,} more were edited between the two moments",
        head=("difference", "features", "such as"),
        rows=[
            (words, f"{len(refs):,}", ", ".join(refs[:SAMPLES]))
            for words, refs in unexplained.items()
        ],
        numbers={"differing": len(differing), "edited": len(edited)},
    )


def nothing_to_compare() -> Finding:
    """Say that a day has one source only, which is as it should be."""
    return Finding(PARITY, "good", "nothing to compare: the day is staged from no other source")


def _rows(frame: pa.Table, columns: Sequence[str]) -> Mapping[str, tuple[Any, ...]]:
    return {
        ref: tuple(values)
        for ref, *values in zip(*(frame.column(name).to_pylist() for name in columns), strict=True)
    }
