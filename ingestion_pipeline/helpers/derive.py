"""Helper places out of OSM objects: one row for each kind that an object is or has.

Belongs here: which helpers an object gives, and what each column says. Does not belong here: the
tags of each kind (`kinds.py`), reading OSM (`osm/`), and feeds (`feeds.py`). Every column is
documented in docs/data-dictionary.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar, get_args

from ingestion_pipeline.columns.hashing import canonical_json, with_content_hash, with_source_hash
from ingestion_pipeline.helpers.kinds import KINDS, Kind
from ingestion_pipeline.helpers.vocabulary import (
    RESTRICTIONS,
    STATUS_OF_PREFIX,
    STATUS_OF_WORD,
    Status,
    understood,
)
from ingestion_pipeline.text.dates import status_on
from ingestion_pipeline.text.hours import normalized_hours
from ingestion_pipeline.text.names import names_by_language

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime

    import pyarrow as pa

    from ingestion_pipeline.text.names import Namer

T = TypeVar("T")
Tags = dict[str, str]

RULES = 3
"""Raised with every change, here or in `kinds.py`, that changes what a reader sees."""

SAID = ("access", "fee", "wheelchair", "level", "operator")
"""Attributes with a column of their own. A derived helper has those that are said of it
(`toilets:fee`); of its parent it takes only where it is, when that is open, and that not everybody
may go in."""

_OF_THE_WHOLE = frozenset(
    {"bicycle", "capacity", "car", "charge", "emergency", "female", "gender_segregated", "male"}
    | {"material", "network", "scooter", "seats", "supervised", "unisex"}
)
"""Details that a place's tag says of the place as a whole, and so not of what is in it: the beds of
a hotel are not those of its left luggage."""

_WITH_EVERY_KIND = ("charge", "seasonal")
_ACCESS_IN_A_VALUE = ("customers", "permissive", "public")
"""Values of a secondary tag that say who may use what is there."""


@dataclass(frozen=True)
class OsmObjects:
    """N objects of OSM that lie in a city, column by column.

    Attributes:
        source_ref: `node/123`, `way/123` or `relation/123`.
        osm_type: The first part of it.
        osm_id: The second part.
        osm_version: Or None where the source does not say.
        osm_timestamp: UTC; or None.
        tags: As in OSM.
        geometry: WKB, EPSG:4326 (lon lat), whole.
        geom_quality: How the geometry was had.
        lon: Degrees of the representative point.
        lat: Degrees.
        point_source: How that point was had.
    """

    source_ref: Sequence[str]
    osm_type: Sequence[str]
    osm_id: Sequence[int]
    osm_version: Sequence[int | None]
    osm_timestamp: Sequence[datetime | None]
    tags: Sequence[Tags]
    geometry: Sequence[bytes]
    geom_quality: Sequence[str]
    lon: Sequence[float]
    lat: Sequence[float]
    point_source: Sequence[str]


class Found(NamedTuple):
    """A helper that an object is, or has.

    Attributes:
        kind: Its kind.
        tag: The secondary tag that tells of it; None where the object itself is the helper.
    """

    kind: Kind
    tag: str | None


@dataclass(frozen=True)
class Helpers:
    """The helper rows of one city-day out of OSM.

    Attributes:
        table: One row per object and kind, ordered by object and kind; columns of `helper_place`
            from `kind` on, and `source_ref`, `source_hash` and `content_hash`.
        unparsed_opening_hours: How many helpers have opening hours that cannot be understood.
    """

    table: pa.Table
    unparsed_opening_hours: int


def rules_version() -> str:
    """Name what makes rows out of objects; recorded with every staged day."""
    return f"helper rules {RULES}"


def helpers_of(tags: Mapping[str, str]) -> list[Found]:
    """Tell which helpers an object with these tags is or has, in the order of the kinds."""
    found = []
    for kind in _candidates(tags):
        said = {key: _values(tags[key]) for key in kind.secondary if key in tags}
        if "no" in said.get(kind.denied_by or "", ()):
            continue
        if any(_has_all(tags, rule) for rule in kind.main):
            found.append(Found(kind, None))
            continue
        for key, values in said.items():
            present = [value for value in values if value in kind.secondary[key]]
            if present:
                found.append(Found(kind, f"{key}={present[0]}"))
                break
    return found


def derive(
    objects: OsmObjects,
    *,
    day: date,
    namer: Namer,
    licence: str,
    attribution: str,
) -> Helpers:
    """Make the helper rows of a city.

    Args:
        objects: The city's objects; those that give no helper are left out.
        day: The day (UTC) of which the rows tell; dates in tags are compared with it.
        namer: Chooses the names that are shown to the city's readers.
        licence: SPDX identifier of the data's licence.
        attribution: The text that a product must show.
    """
    import pyarrow as pa

    rows = [
        (number, *each) for number, tags in enumerate(objects.tags) for each in helpers_of(tags)
    ]
    position = [number for number, _, _ in rows]
    kinds = [kind for _, kind, _ in rows]
    derived_from = [tag for _, _, tag in rows]
    tags = _at(objects.tags, position)
    parents = _at(objects.source_ref, position)
    columns = [_said(*each) for each in zip(tags, kinds, derived_from, strict=True)]
    raw_hours = [_opening_hours(*each) for each in zip(tags, kinds, derived_from, strict=True)]
    hours = [None if raw is None else normalized_hours(raw) for raw in raw_hours]
    undated = [_status(each) for each in tags]
    of_the_day = [
        status_on(day, each) if told == "operating" else None
        for each, told in zip(tags, undated, strict=True)
    ]
    status = [dated or told for dated, told in zip(of_the_day, undated, strict=True)]
    display = [namer.display_name(*each) for each in zip(tags, status, strict=True)]
    text = pa.string()
    table = pa.table(
        {
            "source_ref": pa.array(
                [f"{ref}#{kind.name}" for ref, kind in zip(parents, kinds, strict=True)], text
            ),
            "kind": pa.array([kind.name for kind in kinds], text),
            "parent_ref": pa.array(
                [
                    None if tag is None else ref
                    for ref, tag in zip(parents, derived_from, strict=True)
                ],
                text,
            ),
            "derived_from": pa.array(derived_from, text),
            "osm_type": pa.array(_at(objects.osm_type, position), text),
            "osm_id": pa.array(_at(objects.osm_id, position), pa.int64()),
            "osm_version": pa.array(_at(objects.osm_version, position), pa.int32()),
            "osm_timestamp": pa.array(
                _at(objects.osm_timestamp, position), pa.timestamp("s", "UTC")
            ),
            "name": pa.array([name for name, _ in display], text),
            "name_source": pa.array([key for _, key in display], text),
            "names": pa.array([canonical_json(names_by_language(each)) for each in tags], text),
            "tags": pa.array([canonical_json(each) for each in tags], text),
            "geometry": pa.array(_at(objects.geometry, position), pa.binary()),
            "lon": pa.array(_at(objects.lon, position), pa.float64()),
            "lat": pa.array(_at(objects.lat, position), pa.float64()),
            "point_source": pa.array(_at(objects.point_source, position), text),
            "geom_quality": pa.array(_at(objects.geom_quality, position), text),
            "access": pa.array([said["access"] for said in columns], text),
            "fee": pa.array([said["fee"] for said in columns], text),
            "wheelchair": pa.array([said["wheelchair"] for said in columns], text),
            "opening_hours": pa.array(hours, text),
            "level": pa.array([said["level"] for said in columns], text),
            "operator": pa.array([said["operator"] for said in columns], text),
            "attributes": pa.array(
                [
                    canonical_json(_details(*each))
                    for each in zip(tags, kinds, derived_from, strict=True)
                ],
                text,
            ),
            "status": pa.array(status, text),
            "links": pa.array(["[]"] * len(rows), text),
            "licence": pa.array([licence] * len(rows), text),
            "attribution": pa.array([attribution] * len(rows), text),
        }
    )
    unparsed = sum(
        raw is not None and parsed is None for raw, parsed in zip(raw_hours, hours, strict=True)
    )
    said_of_the_day = pa.array(of_the_day, text)
    hashed = with_content_hash(with_source_hash(table, of_the_day=said_of_the_day))
    return Helpers(hashed, unparsed)


def _at(column: Sequence[T], positions: Iterable[int]) -> list[T]:
    return [column[position] for position in positions]


def _by_key() -> dict[str, list[Kind]]:
    """Name the kinds that a key may tell of."""
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


def _values(value: str) -> list[str]:
    """Take a value apart, as it is compared: without blanks around and in lower case."""
    return [part for each in value.lower().split(";") if (part := each.strip())]


def _has_all(tags: Mapping[str, str], rule: Mapping[str, str]) -> bool:
    return all(key in tags and value in _values(tags[key]) for key, value in rule.items())


def _said(tags: Tags, kind: Kind, derived_from: str | None) -> dict[str, str | None]:
    """Give the attributes that are said of a helper; see `SAID`."""
    if derived_from is None:
        return {key: understood(key, tags.get(key)) for key in SAID}
    value = derived_from.split("=", 1)[1]
    said = {key: understood(key, _own(tags, key, kind, derived_from)) for key in SAID}
    said["level"] = said["level"] or tags.get("level")
    if said["access"] is None and value in _ACCESS_IN_A_VALUE:
        said["access"] = understood("access", value)
    of_the_place = understood("access", tags.get("access"))
    if said["access"] is None and of_the_place in RESTRICTIONS:
        said["access"] = of_the_place
    return said


def _own(tags: Tags, key: str, kind: Kind, derived_from: str) -> str | None:
    """Give what is said of a derived helper itself: `toilets:fee`."""
    told = derived_from.split("=", 1)[0]
    return tags.get(f"{told}:{key}", tags.get(f"{kind.name}:{key}"))


def _opening_hours(tags: Tags, kind: Kind, derived_from: str | None) -> str | None:
    """Give the raw opening hours of a helper: its own, or those of the place that it is in."""
    told = kind.name if derived_from is None else derived_from.split("=", 1)[0]
    own = (f"opening_hours:{told}", f"{told}:opening_hours", "opening_hours")
    return next((tags[key] for key in own if key in tags), None)


def _details(tags: Tags, kind: Kind, derived_from: str | None) -> dict[str, str]:
    """Give the attributes that matter for a kind, as they are in OSM."""
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
"""Keys that say what a place is; while one of them does, it is in use."""

_OUT_OF_ORDER = ("broken", "closed", "needs_maintenance", "out_of_order")
_ORDER_OF_STATUS = {status: order for order, status in enumerate(get_args(Status))}


def _status(tags: Tags) -> Status:
    """Tell whether a helper can be used, as far as its object says without a date.

    A flag says so (`disused=yes`), or that nothing of the place is left but what it was:
    `disused:amenity=cafe` or `shop=vacant`, and no other main tag.
    """
    flags = [status for word, status in STATUS_OF_WORD.items() if tags.get(word) == "yes"]
    if flags:
        return max(flags, key=_ORDER_OF_STATUS.__getitem__)
    if tags.get("operational_status") in _OUT_OF_ORDER:
        return "out_of_order"
    words = [_word(key, value) for key, value in tags.items()]
    gone = [STATUS_OF_PREFIX[word] for word in words if word]
    if "" in words or not gone:
        return "operating"
    return min(gone, key=_ORDER_OF_STATUS.__getitem__)


def _word(key: str, value: str) -> str | None:
    """Give the word that ends a main tag, or nothing; None where the tag is no main one."""
    prefix, _, prefixed = key.partition(":")
    if prefixed in _MAIN_KEYS and prefix in STATUS_OF_PREFIX:
        return prefix
    values = _values(value)
    if key not in _MAIN_KEYS or values in ([], ["no"]):
        return None
    return values[0] if values[0] in STATUS_OF_WORD else ""
