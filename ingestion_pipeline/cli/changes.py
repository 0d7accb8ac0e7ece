"""The changes of a promotion as text for a person.

Belongs here: pure functions from events and evidence to lines. Does not belong here: reading and
printing them (`promotion.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ingestion_pipeline.promotion.events import ORDER
from ingestion_pipeline.promotion.rows import title_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ingestion_pipeline.promotion.events import Event, Kind

_UNSAID = frozenset(
    {"content_hash", "source_hash", "first_promoted", "last_changed", "promotion_id", "overrides"}
    | {"osm_version", "osm_timestamp", "categories", "names", "lon", "lat", "other_refs"}
)
"""Columns that change with another one, or with each edit."""

_OTHER_PLACES = ("into", "from")
"""Keys of evidence that have the id of another place."""


def by_kind(events: Iterable[Event]) -> dict[Kind, list[Event]]:
    """Return events by kind, in the order of `ORDER`."""
    found: dict[Kind, list[Event]] = {kind: [] for kind in ORDER}
    for event in events:
        found[event.kind].append(event)
    return {kind: some for kind, some in found.items() if some}


def places_of(events: Iterable[Event]) -> set[str]:
    """Return the ids of the places whose titles `summary` needs."""
    return {
        poi_id
        for event in events
        for poi_id in (event.poi_id, *(event.evidence.get(name) for name in _OTHER_PLACES))
        if poi_id is not None
    }


def summary(event: Event, titles: Mapping[str, str]) -> str:
    """Return what happened to which place, in a line.

    Args:
        event: The event.
        titles: The titles of public places by `poi_id`.
    """
    whole = event.before if event.after is None else event.after if event.before is None else None
    title = titles.get(event.poi_id, "") if whole is None else title_of(dict(whole))
    return ": ".join(part for part in (title, detail(event, titles)) if part)


def detail(event: Event, titles: Mapping[str, str]) -> str:
    """Return what changed, without the title of the place."""
    if event.before is None or event.after is None:
        other = [event.evidence.get(name) for name in _OTHER_PLACES]
        return ", ".join(f"with {titles.get(each, each)}" for each in other if each is not None)
    if event.kind == "reidentified":
        return link(event.evidence) or _refs(event.before, event.after)
    if event.kind == "moved":
        return f"{event.evidence['metres']:,} m"
    if event.kind in ("renamed", "recategorised"):
        column = "name" if event.kind == "renamed" else "category"
        return _from_to(event.before[column], event.after[column])
    return "; ".join(_differences(event)) or "edited without another value"


def link(evidence: Mapping[str, Any]) -> str:
    """Return which objects are one place and by what, or nothing if the evidence has no link."""
    if "link" in evidence:
        found = evidence["link"]
        objects = f"{found['from']} -> {found['to']}, score {found['score']}"
    elif "twin" in evidence:
        found = evidence["twin"]
        objects = f"{found['node']} in {found['area']}"
    else:
        return ""
    return f"{objects} ({', '.join(_reasons(found['evidence']))})"


def _reasons(evidence: Mapping[str, Any]) -> list[str]:
    """Return what two objects have in common, and what not."""
    said = [f"category {evidence['category']}"] if "category" in evidence else []
    if "metres" in evidence:
        said.append("inside" if evidence.get("inside") else f"{evidence['metres']:,} m apart")
    if "overlap" in evidence:
        said.append(f"overlap {evidence['overlap']:.0%}")
    if evidence.get("name_similarity") is not None:
        said.append(f"names {evidence['name_similarity']:.0%} alike")
    said += [f"same {each}" for each in evidence.get("same", ())]
    said += [f"different {each}" for each in evidence.get("different", ())]
    return said


def _differences(event: Event) -> list[str]:
    """Return each column that differs; of one with several keys, the keys."""
    assert event.before is not None
    assert event.after is not None
    said = []
    for name, after in event.after.items():
        before = event.before[name]
        if name in _UNSAID or (name == "tags" and event.kind != "attributes_changed"):
            continue
        if isinstance(before, dict) or isinstance(after, dict):
            said.append(f"{name} {', '.join(_keys(before or {}, after or {}))}")
        elif name == "geometry":
            said.append(name)
        else:
            said.append(f"{name} {_from_to(before, after)}")
    return said


def _keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in {*before, *after} if before.get(key) != after.get(key))


def _refs(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return the objects before and after, as far as they differ."""

    def listed(row: Mapping[str, Any]) -> Sequence[str]:
        return [*([row["source_ref"]] if "source_ref" in row else []), *row.get("other_refs", ())]

    return _from_to(" ".join(listed(before)), " ".join(listed(after)))


def _from_to(before: Any, after: Any) -> str:
    return f"{_value(before)} -> {_value(after)}"


def _value(value: Any) -> str:
    return "none" if value is None or value == "" else str(value)
