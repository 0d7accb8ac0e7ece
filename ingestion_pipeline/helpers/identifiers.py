"""Identifiers that a feed and OpenStreetMap share, such as the code of a stop.

OpenStreetMap has them in `ref` and similar tags, a feed in any field. Which field has the same
identifiers as which tag is not configured: it is found by the places that are near each other. A
*scheme* is such a pair of a field and a tag. Its identifiers are trusted if enough of the places
that have both agree: a sequence number agrees with a stop's code by chance only. A scheme with
fewer is not trusted, and counts only where all agree and the places are near each other.

Sources: "Key:ref", "Key:gtfs:stop_id", "NaPTAN" and "Key:local_ref" of the OSM wiki.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from ingestion_pipeline.text.value_lists import split_values

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

RECORD_ID = "record_id"
"""The name of the field with the record's own id."""

_KEYS = re.compile(
    r"ref|ref:.+|railway:ref|uic_ref|gtfs_id|gtfs:(stop|station|location)_(id|code).*|stop_(id|code)"
    r"|naptan:(Atco|Naptan)Code"
)
"""Keys of OpenStreetMap with identifiers. `local_ref` and `route_ref` are not: they tell a platform
of one station from its neighbours, and name the lines of a stop."""

LEAST_AGREEING = 3
"""The fewest places near each other that must agree in a trusted scheme."""

LEAST_AGREEING_SHARE = 0.3
"""The smallest share of places that agree, among those with an identifier of both sides near by.
Identifiers of one scheme agree for most of them, sequence numbers for fewer than one of 100."""

LEAST_DISTINCT_SHARE = 0.9
"""The smallest share of different values in a field with identifiers."""

LEAST_LENGTH = 3
"""The shortest identifier that counts far away, or without a trusted scheme. Shorter ones are in
use at many places, such as platform 3, and say nothing of a longer one."""

LONGEST = 64


class Scheme(NamedTuple):
    """A field of a feed and a key of OpenStreetMap that have the same identifiers."""

    field: str
    key: str


class Shared(NamedTuple):
    """An identifier that two records share.

    Attributes:
        scheme: Its field and its key.
        value: As in the feed.
    """

    scheme: Scheme
    value: str


class Identifiers:
    """The identifiers of the places of one kind, and which schemes are trusted."""

    def __init__(
        self,
        feed: Mapping[int, Mapping[str, str]],
        osm: Mapping[int, Mapping[str, Sequence[str]]],
        near: Iterable[tuple[int, int]],
    ) -> None:
        """Find the schemes.

        Args:
            feed: By row, the values of the feed's fields.
            osm: By row, the values of OpenStreetMap's keys.
            near: The pairs of rows that are near each other.
        """
        self._values = _distinct(feed)
        self._feed = {
            row: {field: _plain(value) for field, value in fields.items()}
            for row, fields in self._values.items()
        }
        self._osm = {
            row: {key: frozenset(map(_plain, values)) for key, values in keys.items()}
            for row, keys in osm.items()
            if keys
        }
        self._trusted, self._weak = self._schemes(near)

    def shared(self, one: int, other: int) -> Shared | None:
        """Return the identifier that two rows near each other share, if any."""
        found = [each for each in self._both(one, other) if self._agree(one, other, each)]
        trusted = [each for each in found if each in self._trusted]
        weak = [
            each for each in found if each in self._weak and _is_long(self._feed[one][each.field])
        ]
        scheme = next(iter([*trusted, *weak]), None)
        return None if scheme is None else Shared(scheme, self._values[one][scheme.field])

    def differ(self, one: int, other: int) -> bool:
        """Return whether two rows have different identifiers of a trusted scheme."""
        schemes = [scheme for scheme in self._both(one, other) if scheme in self._trusted]
        return not any(self._agree(one, other, each) for each in schemes) and any(
            _is_long(self._feed[one][each.field]) == all(map(_is_long, self._osm[other][each.key]))
            for each in schemes
        )

    def of_trusted_schemes(self) -> set[tuple[int, int]]:
        """Return the pairs of rows, at any distance, with one identifier of a trusted scheme.

        An identifier that several of the feed's places have identifies none of them.
        """
        pairs: set[tuple[int, int]] = set()
        for scheme in self._trusted:
            theirs = defaultdict(list)
            for row, keys in self._osm.items():
                for value in keys.get(scheme.key, ()):
                    theirs[value].append(row)
            ours = {
                row: fields[scheme.field]
                for row, fields in self._feed.items()
                if scheme.field in fields
            }
            times = Counter(ours.values())
            for row, value in ours.items():
                if times[value] == 1 and _is_long(value):
                    pairs.update((row, other) for other in theirs.get(value, ()))
        return pairs

    def _schemes(
        self, near: Iterable[tuple[int, int]]
    ) -> tuple[Collection[Scheme], Collection[Scheme]]:
        """Return the schemes in which enough places agree; and others in which all agree."""
        compared: dict[Scheme, set[int]] = defaultdict(set)
        agreeing: dict[Scheme, set[int]] = defaultdict(set)
        for one, other in near:
            for scheme in self._both(one, other):
                compared[scheme].add(one)
                if self._agree(one, other, scheme):
                    agreeing[scheme].add(one)
        shares = {scheme: len(rows) / len(compared[scheme]) for scheme, rows in agreeing.items()}
        trusted = {
            scheme
            for scheme, rows in agreeing.items()
            if len(rows) >= LEAST_AGREEING and shares[scheme] >= LEAST_AGREEING_SHARE
        }
        return trusted, {scheme for scheme, share in shares.items() if share == 1} - trusted

    def _both(self, one: int, other: int) -> Iterator[Scheme]:
        for key in self._osm.get(other, ()):
            for field in self._feed[one]:
                yield Scheme(field, key)

    def _agree(self, one: int, other: int, scheme: Scheme) -> bool:
        return self._feed[one][scheme.field] in self._osm[other][scheme.key]


def identifiers_of_feed(feed: pa.Table) -> list[dict[str, str]]:
    """Return, for each place of a feed, the fields that may have an identifier, and their values.

    The record's own id comes first, then mapped attributes, then the other fields by name.
    """
    found = []
    refs, attributes, properties = (
        feed.column(name).to_pylist() for name in ("source_ref", "attributes", "tags")
    )
    for ref, mapped, raw in zip(refs, attributes, properties, strict=True):
        fields: dict[str, Any] = {RECORD_ID: str(ref).rpartition("#")[0]}
        attributes_of = json.loads(str(mapped)).items()
        fields |= {key: value for key, value in attributes_of if _KEYS.fullmatch(key)}
        for name, value in sorted(json.loads(str(raw)).items()):
            fields.setdefault(name, value)
        found.append({name: text for name, value in fields.items() if (text := _text(value))})
    return found


def identifiers_of_osm(osm: pa.Table) -> list[dict[str, list[str]]]:
    """Return, for each place of OpenStreetMap, its keys with identifiers and their values.

    A derived place has none: the tags identify its parent.
    """
    return [
        {
            key: values
            for key, value in sorted(json.loads(str(tags)).items())
            if _KEYS.fullmatch(key) and (values := split_values(value))
        }
        if parent is None
        else {}
        for tags, parent in zip(
            osm.column("tags").to_pylist(), osm.column("parent_ref").to_pylist(), strict=True
        )
    ]


def _distinct(feed: Mapping[int, Mapping[str, str]]) -> dict[int, dict[str, str]]:
    """Leave out the fields whose values repeat: a town, a zone."""
    values: dict[str, list[str]] = defaultdict(list)
    for fields in feed.values():
        for name, value in fields.items():
            values[name].append(_plain(value))
    kept = {
        name
        for name, found in values.items()
        if len(set(found)) >= LEAST_DISTINCT_SHARE * len(found)
    }
    return {
        row: {name: value for name, value in fields.items() if name in kept}
        for row, fields in feed.items()
    }


def _is_long(value: str) -> bool:
    return len(value) >= LEAST_LENGTH


def _text(value: object) -> str | None:
    """Return a value that may be an identifier: a short text with a digit, or a whole number."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).strip()
    return text if len(text) <= LONGEST and any(each.isdigit() for each in text) else None


def _plain(value: str) -> str:
    """Return an identifier without case, punctuation and leading zeros: "H-0012", "h0012"."""
    return "".join(each for each in value.casefold() if each.isalnum()).lstrip("0") or "0"
