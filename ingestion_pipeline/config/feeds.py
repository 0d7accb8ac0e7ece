"""Feeds of helper places as data: where one is, how it is read, and how it may be used.

Belongs here: `Feed`, and the rules of the tables `[[city.feed]]` (the keys are explained in
docs/adding-a-city.md). Does not belong here: fetching and reading a feed (`sources/feed/`).
"""

import codecs
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, field, fields, is_dataclass
from datetime import date, timedelta
from typing import Annotated, Any, Literal, NamedTuple, cast

from pydantic import AfterValidator, Field, PlainValidator
from pydantic.dataclasses import dataclass

from ingestion_pipeline.columns.hashing import digest
from ingestion_pipeline.config.feed_mapping import (
    STATES,
    Condition,
    HoursLanguage,
    LicenceId,
    Reference,
    Selector,
    Terms,
    mapping_conflicts,
)
from ingestion_pipeline.config.toml_tables import (
    TABLE,
    Expected,
    OneOf,
    PositiveInt,
    Slug,
    Text,
    did_you_mean,
)
from ingestion_pipeline.core.locations import Endpoint, is_dated, redacted, require_template
from ingestion_pipeline.helpers.kinds import KINDS
from ingestion_pipeline.helpers.licences import LICENCES, Licence, Verdict, judge

AsOfSource = Literal["last_modified", "day_in_location", "newest_record", "document"]
"""How the time of a feed's data is known (documented in docs/data-dictionary.md).

- `last_modified`: the `Last-Modified` header of the HTTP response.
- `day_in_location`: the start of the day that its dated location names.
- `newest_record`: the latest time in a field of its records.
- `document`: a member of the document.
"""

COLUMNS = ("access", "fee", "wheelchair", "opening_hours", "level", "operator", "status")
"""The columns of `helper_place` that `fields` may name, besides names."""

GEOJSON_ID = "@id"
"""The value of `record_id` for a GeoJSON feature's own `id`, which is not one of its properties."""


class AsOfRule(NamedTuple):
    """The rule for the time of a feed's data.

    Attributes:
        source: Where the time comes from.
        name: For `newest_record` the field, for `document` the path of the member, else empty.
    """

    source: AsOfSource
    name: str = ""


def is_http(location: str) -> bool:
    """Return whether a location is fetched over HTTP."""
    return location.startswith(("http://", "https://"))


def _location(value: str) -> str:
    require_template(value, allowed="use {day} for the day", fields=["day"])
    if is_http(value):
        Endpoint.parse(value)
    return value


def _target(value: str) -> str:
    if value.startswith("name:") or value in ("name", *COLUMNS):
        return value
    close = did_you_mean(value, ("name", *COLUMNS))
    raise ValueError(f"other fields belong in attributes{close}")


def _encoding(value: str) -> str:
    try:
        return codecs.lookup(value).name
    except LookupError:
        raise ValueError from None


_AS_OF = r"^(last_modified|day_in_location|(record|document):.*\S.*)$"


def _as_of(value: object) -> AsOfRule:
    if isinstance(value, AsOfRule):
        return value
    found = re.fullmatch(_AS_OF, value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("that a feed is said to be updated every day is no evidence for a day")
    source, _, name = found[0].partition(":")
    return AsOfRule(cast("AsOfSource", {"record": "newest_record"}.get(source, source)), name)


Kind = Annotated[
    str, OneOf(KINDS.keys), Expected('a kind of helper place, such as "drinking_water"')
]
Target = Annotated[str, Field(pattern="^(name:[a-z]{2,3}|[a-z_]+)$"), AfterValidator(_target)]
Joined = Annotated[tuple[Text, ...], Field(min_length=1)]
"""Fields whose texts are joined."""


@dataclass(frozen=True, slots=True, kw_only=True, config=TABLE)
class Feed:
    """One feed of helper places of one city."""

    slug: Slug
    """The key of the feed within the city. Its rows have the source `feed:<slug>`."""
    location: Annotated[
        Text, AfterValidator(_location), Expected("a path or URL, which may contain {day}")
    ] = field(repr=False)
    """Where the feed is. Messages never show user, password or query."""
    format: Annotated[Literal["geojson", "csv"], Expected('"geojson" or "csv"')]
    """The format: GeoJSON (WGS 84, UTF-8), or CSV with a header."""
    record_id: Text
    """The field with the permanent id of a record, or `@id` for the `id` of a GeoJSON feature. A
    record without an id, or with the id of an earlier record, is rejected."""
    kind: Kind | None = None
    """The kind of every record, instead of `kind_field` and `kinds`."""
    kind_field: Text | None = None
    """The field with the kind of a record."""
    kinds: Annotated[
        Mapping[str, Kind | Annotated[tuple[Kind, ...], Field(min_length=1)]],
        Field(min_length=1),
        Expected('a table of values and kinds of helper places, such as { WC = "toilets" }'),
    ] = field(default_factory=dict, hash=False)
    """The kinds that the values of `kind_field` mean. A record with another value is rejected."""
    also: Annotated[
        Mapping[Kind, Annotated[Mapping[Text, Condition], Field(min_length=1)]],
        Expected('a table of kinds and conditions, such as { baby_change = { WICKEL = "ja" } }'),
    ] = field(default_factory=dict, hash=False)
    """Further kinds that a record is, if its fields have these values."""
    where: Annotated[
        Mapping[Text, Condition],
        Expected('a table of fields and values, such as { TYPE = ["WC", "WC PMR"] }'),
    ] = field(default_factory=dict, hash=False)
    """Only records whose fields have these values are used. Others are skipped and counted."""
    where_not: Annotated[
        Mapping[Text, Condition],
        Expected('a table of fields and values, such as { NAME = "Misting*" }'),
    ] = field(default_factory=dict, hash=False)
    """Records of which a field has one of these values are skipped and counted."""
    fields: Annotated[
        Mapping[Target, Text | Joined],
        Expected(f"a table of fields for name, name:<language>, {', '.join(COLUMNS)}"),
    ] = field(default_factory=dict, hash=False)
    """The fields with names and columns."""
    attributes: Annotated[
        Mapping[str, Text | Joined],
        Expected('a table of attributes and fields, such as { female = "FRAUEN" }'),
    ] = field(default_factory=dict, hash=False)
    """The fields with further `attributes`."""
    joined_by: Annotated[str, Expected('a text, such as ", "')] = " "
    """The text between the values of several fields."""
    constants: Annotated[
        Mapping[Target, Text],
        Expected('a table of values for every record, such as { operator = "City of Tver" }'),
    ] = field(default_factory=dict, hash=False)
    """Names and columns with one value for every record."""
    hours: Annotated[
        Mapping[Selector, Text | tuple[Text, Text]],
        Expected('a table of days and fields, such as { "Mo-Fr" = "WEEK", "Sa-Su" = "WEEKEND" }'),
    ] = field(default_factory=dict, hash=False)
    """The fields with opening hours by weekday or season."""
    language: HoursLanguage | None = None
    """The language of opening hours. Default: unknown."""
    values: Annotated[
        Mapping[str, Annotated[Mapping[str, Text], Field(min_length=1)]],
        Expected('what values of a key mean, such as { fee = { ja = "yes", nein = "no" } }'),
    ] = field(default_factory=dict, hash=False)
    """What the values of a column or an attribute mean. Another value counts as unknown."""
    lon: Text | None = None
    """CSV: the column of the longitude, in degrees (WGS 84)."""
    lat: Text | None = None
    """CSV: the column of the latitude, in degrees (WGS 84)."""
    delimiter: Annotated[
        str, Field(pattern=r'^[^"\r\n]$'), Expected('one character, such as ";"')
    ] = ","
    """CSV: the character between columns."""
    encoding: Annotated[
        str,
        AfterValidator(_encoding),
        Expected('an encoding that Python knows, such as "utf-8" or "cp1251"'),
    ] = "utf-8"
    """CSV: the encoding. GeoJSON is always UTF-8 (RFC 7946)."""
    licence: Annotated[
        str, LicenceId(), Expected(f"one of {', '.join(LICENCES)}, or LicenseRef-... with terms")
    ]
    """The licence of the data (SPDX)."""
    attribution: Text
    """The text that a product must show."""
    terms: Annotated[
        Terms | None,
        Expected(
            "a table with name, url, attribution, share_alike, database_right, goes_into, source"
        ),
    ] = None
    """The licence, if it is not in the list."""
    permission: Reference | None = None
    """Where to find the publisher's written permission to combine the data with other data."""
    as_of: Annotated[
        AsOfRule,
        PlainValidator(_as_of, json_schema_input_type=Annotated[str, Field(pattern=_AS_OF)]),
        Expected('"last_modified", "day_in_location", "record:<field>" or "document:<member>"'),
    ]
    """How the time of the data is known."""
    maximum_age_days: Annotated[
        int, Field(strict=True, ge=1, le=366), Expected("a whole number of days from 1 to 366")
    ]
    """The maximum age of the data at the end of the day."""
    minimum: PositiveInt
    """A day with fewer places in the city is refused."""
    maximum_bytes: PositiveInt = 50_000_000
    """A larger response is refused. A feed is read as a whole, in memory."""
    sha256: (
        Annotated[
            str, Field(pattern="^[0-9a-f]{64}$"), Expected("64 hexadecimal digits in lower case")
        ]
        | None
    ) = None
    """The required SHA-256 digest of the bytes."""
    etag: Text | None = None
    """The required ETag, with its quotation marks."""

    @property
    def digest(self) -> str:
        """A digest of all keys but the location: rows with the same one follow the same rules."""
        keys = (each.name for each in fields(self) if each.name != "location")
        return digest({key: _plain(getattr(self, key)) for key in keys if self._counts(key)})

    @property
    def asks(self) -> str:
        """A digest of location and time rule: stored bytes with another one are of another feed."""
        return digest([self.public_location, *self.as_of])

    def _counts(self, key: str) -> bool:
        """Return whether a key is part of digests: always, or if it is set.

        Keys of later releases count if they are set, so that the digests of other feeds, whose days
        are staged already, stay what they are.
        """
        return key in _KEYS_OF_FIRST_RELEASE or getattr(self, key) != _default_of(key)

    @property
    def mapped_fields(self) -> frozenset[str]:
        """All fields that the mapping names."""
        conditions = (self.where, self.where_not, *self.also.values())
        columns = (*self.fields.values(), *self.attributes.values(), *self.hours.values())
        named = {name for condition in conditions for name in condition}
        for each in columns:
            named.update((each,) if isinstance(each, str) else each)
        named -= set(self.hours.values()) & set(STATES)
        return frozenset(named | ({self.kind_field} if self.kind_field else set()))

    @property
    def own_licence(self) -> Licence | None:
        """The licence, if it is not in the list."""
        return None if self.terms is None else self.terms.licence(self.licence)

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
        """The maximum age of its data at the end of the day."""
        return timedelta(days=self.maximum_age_days)

    @property
    def public_location(self) -> str:
        """Its location without user, password and query, for messages and evidence."""
        return redacted(self.location)

    def location_on(self, day: date) -> str:
        """Return its location for a day."""
        return self.location.format(day=day)


def judge_feed(feed: Feed, *, beside: Collection[str]) -> Verdict:
    """Judge whether a feed's places may be in one database with those of other sources.

    Beside OpenStreetMap, feeds need not be judged together: its licence is share-alike, so those
    that may each be combined with it may be combined with each other.

    Args:
        feed: The feed; its `permission` is for this feed alone.
        beside: The licences of the sources that may have places of any kind: OpenStreetMap's.
    """
    permitted = () if feed.permission is None else (feed.licence,)
    own = feed.own_licence
    return judge([feed.licence, *beside], permitted=permitted, own=() if own is None else (own,))


_KEYS_OF_FIRST_RELEASE = frozenset(
    {
        *("slug", "format", "record_id", "kind", "kind_field", "kinds", "fields", "attributes"),
        *("values", "lon", "lat", "delimiter", "encoding", "licence", "attribution", "permission"),
        *("as_of", "maximum_age_days", "minimum", "maximum_bytes", "sha256", "etag"),
    }
)


def _default_of(key: str) -> object:
    (found,) = (each for each in fields(Feed) if each.name == key)
    if found.default_factory is not MISSING:
        return found.default_factory()
    return found.default


def _plain(value: object) -> object:
    """Return the value of a key as JSON types."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple) and not isinstance(value, AsOfRule):
        return [_plain(each) for each in value]
    return [value.source, value.name] if isinstance(value, AsOfRule) else value


def feed_conflicts(table: Mapping[str, Any], valid: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Find the keys of a feed that do not go together.

    Args:
        table: The feed's table of the file.
        valid: Those of its keys that are valid by themselves.

    Yields:
        A key, and what is wrong with it.
    """
    if "kind" in table and ("kind_field" in table or "kinds" in table):
        yield "kind", "cannot be combined with kind_field and kinds; remove one or the others"
    elif "kind" not in table and not ("kind_field" in table and "kinds" in table):
        yield "kind", "is missing; give it, or kind_field and kinds"
    if valid.get("format") == "csv":
        yield from _conflicts_of_csv(table, valid)
    elif valid.get("format") == "geojson":
        for key in table.keys() & {"lon", "lat", "delimiter", "encoding"}:
            yield key, "is only for CSV"
    yield from _conflicts_of_time(valid.get("as_of"), valid.get("location"))
    yield from mapping_conflicts(table, valid)
    if {"fields", "attributes"}.isdisjoint(table.keys() - valid.keys()):
        targets = {*valid.get("fields", {}), *valid.get("attributes", {})}
        targets |= {"opening_hours"} if "hours" in table else set()
        for target in valid.get("values", {}).keys() - targets:
            close = did_you_mean(target, targets)
            yield "values", f"{target!r} is in neither fields nor attributes{close}"


def _conflicts_of_csv(
    table: Mapping[str, Any], valid: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    for key in {"lon", "lat"} - table.keys():
        yield key, "is missing; a CSV needs the names of the columns of its coordinates"
    if valid.get("record_id") == GEOJSON_ID:
        yield "record_id", f'"{GEOJSON_ID}" is only for GeoJSON; name a column'
    if valid.get("as_of", "").startswith("document:"):
        yield "as_of", "a CSV document has no members; use another rule"


def _conflicts_of_time(as_of: str | None, location: str | None) -> Iterator[tuple[str, str]]:
    if location is not None and as_of == "last_modified" and not is_http(location):
        why = "a file's own time changes when it is copied"
        yield "as_of", f'"last_modified" needs an http(s) location; {why}'
    if location is not None and as_of == "day_in_location" and not is_dated(location):
        yield "as_of", '"day_in_location" needs {day} in the location'
