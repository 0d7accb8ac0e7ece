"""Helper places derived from OSM objects: one row for each kind that an object is or has.

Every column is documented in docs/data-dictionary.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast, get_args

import numpy as np

from ingestion_pipeline.columns.arrow import numbers, texts
from ingestion_pipeline.columns.hashing import canonical_texts, with_content_hash, with_source_hash
from ingestion_pipeline.helpers.kinds import KINDS, Kind
from ingestion_pipeline.helpers.rows import ATTRIBUTE_COLUMNS, helper_rows
from ingestion_pipeline.helpers.vocabulary import (
    RESTRICTIONS,
    STATUS_OF_PREFIX,
    STATUS_OF_WORD,
    Status,
    is_unparsed,
    known_value,
)
from ingestion_pipeline.text.dates import status_on
from ingestion_pipeline.text.hours import normalized_hours
from ingestion_pipeline.text.names import names_by_language
from ingestion_pipeline.text.value_lists import folded_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    import pyarrow as pa

    from ingestion_pipeline.text.names import Namer

Tags = dict[str, str]

_OF_THE_WHOLE = frozenset(
    {"bicycle", "capacity", "car", "charge", "emergency", "female", "gender_segregated", "male"}
    | {"material", "network", "scooter", "seats", "supervised", "unisex"}
)
"""Details that describe a place as a whole and not what is in it: the beds of a hotel are not those
of its left luggage."""

_WITH_EVERY_KIND = ("charge", "seasonal")
_ACCESS_IN_A_VALUE = ("customers", "permissive", "public")
"""Values of a secondary tag that restrict who may use the helper."""


class Found(NamedTuple):
    """A helper that an object is or has.

    Attributes:
        kind: Its kind.
        tag: The secondary tag that it is derived from; None if the object itself is the helper.
    """

    kind: Kind
    tag: str | None


@dataclass(frozen=True)
class Helpers:
    """The helper rows of one city-day from OSM.

    Attributes:
        table: One row per object and kind, ordered by object and kind; columns of `helper_place`
            from `kind` on, and `source_ref`, `source_hash` and `content_hash`.
        unparsed_opening_hours: The number of helpers with opening hours that cannot be parsed.
        unparsed_values: The number of values of `access`, `fee` and `wheelchair` that are not in
            the vocabulary.
    """

    table: pa.Table
    unparsed_opening_hours: int
    unparsed_values: int


def helpers_of(tags: Mapping[str, str]) -> list[Found]:
    """Return the helpers that an object with these tags is or has, in the order of the kinds."""
    found = []
    for kind in _candidates(tags):
        mapped = {key: folded_values(tags[key]) for key in kind.secondary if key in tags}
        if "no" in mapped.get(kind.denied_by or "", ()):
            continue
        if any(_has_all(tags, rule) for rule in kind.main):
            found.append(Found(kind, None))
            continue
        for key, values in mapped.items():
            present = [value for value in values if value in kind.secondary[key]]
            if present:
                found.append(Found(kind, f"{key}={present[0]}"))
                break
    return found


def derive(
    objects: Mapping[str, pa.Array[Any]],
    tags: Sequence[Tags],
    *,
    day: date,
    namer: Namer,
    licence: str,
    attribution: str,
) -> Helpers:
    """Return the helper rows of a city.

    Args:
        objects: The columns that a helper shares with the object that it is or is derived from, N
            values each; see `osm.locate.Located.columns`.
        tags: Of the N objects; those without a helper are left out.
        day: The day (UTC) of the rows; dates in tags are compared with it.
        namer: Chooses the names for the city's readers.
        licence: SPDX identifier of the data's licence.
        attribution: The text that a product must show.
    """
    import pyarrow as pa

    found = [(number, *each) for number, of in enumerate(tags) for each in helpers_of(of)]
    positions = numbers(np.array([number for number, _, _ in found], dtype=np.int64), pa.int64())
    shared = {name: column.take(positions) for name, column in objects.items()}
    parents = shared["source_ref"].to_pylist()
    helpers = [(tags[number], kind, derived_from) for number, kind, derived_from in found]
    tags = [each for each, _, _ in helpers]
    attributes = [_attributes(*each) for each in helpers]
    raw_hours = [_opening_hours(*each) for each in helpers]
    hours = [None if raw is None else normalized_hours(raw) for raw in raw_hours]
    undated = [_status(each) for each in tags]
    dated_status = [
        status_on(day, each) if status == "operating" else None
        for each, status in zip(tags, undated, strict=True)
    ]
    status = [dated or plain for dated, plain in zip(dated_status, undated, strict=True)]
    display = [namer.display_name(*each) for each in zip(tags, status, strict=True)]
    table = helper_rows(
        len(helpers),
        {
            **shared,
            "source_ref": [
                f"{ref}#{kind.name}" for ref, (_, kind, _) in zip(parents, helpers, strict=True)
            ],
            "kind": [kind.name for _, kind, _ in helpers],
            "parent_ref": [
                None if derived_from is None else ref
                for ref, (_, _, derived_from) in zip(parents, helpers, strict=True)
            ],
            "derived_from": [derived_from for _, _, derived_from in helpers],
            "name": [each.name for each in display],
            "name_source": [each.source for each in display],
            "names": canonical_texts(map(names_by_language, tags)),
            "tags": canonical_texts(tags),
            **{name: [each[name] for each in attributes] for name in ATTRIBUTE_COLUMNS},
            "opening_hours": hours,
            "attributes": canonical_texts(_details(*each) for each in helpers),
            "status": status,
            "licence": licence,
            "attribution": attribution,
        },
    )
    unparsed = sum(
        raw is not None and parsed is None for raw, parsed in zip(raw_hours, hours, strict=True)
    )
    hashed = with_content_hash(with_source_hash(table, dated_status=texts(dated_status)))
    unparsed_values = sum(
        is_unparsed(key, _mapped(*each, key)) for each in helpers for key in ATTRIBUTE_COLUMNS
    )
    return Helpers(hashed, unparsed, unparsed_values)


def _by_key() -> dict[str, list[Kind]]:
    """Return the kinds by the keys of their tags."""
    found: dict[str, list[Kind]] = {}
    for kind in KINDS.values():
        for key in {*kind.secondary, *(next(iter(rule)) for rule in kind.main)}:
            found.setdefault(key, []).append(kind)
    return found


_BY_KEY = _by_key()
_ORDER = {name: number for number, name in enumerate(KINDS)}


def _candidates(tags: Mapping[str, str]) -> list[Kind]:
    kinds = {kind.name: kind for key in tags for kind in _BY_KEY.get(key, ())}
    return sorted(kinds.values(), key=lambda kind: _ORDER[kind.name])


def _has_all(tags: Mapping[str, str], rule: Mapping[str, str]) -> bool:
    return all(key in tags and value in folded_values(tags[key]) for key, value in rule.items())


def _attributes(tags: Tags, kind: Kind, derived_from: str | None) -> dict[str, str | None]:
    """Return the values of `ATTRIBUTE_COLUMNS`.

    A derived helper has the attributes of its own tags (`toilets:fee`). From its parent it takes
    only the level and a restriction of access.
    """
    found = {
        key: known_value(key, _mapped(tags, kind, derived_from, key)) for key in ATTRIBUTE_COLUMNS
    }
    if derived_from is None:
        return found
    value = derived_from.split("=", 1)[1]
    found["level"] = found["level"] or tags.get("level")
    if found["access"] is None and value in _ACCESS_IN_A_VALUE:
        found["access"] = known_value("access", value)
    access_to_parent = known_value("access", tags.get("access"))
    if found["access"] is None and access_to_parent in RESTRICTIONS:
        found["access"] = access_to_parent
    return found


def _mapped(tags: Tags, kind: Kind, derived_from: str | None, key: str) -> str | None:
    """Return the raw value of a column of a helper."""
    return tags.get(key) if derived_from is None else _own(tags, key, kind, derived_from)


def _own(tags: Tags, key: str, kind: Kind, derived_from: str) -> str | None:
    """Return the value of a derived helper's own tag, such as `toilets:fee`."""
    parent_key = derived_from.split("=", 1)[0]
    return tags.get(f"{parent_key}:{key}", tags.get(f"{kind.name}:{key}"))


def _opening_hours(tags: Tags, kind: Kind, derived_from: str | None) -> str | None:
    """Return the raw opening hours of a helper: its own, or those of its parent."""
    name = kind.name if derived_from is None else derived_from.split("=", 1)[0]
    keys = (f"opening_hours:{name}", f"{name}:opening_hours", "opening_hours")
    return next((tags[key] for key in keys if key in tags), None)


def _details(tags: Tags, kind: Kind, derived_from: str | None) -> dict[str, str]:
    """Return the attributes that a kind has in addition, unchanged."""
    found: dict[str, str] = {}
    for key in (*kind.details, *_WITH_EVERY_KIND):
        if key.endswith(":"):
            found |= {name: value for name, value in tags.items() if name.startswith(key)}
            continue
        value = None if derived_from is None else _own(tags, key, kind, derived_from)
        if value is None and (derived_from is None or key not in _OF_THE_WHOLE):
            value = tags.get(key)
        if value is not None:
            found[key] = value
    return found


_MAIN_KEYS = frozenset(
    {"aerialway", "amenity", "club", "craft", "education", "emergency", "healthcare", "highway"}
    | {"historic", "leisure", "office", "public_transport", "railway", "shop", "tourism"}
)
"""Keys that describe a place; it is in use while it has one of them."""

_ORDER_OF_STATUS = {status: order for order, status in enumerate(get_args(Status))}


def _status(tags: Tags) -> Status:
    """Return the status of a helper by the tags of its object, without dates.

    It is set by a flag (`disused=yes`), or if the only main tag left is a former one:
    `disused:amenity=cafe` or `shop=vacant`.
    """
    flags = [status for word, status in STATUS_OF_WORD.items() if tags.get(word) == "yes"]
    if flags:
        return max(flags, key=_ORDER_OF_STATUS.__getitem__)
    operational = known_value("status", tags.get("operational_status"))
    if operational not in (None, "operating"):
        return cast("Status", operational)
    words = [_word(key, value) for key, value in tags.items()]
    gone = [STATUS_OF_PREFIX[word] for word in words if word]
    if "" in words or not gone:
        return "operating"
    return min(gone, key=_ORDER_OF_STATUS.__getitem__)


def _word(key: str, value: str) -> str | None:
    """Return the lifecycle word of a main tag, or an empty text; None for other tags."""
    prefix, _, prefixed = key.partition(":")
    if prefixed in _MAIN_KEYS and prefix in STATUS_OF_PREFIX:
        return prefix
    values = folded_values(value)
    if key not in _MAIN_KEYS or values in ([], ["no"]):
        return None
    return values[0] if values[0] in STATUS_OF_WORD else ""
