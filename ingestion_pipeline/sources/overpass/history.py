"""Whether an Overpass server's history reaches back to a moment, and what proves it.

Belongs here: which objects are asked about, the query, and what its answer proves. Does not belong
here: sending it (`overpass.py`).

A server whose history begins after a moment does not refuse to give its state: it leaves out all
that was changed between the moment and that beginning. Its database began with the newest versions
of that time, and it has kept replaced versions since then only. So one version that was replaced
before the moment, and that the server still knows, proves that its history began before.

The answer for the moment itself names the objects to ask about: those that have an earlier version,
the last changed ones. They are asked for as they were just before the first of these changes.
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
"""How many objects are asked about: few enough to be cheap, and not all can be new ones."""


class Edit(NamedTuple):
    """A change of an object that existed before; the newest sorts last.

    Attributes:
        at: When it was changed (UTC).
        version: What version that made.
        kind: The object's kind.
        id: Its id.
    """

    at: datetime
    version: int
    kind: Kind
    id: int


def last_edits(earlier: Iterable[Edit], sections: Iterable[Section]) -> list[Edit]:
    """Return the last edits of those that are known and those of further elements."""
    edits = {
        Edit(element.timestamp, element.version, kind, element.id)
        for section in sections
        for kind, element in elements_of(section)
        if element.version > 1 and element.timestamp is not None
    }
    return nlargest(MOST_EDITS, edits.union(earlier))


def moment_before(edits: Sequence[Edit]) -> datetime:
    """Return the moment before the first of some edits."""
    return min(edit.at for edit in edits) - timedelta(seconds=1)


def history_query(edits: Sequence[Edit], *, asked: Mapping[str, str], limits: Limits) -> str:
    """Build the Overpass QL that asks for objects as they were before some edits.

    Args:
        edits: The edits, one at least.
        asked: What the answer repeats.
        limits: What the query declares.
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
    """Return the earlier version that proves the history, in words, or None where there is none.

    Args:
        edits: What was asked about.
        before: The objects as they were before, as far as the server knows them.
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
