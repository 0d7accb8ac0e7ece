"""Feeds of helper places as data: where one is, how it is read, and how it may be used.

Belongs here: `Feed`, and the rules of the tables `[[city.feed]]` (the keys are explained in
docs/adding-a-city.md). Does not belong here: fetching and reading a feed (`sources/feed/`).
"""

import codecs
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, field, fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, cast, get_args

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
from ingestion_pipeline.core.json_paths import is_path
from ingestion_pipeline.core.locations import Endpoint, is_dated, redacted, require_template
from ingestion_pipeline.helpers.kinds import KINDS
from ingestion_pipeline.helpers.licences import LICENCES, Licence, Verdict, judge

AsOfSource = Literal[
    "last_modified", "day_in_location", "newest_record", "document", "metadata", "fetched"
]
"""How the time of a feed's data is known (documented in docs/data-dictionary.md).

- `last_modified`: the `Last-Modified` header of the HTTP response.
- `day_in_location`: the start of the day that its dated location names.
- `newest_record`: the latest time in a field of its records.
- `document`: a member of the document.
- `metadata`: a member of another document, which the publisher has about the feed.
- `fetched`: the publisher gives no time. It is the time of the request, for the current day only.
"""

Format = Literal[
    "geojson",
    "csv",
    "json",
    "geopackage",
    "shapefile",
    "kml",
    "flatgeobuf",
    "gml",
    "xlsx",
    "ods",
    "xml",
]
"""The formats of feeds. A `.gz`, or a file in a zip archive, is unpacked first."""

FORMATS: tuple[str, ...] = get_args(Format)

BY_GDAL = frozenset({"geopackage", "shapefile", "kml", "flatgeobuf", "gml", "xlsx", "ods"})
"""Formats that GDAL reads."""

WITH_GEOMETRY = frozenset({"geojson", "geopackage", "shapefile", "kml", "flatgeobuf", "gml"})
"""Formats whose records have a geometry of their own."""

WITH_LAYERS = frozenset({"geopackage", "shapefile", "kml", "gml", "xlsx", "ods"})
"""Formats whose files may have several layers or sheets."""

SHEETS = frozenset({"xlsx", "ods"})
"""Formats of spreadsheets."""

_ONLY_FOR: Mapping[str, frozenset[str]] = {
    "columns": frozenset({"csv"}),
    "skip_lines": SHEETS | {"csv"},
    "delimiter": frozenset({"csv"}),
    "encoding": frozenset({"csv", "json", "shapefile"}),
    "records": frozenset({"json", "xml"}),
    "pages": frozenset({"json", "geojson"}),
    "layer": WITH_LAYERS,
}
"""The formats for which a key has a meaning."""

COLUMNS = ("access", "fee", "wheelchair", "opening_hours", "level", "operator", "status")
"""The columns of `helper_place` that `fields` may name, besides names."""

GEOJSON_ID = "@id"
"""The value of `record_id` for a GeoJSON feature's own `id`, which is not one of its properties."""

POSITION_ID = "@position"
"""The value of `record_id` for an id that is derived from the position."""

_POSITION_KEYS = ("lon", "lat", "lat_lon", "lon_lat", "geometry")
_WAYS_OF_POSITION = "lon and lat, or one of lat_lon, lon_lat and geometry"


class AsOfRule(NamedTuple):
    """The rule for the time of a feed's data.

    Attributes:
        source: Where the time comes from.
        name: For `newest_record` the field, for `document` and `metadata` the path of the member,
            else empty.
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


def _path(value: str) -> str:
    if not is_path(value):
        raise ValueError("it is not a path in JMESPath, such as data.stations")
    return value


@cache
def _has_definition(crs: str) -> bool:
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        CRS.from_user_input(crs)
    except CRSError:
        return False
    return True


def _crs(value: str) -> str:
    if not _has_definition(value):
        raise ValueError(f"{value} is not in the EPSG register")
    return value


def _time_format(value: str) -> str:
    if value in EPOCHS:
        return value
    try:
        datetime.strptime(datetime(2000, 1, 2, tzinfo=UTC).strftime(value), value)  # noqa: DTZ007
    except ValueError as error:
        raise ValueError(str(error)) from None
    if "%" not in value:
        raise ValueError
    return value


EPOCHS: Mapping[str, int] = {"epoch": 1, "epoch_ms": 1000}
"""Words for times that count from 1970-01-01 UTC, with their number in a second."""


@dataclass(frozen=True, slots=True, kw_only=True, config=TABLE)
class Pages:
    """How the pages of an API follow each other: by a link, or by an offset."""

    next: Annotated[Text, AfterValidator(_path)] | None = None
    """The path of the next page's URL in each page."""
    offset: Text | None = None
    """The query parameter for the number of records before the page."""
    limit: Text | None = None
    """The query parameter for the number of records of a page."""
    size: PositiveInt = 1000
    """The value of `limit`. A server may send fewer records."""
    maximum: PositiveInt = 200
    """A feed with more pages is refused."""


_AS_OF = r"^(last_modified|day_in_location|fetched|(record|document|metadata):.*\S.*)$"


def _as_of(value: object) -> AsOfRule:
    if isinstance(value, AsOfRule):
        return value
    found = re.fullmatch(_AS_OF, value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("that a feed is said to be updated every day is no evidence for a day")
    source, _, name = found[0].partition(":")
    return AsOfRule(cast("AsOfSource", {"record": "newest_record"}.get(source, source)), name)


def _record_id(value: object) -> str | tuple[str, ...]:
    if isinstance(value, str) and value.strip():
        return value
    if (
        isinstance(value, list | tuple)
        and value
        and all(isinstance(name, str) and name.strip() for name in value)
    ):
        return tuple(value)
    raise ValueError


_RecordId = Text | Annotated[list[Text], Field(min_length=1)]

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
    format: Annotated[Format, Expected(f"one of {', '.join(FORMATS)}")]
    """The format of the file. A `.gz`, or a file in a zip archive, is unpacked first."""
    member: Text | None = None
    """The file in a zip archive, if the archive has several of the format."""
    layer: Text | None = None
    """The layer or sheet, if the file has several; `*` for all, whose names are then in the field
    `@layer`."""
    records: Annotated[Text, AfterValidator(_path), Expected('a path, such as "data.stations"')] = (
        "@"
    )
    """JSON: the path of the list of records. Default: the document is the list."""
    columns: (
        Annotated[
            tuple[Text, ...], Field(min_length=1), Expected('names, such as ["id", "lat", "lon"]')
        ]
        | None
    ) = None
    """CSV: the names of the columns, if the file has no header."""
    skip_lines: Annotated[
        int, Field(strict=True, ge=0, le=1000), Expected("a whole number of lines, at most 1000")
    ] = 0
    """CSV and XLSX: the number of lines before the header."""
    headers: Annotated[
        Mapping[
            Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")],
            Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")],
        ],
        Expected('a table of HTTP headers and names of secrets, such as { X-Api-Key = "transit" }'),
    ] = field(default_factory=dict, hash=False)
    """HTTP headers with secret values. The value of the secret `transit` is in the environment
    variable `FEED_SECRET__TRANSIT`. They are sent to the server of the location and no other."""
    pages: Annotated[
        Pages | None,
        Expected('{ next = "links.next" }, or { offset = "offset", limit = "limit", size = 100 }'),
    ] = None
    """How the pages of an API follow each other."""
    record_id: Annotated[
        str | tuple[str, ...],
        PlainValidator(_record_id, json_schema_input_type=_RecordId),
        Expected('a field, a list of fields, "@id" or "@position"'),
    ]
    """The field with the permanent id of a record; several fields whose values are joined; `@id`
    for the `id` of a GeoJSON feature; or `@position` for an id that is derived from kind and
    position. A record without an id, or with the id of an earlier record, is rejected."""
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
    """The field with the longitude, or with the easting in `crs`."""
    lat: Text | None = None
    """The field with the latitude, or with the northing in `crs`."""
    lat_lon: Text | None = None
    """The field with latitude and longitude in one text, such as `48.84, 2.30`."""
    lon_lat: Text | None = None
    """The field with longitude and latitude in one text."""
    geometry: Text | None = None
    """The field with a geometry as WKT, as WKB in hexadecimal, or as GeoJSON."""
    crs: (
        Annotated[
            str,
            Field(pattern="^EPSG:[0-9]{4,6}$"),
            AfterValidator(_crs),
            Expected('a coordinate system of the EPSG register, such as "EPSG:27700"'),
        ]
        | None
    ) = None
    """The coordinate system. Default: the one that the file names, otherwise WGS 84."""
    decimal: Annotated[Literal[".", ","], Expected('"." or ","')] = "."
    """The decimal mark of coordinates in texts."""
    delimiter: Annotated[
        str, Field(pattern=r'^[^"\r\n]$'), Expected('one character, such as ";"')
    ] = ","
    """CSV: the character between columns."""
    encoding: Annotated[
        str,
        AfterValidator(_encoding),
        Expected('an encoding that Python knows, such as "utf-8" or "cp1251"'),
    ] = "utf-8"
    """The encoding of CSV, JSON and the table of a shapefile. GeoJSON is always UTF-8 (RFC 7946).
    """
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
        Expected(
            '"last_modified", "day_in_location", "record:<field>", "document:<member>", '
            '"metadata:<member>" or "fetched"'
        ),
    ]
    """How the time of the data is known."""
    metadata_location: (
        Annotated[Text, AfterValidator(_location), Expected("an http(s) URL of a JSON document")]
        | None
    ) = field(default=None, repr=False)
    """The URL of the JSON document that `metadata:<member>` is a member of."""
    time_format: (
        Annotated[
            Text,
            AfterValidator(_time_format),
            Expected('"epoch", "epoch_ms", or directives of strptime such as "%d/%m/%Y"'),
        ]
        | None
    ) = None
    """The form of times in records, documents and metadata. Default: ISO 8601."""
    maximum_age_days: Annotated[
        int, Field(strict=True, ge=1, le=9999), Expected("a whole number of days from 1 to 9999")
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
        keys = (each.name for each in fields(self) if each.name not in _LOCATIONS)
        return digest({key: _plain(getattr(self, key)) for key in keys if self._counts(key)})

    @property
    def asks(self) -> str:
        """A digest of location and time rule: stored bytes with another one are of another feed."""
        more: dict[str, object] = {
            key: _plain(getattr(self, key)) for key in ("pages", "time_format") if self._counts(key)
        }
        if self.metadata_location is not None:
            more["metadata_location"] = redacted(self.metadata_location)
        return digest([self.public_location, *self.as_of, *([more] if more else [])])

    def _counts(self, key: str) -> bool:
        """Return whether a key is part of digests: always, or if it is set.

        Keys of later releases count if they are set, so that the digests of other feeds, whose days
        are staged already, stay what they are.
        """
        return key in _KEYS_OF_FIRST_RELEASE or getattr(self, key) != _default_of(key)

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The fields of a record's id; none for `@id` and `@position`."""
        given = (self.record_id,) if isinstance(self.record_id, str) else self.record_id
        return tuple(name for name in given if name not in (GEOJSON_ID, POSITION_ID))

    @property
    def named_fields(self) -> frozenset[str]:
        """All fields that the table names."""
        named = {*self.id_fields, *self.mapped_fields}
        if self.as_of.source == "newest_record":
            named.add(self.as_of.name)
        keys = (getattr(self, key) for key in _POSITION_KEYS)
        return frozenset(named.union(key for key in keys if key is not None))

    @property
    def mapped_fields(self) -> dict[str, list[str]]:
        """The fields that the mapping names, each with the keys or targets that name it."""
        named: list[tuple[str, str]] = []
        if self.kind_field is not None:
            named.append((self.kind_field, "kind_field"))
        conditions = (("where", self.where), ("where_not", self.where_not), *self.also.items())
        named += [(name, key) for key, condition in conditions for name in condition]
        for target, names in (*self.fields.items(), *self.attributes.items()):
            named += [(name, target) for name in ((names,) if isinstance(names, str) else names)]
        for days, names in self.hours.items():
            if names not in STATES:
                both = (names,) if isinstance(names, str) else names
                named += [(name, f"opening_hours {days}") for name in both]
        found: dict[str, list[str]] = {}
        for name, key in named:
            found.setdefault(name, []).append(key)
        return found

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


_LOCATIONS = ("location", "metadata_location")

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
    if "format" in valid:
        yield from _conflicts_of_format(table, valid)
    yield from _conflicts_of_position(table, valid)
    yield from _conflicts_of_requests(table, valid)
    yield from _conflicts_of_time(table, valid)
    yield from mapping_conflicts(table, valid)
    if {"fields", "attributes"}.isdisjoint(table.keys() - valid.keys()):
        targets = {*valid.get("fields", {}), *valid.get("attributes", {})}
        targets |= {"opening_hours"} if "hours" in table else set()
        for target in valid.get("values", {}).keys() - targets:
            close = did_you_mean(target, targets)
            yield "values", f"{target!r} is in neither fields nor attributes{close}"


def _conflicts_of_format(
    table: Mapping[str, Any], valid: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    form = valid["format"]
    for key in sorted(table.keys() & _ONLY_FOR.keys()):
        if form not in _ONLY_FOR[key]:
            yield key, f"is only for {_listed(_ONLY_FOR[key])}"
    if valid.get("record_id") == GEOJSON_ID and form != "geojson":
        yield "record_id", f'"{GEOJSON_ID}" is only for GeoJSON; name a column'
    as_of = valid.get("as_of", "")
    if as_of.startswith("document:") and form not in ("json", "geojson", "xml"):
        named = "CSV" if form == "csv" else form
        yield "as_of", f"a {named} document has no members; use another rule"


def _conflicts_of_position(
    table: Mapping[str, Any], valid: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    given = [key for key in _POSITION_KEYS if key in table]
    if given in (["lon"], ["lat"]):
        (missing,) = {"lon", "lat"} - set(given)
        yield missing, f"is missing; {given[0]} needs it"
    elif len(given) > 1 and given != ["lon", "lat"]:
        yield given[-1], f"cannot be combined with {_listed(given[:-1])}; use {_WAYS_OF_POSITION}"
    elif not given and "format" in valid and valid["format"] not in WITH_GEOMETRY:
        form = "CSV" if valid["format"] == "csv" else valid["format"]
        yield "lon", f"is missing; a {form} needs its coordinates: {_WAYS_OF_POSITION}"
    if "decimal" in table and not given:
        yield "decimal", f"is only for coordinates in texts: {_WAYS_OF_POSITION}"
    ids = valid.get("record_id")
    if isinstance(ids, list) and (len(ids) != len(set(ids)) or {GEOJSON_ID, POSITION_ID} & {*ids}):
        yield "record_id", "a list has different fields; use @id and @position by themselves"


def _conflicts_of_requests(
    table: Mapping[str, Any], valid: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    for key in ("headers", "pages"):
        if key in table and "location" in valid and not is_http(valid["location"]):
            yield key, "needs an http(s) location"
    pages = valid.get("pages")
    if pages is not None:
        by_link, by_offset = "next" in pages, {"offset", "limit"} <= pages.keys()
        if by_link == by_offset or (by_link and pages.keys() & {"offset", "limit", "size"}):
            yield "pages", "give next, or offset and limit (and size)"


def _conflicts_of_time(
    table: Mapping[str, Any], valid: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    as_of, location = valid.get("as_of"), valid.get("location")
    if location is not None and as_of == "last_modified" and not is_http(location):
        why = "a file's own time changes when it is copied"
        yield "as_of", f'"last_modified" needs an http(s) location; {why}'
    if location is not None and as_of == "day_in_location" and not is_dated(location):
        yield "as_of", '"day_in_location" needs {day} in the location'
    if as_of in ("last_modified", "day_in_location") and "pages" in valid:
        yield "as_of", f'"{as_of}" is of one page; use a field, or another rule'
    if as_of is None:
        return
    if as_of.startswith("metadata:") != ("metadata_location" in table):
        yield "metadata_location", 'belongs to as_of = "metadata:<member>"; give both or neither'
    elif "metadata_location" in valid and not is_http(valid["metadata_location"]):
        yield "metadata_location", "needs an http(s) URL"
    if "time_format" in table and not as_of.startswith(("record:", "document:", "metadata:")):
        yield "time_format", "is only for times of records, documents and metadata"


def _listed(words: Collection[str]) -> str:
    """Return words for a message; formats are named in the order of `FORMATS`."""
    order = [*FORMATS, *_POSITION_KEYS]
    named = sorted(words, key=order.index)
    return ", ".join({"csv": "CSV"}.get(word, word) for word in named)
