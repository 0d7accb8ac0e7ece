"""Feeds of helper places as data: where one is, how it is read, and what may be done with it.

Belongs here: `Feed`, and the rules of the tables `[[city.feed]]` (the keys are explained in
docs/adding-a-city.md). Does not belong here: asking for a feed (`fetch.py`) and reading it
(`read_feed.py`).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from ingestion_pipeline.columns.hashing import digest
from ingestion_pipeline.config.toml_tables import (
    Key,
    did_you_mean,
    is_language,
    place_of,
    read_table,
    whole_number,
)
from ingestion_pipeline.core.identity import SLUG
from ingestion_pipeline.core.locations import Endpoint, is_dated, redacted, require_template
from ingestion_pipeline.helpers.licences import LICENCES, judge

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import date

    from ingestion_pipeline.helpers.licences import Verdict

Format = Literal["geojson", "csv"]

AsOfSource = Literal["last_modified", "day_in_location", "newest_record", "document"]
"""How the time of a feed's data is known (documented in docs/data-dictionary.md).

- `last_modified`: the header of the HTTP answer.
- `day_in_location`: the day that its dated location names, from the first moment of it.
- `newest_record`: the latest moment in a field of its records.
- `document`: a member of the document says so.
"""

COLUMNS = ("access", "fee", "wheelchair", "opening_hours", "level", "operator")
"""What `fields` may name beside names: columns of `helper_place`."""

MAXIMUM_BYTES = 50_000_000
"""The biggest feed that is read where it says nothing else. It is read as a whole, in memory."""

MAXIMUM_AGE_DAYS = 366

GEOJSON_ID = "@id"
"""Stands in `record_id` for a GeoJSON feature's own `id`, beside its properties."""


class AsOfRule(NamedTuple):
    """How a feed tells the time of its data.

    Attributes:
        source: What tells it.
        name: For `newest_record` the field, for `document` the path of the member, else empty.
    """

    source: AsOfSource
    name: str = ""


@dataclass(frozen=True, slots=True)
class Feed:
    """One feed of one city.

    Attributes:
        slug: Its key within the city; the slice's source is `feed:<slug>`.
        location: Path or URL; `{day}` stands for the UTC day. It may hold secrets.
        format: How the bytes are written.
        record_id: The field that names a record for ever, or `@id` for a GeoJSON feature's own.
        kind: What every record is; None where `kind_field` tells.
        kind_field: The field that tells what a record is, or None.
        kinds: Its values and what they mean; another value is a rejection.
        fields: Where names (`name`, `name:ru`) and the columns of `COLUMNS` come from: target ->
            field.
        attributes: What goes into `attributes`: its name there -> field.
        values: For a target of `fields` or `attributes`: what its values mean.
        lon: CSV: the column of the longitude, in degrees (WGS 84).
        lat: CSV: the column of the latitude.
        delimiter: CSV: what stands between two columns.
        encoding: CSV: how text is written. GeoJSON is always UTF-8 (RFC 7946, RFC 8259).
        licence: SPDX identifier, one of `LICENCES`.
        attribution: The text that a product must show.
        permission: Where the publisher's written permission stands to combine the data with other
            data, or None.
        as_of: How it tells the time of its data.
        maximum_age_days: How old its data may be at the end of the day.
        minimum: A day with fewer places in the city is refused.
        maximum_bytes: A bigger answer is refused.
        sha256: The digest that its bytes must have, or None.
        etag: The ETag that its answer must have, or None.
    """

    slug: str
    location: str = field(repr=False)
    format: Format
    record_id: str
    kind: str | None
    kind_field: str | None
    kinds: Mapping[str, str] = field(hash=False)
    fields: Mapping[str, str] = field(hash=False)
    attributes: Mapping[str, str] = field(hash=False)
    values: Mapping[str, Mapping[str, str]] = field(hash=False)
    lon: str | None
    lat: str | None
    delimiter: str
    encoding: str
    licence: str
    attribution: str
    permission: str | None
    as_of: AsOfRule
    maximum_age_days: int
    minimum: int
    maximum_bytes: int
    sha256: str | None
    etag: str | None

    @property
    def digest(self) -> str:
        """Tell whether rows were made by these very keys; the location is none of them."""
        keys = (each.name for each in fields(self) if each.name != "location")
        return digest({key: _plain(getattr(self, key)) for key in keys})

    @property
    def asks(self) -> str:
        """Tell whether stored bytes are those that would be asked for: place and rule of time."""
        return digest([self.public_location, *self.as_of])

    @property
    def source(self) -> str:
        """The source of its slices."""
        return f"feed:{self.slug}"

    @property
    def dataset(self) -> str:
        """The dataset of its snapshots in the lake."""
        return f"feed-{self.slug}"

    @property
    def maximum_age(self) -> timedelta:
        """How old its data may be at the end of the day."""
        return timedelta(days=self.maximum_age_days)

    @property
    def public_location(self) -> str:
        """Its location without user, password and query, for messages and evidence."""
        return redacted(self.location)

    @property
    def all_kinds(self) -> frozenset[str]:
        """What its records may be."""
        return frozenset(self.kinds.values()) | ({self.kind} if self.kind else set())

    def location_on(self, day: date) -> str:
        """Give its location for a day."""
        return self.location.format(day=day)


def read_feeds(
    place: str, tables: object, mistakes: list[str], *, kinds: Collection[str]
) -> tuple[Feed, ...]:
    """Read a city's tables `[[city.feed]]`, and add everything that is wrong to `mistakes`.

    Args:
        place: The city's place in the file, for messages.
        tables: What TOML gave.
        mistakes: Grows; each names the city, the feed and the key.
        kinds: The vocabulary of kinds.

    Returns:
        The feeds without a mistake.
    """
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        mistakes.append(
            f"{place}: feed: is no list of tables; head each with [[city.feed]], in two brackets"
        )
        return ()
    feeds = []
    first_of: dict[str, str] = {}
    for number, table in enumerate(tables, start=1):
        where = f"{place}: {place_of('feed', number, table)}"
        found: list[str] = []
        reading = read_table(where, table, KEYS, found)
        found += [f"{where}: {mistake}" for mistake in _mistakes_between(reading, table)]
        found += [f"{where}: {mistake}" for mistake in _unknown_kinds(reading, kinds)]
        if "slug" in reading and (other := first_of.setdefault(reading["slug"], where)) != where:
            found.append(f"{where}: slug: is that of {other} too; a slug names one feed of a city")
        mistakes += found
        if not found:
            feeds.append(Feed(**(_DEFAULTS | reading)))
    return tuple(feeds)


def judge_feed(feed: Feed, *, beside: Collection[str]) -> Verdict:
    """Judge whether a feed's places may be one database with those of other sources.

    Beside OpenStreetMap, feeds need not be judged together: its licence is share-alike, so those
    that may each be combined with it may be combined with each other.

    Args:
        feed: The feed; its `permission` is for it alone.
        beside: The licences of the sources that may have places of any kind: OpenStreetMap's.
    """
    permitted = () if feed.permission is None else (feed.licence,)
    return judge([feed.licence, *beside], permitted=permitted)


def _plain(value: object) -> object:
    """Write a key's value as JSON can."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [value.source, value.name] if isinstance(value, AsOfRule) else value


def _unknown_kinds(reading: Mapping[str, Any], known: Collection[str]) -> Iterator[str]:
    for key, kinds in (
        ("kind", [reading.get("kind")]),
        ("kinds", reading.get("kinds", {}).values()),
    ):
        for kind in sorted({kind for kind in kinds if kind is not None and kind not in known}):
            yield f"{key}: {kind!r} is no kind of helper place{did_you_mean(kind, known)}"


def _mistakes_between(reading: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[str]:
    """Find what is wrong with a feed's keys together, as far as they could be read."""
    if "kind" in table and ("kind_field" in table or "kinds" in table):
        yield "kind: goes without kind_field and kinds: either every record is of one kind or not"
    elif "kind" not in table and not ("kind_field" in table and "kinds" in table):
        yield "kind: is missing; or give kind_field, and kinds with what its values mean"
    if reading.get("format") == "csv":
        yield from _mistakes_of_csv(reading, table)
    elif reading.get("format") == "geojson":
        yield from (
            f"{key}: is only for CSV"
            for key in ("lon", "lat", "delimiter", "encoding")
            if key in table
        )
    if "location" in reading and "as_of" in reading:
        yield from _mistakes_of_time(reading["location"], reading["as_of"])
    if {"fields", "attributes"}.isdisjoint(table.keys() - reading.keys()):
        targets = {*reading.get("fields", {}), *reading.get("attributes", {})}
        yield from (
            f"values: has {target!r}, which is in neither fields nor attributes"
            f"{did_you_mean(target, targets)}"
            for target in reading.get("values", {})
            if target not in targets
        )


def _mistakes_of_csv(reading: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[str]:
    for key in ("lon", "lat"):
        if key not in table:
            yield f"{key}: is missing; a CSV needs the names of the columns of its coordinates"
    if reading.get("record_id") == GEOJSON_ID:
        yield f'record_id: is "{GEOJSON_ID}", which only GeoJSON has; name a column'
    if "as_of" in reading and reading["as_of"].source == "document":
        yield "as_of: is a member of the document, which a CSV does not have"


def _mistakes_of_time(location: str, as_of: AsOfRule) -> Iterator[str]:
    if as_of.source == "last_modified" and not is_http(location):
        yield (
            'as_of: is "last_modified", which only an http(s) location has; '
            "a file's own time changes when it is copied"
        )
    if as_of.source == "day_in_location" and not is_dated(location):
        yield 'as_of: is "day_in_location", and the location has no {day}'


def is_http(location: str) -> bool:
    """Tell whether a location is asked for over HTTP."""
    return location.startswith(("http://", "https://"))


# Reading a table: a function for each key takes what TOML gave and returns what Feed holds, or
# raises ValueError with what is allowed.


def _slug(value: object) -> str:
    if isinstance(value, str) and SLUG.fullmatch(value):
        return value
    raise ValueError("small letters, digits and hyphens, beginning with a letter or digit")


def _location(value: object) -> str:
    allowed = "a path or URL, which may hold {day}"
    if not isinstance(value, str) or not value.strip():
        raise ValueError(allowed)
    require_template(value, allowed=allowed, fields=["day"])
    if is_http(value):
        try:
            Endpoint.parse(value)
        except ValueError as error:
            raise ValueError(f"{allowed} ({error})") from error
    return value


def _format(value: object) -> Format:
    if isinstance(value, str) and value in ("geojson", "csv"):
        return cast("Format", value)
    raise ValueError('"geojson" or "csv"')


def _text(value: object) -> str:
    if isinstance(value, str) and value.strip():
        return value
    raise ValueError("a text that is not empty")


def _kind(value: object) -> str:
    if isinstance(value, str) and re.fullmatch("[a-z]+(_[a-z]+)*", value):
        return value
    raise ValueError('a kind of helper place, such as "drinking_water"')


def _kinds(value: object) -> dict[str, str]:
    if isinstance(value, dict) and value:
        return {name: _kind(kind) for name, kind in value.items()}
    raise ValueError('a table of values and kinds, such as { WC = "toilets" }')


def _fields(value: object) -> dict[str, str]:
    allowed = f"a table of fields: name, name:<language>, {', '.join(COLUMNS)}"
    if not isinstance(value, dict) or not all(map(_is_text, value.values())):
        raise ValueError(allowed)
    for target in value:
        language = target.removeprefix("name:")
        is_name = target == "name" or (language != target and is_language(language))
        if not is_name and target not in COLUMNS:
            raise ValueError(
                f"{allowed}; {target!r} is none of them{did_you_mean(target, ('name', *COLUMNS))} "
                "(others go into attributes)"
            )
    return value


def _attributes(value: object) -> dict[str, str]:
    if isinstance(value, dict) and all(map(_is_text, value.values())):
        return value
    raise ValueError('a table of attributes and fields, such as { female = "FRAUEN" }')


def _values(value: object) -> dict[str, dict[str, str]]:
    if isinstance(value, dict) and all(
        isinstance(meanings, dict) and meanings and all(map(_is_text, meanings.values()))
        for meanings in value.values()
    ):
        return value
    raise ValueError('for a target, what its values mean: { fee = { ja = "yes", nein = "no" } }')


def _delimiter(value: object) -> str:
    if isinstance(value, str) and len(value) == 1 and value not in '"\r\n':
        return value
    raise ValueError('one character, such as ";"')


def _encoding(value: object) -> str:
    if isinstance(value, str):
        try:
            return codecs.lookup(value).name
        except LookupError:
            pass
    raise ValueError('the name of an encoding that Python knows, such as "utf-8" or "cp1251"')


def _licence(value: object) -> str:
    if isinstance(value, str) and value in LICENCES:
        return value
    close = did_you_mean(value, LICENCES) if isinstance(value, str) else ""
    raise ValueError(f"one of {', '.join(LICENCES)}{close}")


def _as_of(value: object) -> AsOfRule:
    if value in ("last_modified", "day_in_location"):
        return AsOfRule(value)
    if isinstance(value, str):
        source, _, name = value.partition(":")
        if source == "record" and name.strip():
            return AsOfRule("newest_record", name)
        if source == "document" and name.strip():
            return AsOfRule("document", name)
    raise ValueError(
        '"last_modified", "day_in_location", "record:<field>" or "document:<member>"; that a feed '
        "is said to be updated every day proves nothing of any day"
    )


def _days(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAXIMUM_AGE_DAYS:
        return value
    raise ValueError(f"a whole number of days from 1 to {MAXIMUM_AGE_DAYS}")


def _sha256(value: object) -> str:
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return value
    raise ValueError("64 hexadecimal digits, small letters")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


KEYS: Mapping[str, Key] = {
    "slug": Key(_slug),
    "location": Key(_location),
    "format": Key(_format),
    "record_id": Key(_text),
    "kind": Key(_kind, required=False),
    "kind_field": Key(_text, required=False),
    "kinds": Key(_kinds, required=False),
    "fields": Key(_fields, required=False),
    "attributes": Key(_attributes, required=False),
    "values": Key(_values, required=False),
    "lon": Key(_text, required=False),
    "lat": Key(_text, required=False),
    "delimiter": Key(_delimiter, required=False),
    "encoding": Key(_encoding, required=False),
    "licence": Key(_licence),
    "attribution": Key(_text),
    "permission": Key(_text, required=False),
    "as_of": Key(_as_of),
    "maximum_age_days": Key(_days),
    "minimum": Key(whole_number),
    "maximum_bytes": Key(whole_number, required=False),
    "sha256": Key(_sha256, required=False),
    "etag": Key(_text, required=False),
}
"""Everything that may stand in `[[city.feed]]`, in the order of the documentation."""

_DEFAULTS: dict[str, Any] = {
    "kind": None,
    "kind_field": None,
    "kinds": {},
    "fields": {},
    "attributes": {},
    "values": {},
    "lon": None,
    "lat": None,
    "delimiter": ",",
    "encoding": "utf-8",
    "permission": None,
    "maximum_bytes": MAXIMUM_BYTES,
    "sha256": None,
    "etag": None,
}
