"""The content of the map of a difference, in the form of `maps/content.py`.

Belongs here: the JSON of the map, piece by piece, and its compression. Does not belong here: what
the items are (`differences.py`). The whole text of a map is never in memory.
"""

from __future__ import annotations

import json
import zlib
from itertools import islice
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.admin_api.review.differences import KINDS, Side
from ingestion_pipeline.core.legend import CHANGES
from ingestion_pipeline.datasets.registry import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ingestion_pipeline.admin_api.review.differences import Compared, Item

GROUPS = [
    {name: getattr(group, name) for name in ("key", "label", "colour", "shape", "letter")}
    for group in CHANGES.groups
]
"""The groups of the legend, as JSON."""

_AT_ONCE = 4_096
"""The number of values that are encoded at a time."""

_GZIP = 31  # zlib's window bits for gzip
_LEVEL = 5


def pieces(
    compared: Compared,
    items: Sequence[Item],
    *,
    title: str,
    as_of: Mapping[str, str],
    basemap: str | None,
) -> Iterator[str]:
    """Yield the JSON of a map.

    Args:
        compared: The two sides.
        items: The items that are shown.
        title: The title.
        as_of: The time of the data by day.
        basemap: The URL of the basemap's style.
    """
    dataset = DATASETS[compared.slice_of(compared.to_day).dataset]
    rows, before, after = _numbered(items)
    labels = labels_of({side.category for side in rows})
    kinds = KINDS[compared.mode]
    group = {each["key"]: number for number, each in enumerate(GROUPS)}
    kind = {each: number for number, each in enumerate(kinds)}
    head = {
        "title": title,
        "things": dataset.things,
        "day": str(compared.to_day),
        "from": compared.from_day and str(compared.from_day),
        "asOf": as_of,
        "basemap": basemap,
        "classColumn": dataset.class_column,
        "classes": labels,
        "groups": GROUPS,
        "kinds": kinds,
        "mode": compared.mode,
        "version": compared.version,
        "count": len(items),
    }
    yield _json(head)[:-1]
    yield ',"columns":{'
    yield from _lists(
        {
            "source_ref": (side.source_ref for side in rows),
            dataset.class_column: (side.category for side in rows),
            "name": (side.name for side in rows),
            "names": (_others(side) for side in rows),
            "lon": (side.lon for side in rows),
            "lat": (side.lat for side in rows),
        }
    )
    yield '},"items":{'
    yield from _lists(
        {
            "group": (group[item.group] for item in items),
            "kind": (kind[item.kind] for item in items),
            "before": before,
            "after": after,
            "fields": (item.changed for item in items),
            "cause": (item.cause for item in items),
            "id": (item.id for item in items),
            "place": (item.place for item in items),
            "size": (item.size for item in items),
        }
    )
    yield "}}"


def compressed(texts: Iterable[str]) -> bytes:
    """Return a text in gzip."""
    packer = zlib.compressobj(_LEVEL, wbits=_GZIP)
    return b"".join([*(packer.compress(text.encode()) for text in texts), packer.flush()])


def labels_of(categories: Iterable[str]) -> dict[str, str]:
    """Return the English meaning of categories: itself where there is none."""
    meaning = DATASETS["poi"].meanings()
    return {each: meaning(each) or each for each in sorted(categories)}


def _numbered(
    items: Sequence[Item],
) -> tuple[list[Side], list[int | None], list[int | None]]:
    """Return the rows of a map, and their numbers by item: one for both sides that are equal."""
    numbers: dict[int, int] = {}
    rows: list[Side] = []

    def number_of(side: Side | None) -> int | None:
        if side is None:
            return None
        # By identity: the events of a place share its sides, and hashing them takes longer.
        if id(side) not in numbers:
            numbers[id(side)] = len(rows)
            rows.append(side)
        return numbers[id(side)]

    before: list[int | None] = []
    after: list[int | None] = []
    for item in items:
        before.append(number_of(item.before))
        after.append(before[-1] if item.after == item.before else number_of(item.after))
    return rows, before, after


def _others(side: Side) -> dict[str, str]:
    return {key: value for key, value in (side.names or {}).items() if value != side.name}


def _lists(columns: Mapping[str, Iterable[Any]]) -> Iterator[str]:
    """Yield the members of a JSON object whose values are lists."""
    for number, (name, values) in enumerate(columns.items()):
        yield f'{"," if number else ""}"{name}":['
        left, between = iter(values), ""
        while some := list(islice(left, _AT_ONCE)):
            yield between + _json(some)[1:-1]
            between = ","
        yield "]"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
