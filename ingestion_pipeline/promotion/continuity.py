"""Which public place each feature of a day continues, and which places begin and end.

Belongs here: pure functions from groups of features and public rows to place ids. Does not belong
here: whether two features are one place (`identity.py`), and reading either (`difference.py`).

A place whose ref is still there keeps its id. Only the rest is matched: places whose refs are all
gone, places that went within the memory, and features whose refs are all new.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from ingestion_pipeline.promotion.events import Reason
from ingestion_pipeline.promotion.rows import place_of, refs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ingestion_pipeline.promotion.identity import Ambiguity, Matching, Place, Twin
    from ingestion_pipeline.promotion.rows import Row


class Matcher(NamedTuple):
    """The functions of `identity.py` that decide what is one place."""

    match: Callable[[Sequence[Place], Sequence[Place]], Matching]
    twins: Callable[[Sequence[Place]], Sequence[Twin]]
    is_reused: Callable[[Place, Place], Mapping[str, Any] | None]


def default_matcher() -> Matcher:
    """Return the matcher of this version."""
    from ingestion_pipeline.promotion import identity

    return Matcher(identity.match, identity.twins, identity.is_reused)


class Group(NamedTuple):
    """The features of a day that are one place.

    Attributes:
        ref: The feature that decides: the area, or the only one.
        twin: The node inside the area.
        evidence: Why the two are one place.
    """

    ref: str
    twin: str | None = None
    evidence: Mapping[str, Any] = {}

    @property
    def refs(self) -> tuple[str, ...]:
        """The refs, the deciding one first."""
        return (self.ref,) if self.twin is None else (self.ref, self.twin)


class Continuation(NamedTuple):
    """What becomes of a place.

    Attributes:
        poi_id: The place.
        before: Its public row; None if it is not public.
        group: Its features on the day; None if it ends.
        last: The last row of a place that comes back, for its first day.
        reason: Why it comes, goes or is another object.
    """

    poi_id: str
    before: Row | None
    group: Group | None
    reason: Reason
    last: Row | None = None


class Continuity(NamedTuple):
    """What becomes of all places that were looked at, and what a person may look at."""

    continuations: Sequence[Continuation]
    ambiguous: Sequence[Ambiguity]


def groups_of(staged: Mapping[str, Row], twins: Iterable[Twin]) -> list[Group]:
    """Return the groups of a day's features, sorted by ref.

    Args:
        staged: Rows of staging by `source_ref`.
        twins: Pairs of an area and a node.
    """
    pairs = {twin.area: Group(twin.area, twin.node, twin.evidence) for twin in twins}
    nodes = {group.twin for group in pairs.values()}
    return [pairs.get(ref, Group(ref)) for ref in sorted(staged) if ref not in nodes]


def continuity_of(
    groups: Sequence[Group],
    public: Mapping[str, Row],
    reserve: Callable[[], Sequence[Row]],
    *,
    staged: Mapping[str, Row],
    matcher: Matcher,
    new_id: Callable[[str], str],
    ended: Callable[[Row], Reason],
) -> Continuity:
    """Return which place each group continues, and which places begin and end.

    The result does not depend on the order of anything.

    Args:
        groups: The groups of features.
        public: The public rows by `poi_id` that have a ref among the groups, or whose refs are
            gone.
        reserve: Returns the last rows of places that went within the memory, the newest first.
        staged: Rows of staging by `source_ref`.
        matcher: What decides whether features are one place.
        new_id: Returns a new place id for a ref.
        ended: Returns why a place without a continuation ends.
    """
    reused = _reused(public, staged, matcher)
    owners = {
        ref: poi_id for poi_id, row in public.items() for ref in refs_of(row) if ref not in reused
    }
    kept, merged, split = _by_ref(groups, public, owners)
    going_on = {group.ref for group in kept.values()}
    begun = [group for group in groups if group.ref not in going_on]
    gone = {
        poi_id: row for poi_id, row in public.items() if poi_id not in kept and poi_id not in merged
    }
    linked, ambiguous = _linked(gone, begun, staged, matcher)
    going_on = {group.ref for group, _ in linked.values()}
    waiting = [group for group in begun if group.ref not in going_on]
    remembered = {row["poi_id"]: row for row in reserve()} if waiting else {}
    remembered = {poi_id: row for poi_id, row in remembered.items() if poi_id not in public}
    back, unclear = _back(remembered, waiting, staged, matcher)

    result = [
        Continuation(poi_id, public[poi_id], group, Reason(None, _twin_evidence(group)))
        for poi_id, group in kept.items()
    ]
    result += [
        Continuation(poi_id, gone[poi_id], group, Reason(None, evidence))
        for poi_id, (group, evidence) in linked.items()
    ]
    result += [
        Continuation(poi_id, None, group, Reason("reopened", evidence), remembered[poi_id])
        for poi_id, (group, evidence) in back.items()
    ]
    taken = {each.group.ref for each in result if each.group is not None}
    for group in begun:
        if group.ref in taken:
            continue
        evidence: dict[str, Any] = _twin_evidence(group)
        kind: Any = "appeared"
        if group.ref in split:
            kind, evidence = "split", evidence | {"from": split[group.ref]}
        elif group.ref in reused:
            evidence = evidence | {"reused_ref": reused[group.ref]}
        result.append(Continuation(new_id(group.ref), None, group, Reason(kind, evidence)))
    for poi_id, into in merged.items():
        reason = Reason("merged", {"into": into})
        result.append(Continuation(poi_id, public[poi_id], None, reason))
    for poi_id, row in gone.items():
        if poi_id in linked:
            continue
        reason = ended(row)
        if row["source_ref"] in reused:
            reason = Reason("disappeared", {"reused_ref": reused[row["source_ref"]]})
        result.append(Continuation(poi_id, row, None, reason))
    return Continuity(result, (*ambiguous, *unclear))


def _reused(
    public: Mapping[str, Row], staged: Mapping[str, Row], matcher: Matcher
) -> dict[str, Mapping[str, Any]]:
    """Return the refs that are another place now, with the evidence."""
    found = {}
    for row in public.values():
        now = staged.get(row["source_ref"])
        if now is None or now["content_hash"] == row["content_hash"]:
            continue
        evidence = matcher.is_reused(place_of(row), place_of(now))
        if evidence is not None:
            found[row["source_ref"]] = evidence
    return found


def _by_ref(
    groups: Sequence[Group], public: Mapping[str, Row], owners: Mapping[str, str]
) -> tuple[dict[str, Group], dict[str, str], dict[str, str]]:
    """Return the continuations that follow from refs alone.

    Returns:
        The group of each place that goes on, the place that each merged one went into, and the
        place that each split group, by its ref, was a part of.
    """
    claims: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        for poi_id in dict.fromkeys(owners[ref] for ref in group.refs if ref in owners):
            claims[poi_id].append(group)
    goes_to = {
        poi_id: min(
            claimed, key=lambda group: (public[poi_id]["source_ref"] not in group.refs, group.ref)
        )
        for poi_id, claimed in claims.items()
    }
    claimants: dict[str, list[str]] = defaultdict(list)
    for poi_id, group in goes_to.items():
        claimants[group.ref].append(poi_id)
    kept: dict[str, Group] = {}
    merged: dict[str, str] = {}
    for poi_ids in claimants.values():
        group = goes_to[poi_ids[0]]
        # The older place goes on; of two of one day, the one that was the area.
        first, *others = sorted(
            poi_ids,
            key=lambda each: (
                public[each]["first_promoted"],
                public[each]["source_ref"] != group.ref,
                each,
            ),
        )
        kept[first] = group
        merged |= dict.fromkeys(others, first)
    going_on = {group.ref for group in kept.values()}
    split = {
        group.ref: poi_id
        for poi_id, claimed in sorted(claims.items())
        for group in claimed
        if group.ref not in going_on
    }
    return kept, merged, split


def _linked(
    gone: Mapping[str, Row], begun: Sequence[Group], staged: Mapping[str, Row], matcher: Matcher
) -> tuple[dict[str, tuple[Group, dict[str, Any]]], Sequence[Ambiguity]]:
    """Return the groups that continue places whose refs are gone, by `poi_id`."""
    if not gone or not begun:
        return {}, ()
    by_ref = {row["source_ref"]: poi_id for poi_id, row in gone.items()}
    groups = {group.ref: group for group in begun}
    matching = matcher.match(
        [place_of(gone[by_ref[ref]]) for ref in sorted(by_ref)],
        [place_of(staged[ref]) for ref in sorted(groups)],
    )
    linked = {
        by_ref[link.gone]: (groups[link.new], _link_evidence(groups[link.new], link))
        for link in matching.links
        # A ref that is another place now is on both sides.
        if link.gone != link.new
    }
    return linked, matching.ambiguous


def _back(
    remembered: Mapping[str, Row],
    waiting: Sequence[Group],
    staged: Mapping[str, Row],
    matcher: Matcher,
) -> tuple[dict[str, tuple[Group, dict[str, Any]]], Sequence[Ambiguity]]:
    """Return the groups that continue places which went within the memory, by `poi_id`."""
    last: dict[str, str] = {}
    for poi_id, row in remembered.items():
        for ref in refs_of(row):
            last.setdefault(ref, poi_id)
    back: dict[str, tuple[Group, dict[str, Any]]] = {}
    left = []
    for group in waiting:
        known = next((last[ref] for ref in group.refs if ref in last), None)
        if known is None or known in back:
            left.append(group)
        elif matcher.is_reused(place_of(remembered[known]), place_of(staged[group.ref])) is None:
            back[known] = (group, {**_twin_evidence(group), "same_ref": group.ref})
        else:
            left.append(group)
    # Of several places with one ref, the newest can come back.
    newest = {
        poi_id: row
        for poi_id, row in remembered.items()
        if poi_id not in back and last[row["source_ref"]] == poi_id
    }
    linked, ambiguous = _linked(newest, left, staged, matcher)
    return back | linked, ambiguous


def _link_evidence(group: Group, link: Any) -> dict[str, Any]:
    return {
        **_twin_evidence(group),
        "link": {
            "from": link.gone,
            "to": link.new,
            "score": link.score,
            "evidence": dict(link.evidence),
        },
    }


def _twin_evidence(group: Group) -> dict[str, Any]:
    if group.twin is None:
        return {}
    return {"twin": {"node": group.twin, "area": group.ref, "evidence": dict(group.evidence)}}
