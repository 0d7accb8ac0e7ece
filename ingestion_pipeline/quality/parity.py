"""The check that Overpass and an extract give the same features for a day.

Two answers of one moment agree byte for byte (tested on real data). Answers of different moments
differ by the edits between them. A feature's timestamp shows an edit, but not a deletion or a moved
node of its way, so as many differences are allowed as a city has edits in that time.
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
"""The tolerance between two points, in degrees: OpenStreetMap's precision."""


def columns_compared(class_column: str) -> tuple[str, ...]:
    """Return the compared columns, with `category` of POIs or `kind` of helper places."""
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
        frame: The rows to stage, with the columns of `columns_compared`.
        other: The staged rows from the other source, with the same columns.
        class_column: `category`, or `kind` of helper places.
        as_of: The moment whose state `frame` shows.
        other_as_of: The moment whose state `other` shows.
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
    summary = "; ".join(
        f"{words}: {len(refs):,} ({some_of(refs)})" for words, refs in unexplained.items() if refs
    )
    return Finding(
        PARITY,
        "warn" if len(differing) > allowed else "good",
        f"{len(differing):,} features differ, {allowed:,} are allowed"
        + (f": {summary}" if summary else "")
        + f"; {len(both):,} are in both, {len(edited):,} more were edited between the two moments",
        head=("difference", "features", "such as"),
        rows=[
            (words, f"{len(refs):,}", ", ".join(refs[:SAMPLES]))
            for words, refs in unexplained.items()
        ],
        numbers={"differing": len(differing), "edited": len(edited)},
    )


def nothing_to_compare() -> Finding:
    """Return the finding for a day with only one source."""
    return Finding(PARITY, "good", "nothing to compare: the day is staged from no other source")


def _rows(frame: pa.Table, columns: Sequence[str]) -> Mapping[str, tuple[Any, ...]]:
    return {
        ref: tuple(values)
        for ref, *values in zip(*(frame.column(name).to_pylist() for name in columns), strict=True)
    }
