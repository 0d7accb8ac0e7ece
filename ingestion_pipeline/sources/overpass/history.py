"""Proof that an Overpass server's history covers a time.

A server whose history begins after a time does not reject a query for its state at that time: it
omits everything that changed between the time and that beginning. Its database began with the
newest versions of that beginning and has kept replaced versions since. So one version that was
replaced before the time, and that the server still has, proves that its history began earlier.

The response for the time itself contains the objects to query: the last changed ones that have an
earlier version. They are queried as they were just before the first of these changes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from heapq import nlargest
from typing import TYPE_CHECKING, NamedTuple

from ingestion_pipeline.osm.selection import repeating
from ingestion_pipeline.sources.overpass.answer import Kind, elements_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ingestion_pipeline.sources.overpass.answer import Section
    from ingestion_pipeline.sources.overpass.client import Limits

MOST_EDITS = 25
"""The number of objects to query: few enough to be cheap, and too many to be all new."""


class Edit(NamedTuple):
    """A change of an existing object; the newest sorts last.

    Attributes:
        at: The time of the change (UTC).
        version: The version that it created.
        kind: The object's kind.
        id: Its id.
    """

    at: datetime
    version: int
    kind: Kind
    id: int


def last_edits(earlier: Iterable[Edit], sections: Iterable[Section]) -> list[Edit]:
    """Return the last edits among the given ones and those of further elements."""
    edits = {
        Edit(element.timestamp, element.version, kind, element.id)
        for section in sections
        for kind, element in elements_of(section)
        if element.version > 1 and element.timestamp is not None
    }
    return nlargest(MOST_EDITS, edits.union(earlier))


def moment_before(edits: Sequence[Edit]) -> datetime:
    """Return the second before the first of the edits."""
    return min(edit.at for edit in edits) - timedelta(seconds=1)


def history_query(edits: Sequence[Edit], *, asked: Mapping[str, str], limits: Limits) -> str:
    """Return the Overpass QL for objects as they were before some edits.

    Args:
        edits: The edits, at least one.
        asked: Texts that the response repeats.
        limits: The limits that the query declares.
    """
    ids: dict[str, list[str]] = {}
    for edit in edits:
        ids.setdefault(edit.kind, []).append(str(edit.id))
    statements = " ".join(f"{kind}(id:{','.join(of_kind)});" for kind, of_kind in ids.items())
    return (
        f"[out:json][timeout:{limits.timeout_s}][maxsize:{limits.maxsize_bytes}]"
        f'[date:"{moment_before(edits).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"];\n'
        f"{repeating(asked)}({statements})->.p;\n.p out count;\n.p out meta;\n"
    )


def proof_of_history(edits: Sequence[Edit], before: Section) -> str | None:
    """Return a sentence about the version that proves the history, or None if there is none.

    Args:
        edits: The edits that were queried.
        before: The objects before these edits, as far as the server has them.
    """
    moment = moment_before(edits)
    edit_of = {(edit.kind, edit.id): edit for edit in edits}
    for kind, element in elements_of(before):
        edit = edit_of.get((kind, element.id))
        if (
            edit is not None
            and 0 < element.version < edit.version
            and element.timestamp is not None
            and element.timestamp <= moment
        ):
            return (
                f"{kind}/{element.id} is known in version {element.version}, which was replaced by "
                f"{edit.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} (version {edit.version})"
            )
    return None
