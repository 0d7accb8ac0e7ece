"""Helper places of a city, from a feed's records: the columns that staging stores.

Every column is documented in docs/data-dictionary.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ingestion_pipeline.columns.hashing import canonical_json, with_source_hash
from ingestion_pipeline.config.feeds import POSITION_ID
from ingestion_pipeline.core.characters import storable
from ingestion_pipeline.core.rejection import Rejection
from ingestion_pipeline.geometry.complexity import (
    MAX_ID,
    MAX_TEXT,
    flaws,
    has_too_much_text,
    rings_of,
)
from ingestion_pipeline.geometry.points import representative_points
from ingestion_pipeline.helpers.rows import ATTRIBUTE_COLUMNS, helper_rows
from ingestion_pipeline.helpers.vocabulary import known_value
from ingestion_pipeline.sources.feed.errors import FeedShrunken, FeedSwapped
from ingestion_pipeline.sources.feed.hints import hints
from ingestion_pipeline.sources.feed.positions import ids_by_position
from ingestion_pipeline.sources.feed.records import read_records
from ingestion_pipeline.sources.feed.refusals import by_reason, in_words
from ingestion_pipeline.text.hours import normalized_hours
from ingestion_pipeline.text.names import names_by_language

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt
    import pyarrow as pa

    from ingestion_pipeline.config.feeds import Feed
    from ingestion_pipeline.core.arrays import FloatArray
    from ingestion_pipeline.core.boundary import Boundary
    from ingestion_pipeline.sources.feed.positions import Anchor
    from ingestion_pipeline.sources.feed.records import Records
    from ingestion_pipeline.text.names import Namer


SHRUNKEN_SHARE = 0.5
"""The minimum share of the places of the last good version."""

FeedRejectionReason = Literal[
    "malformed",
    "invalid_text",
    "broken_text",
    "too_much_text",
    "no_id",
    "duplicate_id",
    "unknown_kind",
    "no_geometry",
    "invalid_coordinates",
]
"""Why a record of a feed is not staged (documented in docs/data-dictionary.md).

- `malformed`: its row of a CSV has another number of cells than the header.
- `invalid_text`: it contains text that no database stores (`core/characters.py`).
- `broken_text`: a mapped text has U+FFFD in place of letters that the publisher has lost.
- `no_id`: it has no id, so it could not be recognized on another day.
- `duplicate_id`: an earlier record has its id and its kind.
- `unknown_kind`: the table of kinds does not have its value.
- `no_geometry`: it has none, or a collection of several types.
- `invalid_coordinates`: outside -180..180 / -90..90, or not a number.
- `too_much_text`: its properties or its id exceed the limits of `geometry/complexity.py`."""

_LINE_BREAK = re.compile(r"\s*[\r\n\t]\s*")
_NOT_OF_GEOMETRY: tuple[FeedRejectionReason, ...] = (
    *("malformed", "invalid_text", "broken_text", "no_id", "unknown_kind"),
)
"""Reasons of records that may have a geometry, and so may be outside the city."""

_MAIN_GEOMETRIES = 6  # GEOS type ids of points, lines, areas and their Multi forms


@dataclass(frozen=True)
class FeedPlaces:
    """The helper places of one feed, city and day.

    Attributes:
        table: One row per place, ordered by `source_ref`; columns of `helper_place` from `kind`
            on, and `source_ref` and `source_hash`. Geometry is WKB (EPSG:4326, lon lat). JSON
            columns are canonical text.
        rejections: Records that are not staged, and why.
        outside: The number of records outside the city's boundary.
        unparsed_opening_hours: The number of places with opening hours that cannot be parsed.
    """

    table: pa.Table
    rejections: list[Rejection]
    outside: int
    unparsed_opening_hours: int


def read_feed(
    path: Path,
    feed: Feed,
    *,
    bbox: Sequence[float],
    boundary: Boundary,
    namer: Namer,
    last_good: int | None = None,
    known: Sequence[Anchor] = (),
) -> FeedPlaces:
    """Read the helper places of a city from a feed's bytes.

    Args:
        path: The bytes.
        feed: The feed.
        bbox: The city's window: west, south, east, north in WGS 84 degrees.
        boundary: The city's boundary; it owns the representative points of the city's records.
        namer: Chooses the names for the city's readers.
        last_good: The number of places in the last good version of the feed, if there is one.
        known: For a feed with ids by position: the places of its last good version.

    Returns:
        The places; every record inside the boundary is either a row or a rejection.

    Raises:
        FeedUnreadable: The bytes do not match the feed's configuration.
        FeedEncodingWrong: They do not have the feed's encoding.
        FeedSwapped: Latitude and longitude are swapped.
        FeedShrunken: Too few places are in the city; the error has the rejections.
    """
    records = read_records(path, feed)
    kinds = _kinds(records, feed)
    reasons = _Reasons(records)
    reasons.add(
        "malformed",
        [i in records.malformed for i in range(len(records))],
        lambda i: records.malformed[i],
    )
    reasons.add(
        "invalid_text",
        records.have_invalid_text(),
        lambda _: f"a text is not {feed.encoding}, or contains U+0000 or an unpaired surrogate",
    )
    reasons.add(
        "too_much_text",
        [_has_too_much_text(*each) for each in zip(records.ids, records.properties, strict=True)],
        lambda _: f"its text has more than {MAX_TEXT} characters, or its id more than {MAX_ID}",
    )
    reasons.add(
        "broken_text",
        [name is not None for name in records.broken],
        lambda i: f"{records.broken[i]} has U+FFFD in place of letters that are lost",
    )
    if feed.record_id != POSITION_ID:
        reasons.add("no_id", [id_ is None for id_ in records.ids], lambda _: _empty_id(feed))
    reasons.add(
        "unknown_kind",
        [kind is None for kind in kinds],
        lambda i: (
            f"{feed.kind_field} is {records.values[i].get(feed.kind_field or '')!r}, which the "
            "feed's table of kinds does not have"
        ),
    )
    geometry, quality = _sound(records.geometry)
    missing = [shape is None for shape in geometry]
    reasons.add(
        "no_geometry",
        missing,
        lambda i: records.problems.get(i, "its geometry is not a point, line or area"),
    )
    _require_not_swapped(geometry, bbox, feed)
    off_earth = _off_earth(geometry)
    reasons.add("invalid_coordinates", off_earth, lambda i: str(geometry[i])[:100])
    # Only the first reason of a record counts, and a record without an id may lack a geometry too.
    may_be_placed = np.array(reasons.none_yet(but=_NOT_OF_GEOMETRY), dtype=bool)
    placed = may_be_placed & ~(np.array(missing, dtype=bool) | np.array(off_earth, dtype=bool))
    lon, lat = np.full((2, len(records)), np.nan)
    point_source = np.full(len(records), None, dtype=object)
    lon[placed], lat[placed], point_source[placed] = representative_points(geometry[placed])
    inside = np.zeros(len(records), dtype=bool)
    inside[placed] = boundary.owns(lon[placed], lat[placed])
    ids = records.ids
    if feed.record_id == POSITION_ID:
        texts = [canonical_json(each) for each in records.properties]
        ids = ids_by_position(kinds, lon, lat, texts, known=known)
    refs = [f"{id_}#{kind}" for id_, kind in zip(ids, kinds, strict=True)]
    reasons.add(
        "duplicate_id",
        _repeated(refs, among=inside & np.array(reasons.none_yet(), dtype=bool)),
        lambda i: f"an earlier record is {refs[i]} too",
    )
    keep = np.flatnonzero(inside & np.array(reasons.none_yet(), dtype=bool))
    keep = keep[np.argsort(np.array(refs, dtype=object)[keep], kind="stable")]
    outside = int((placed & ~inside).sum())
    rejections = reasons.rejections(but=placed & ~inside)
    _require_enough(
        len(keep),
        feed,
        last_good=last_good,
        rejections=rejections,
        outside=outside,
        to_do=lambda: hints(records, geometry, rejections, feed, bbox=bbox),
    )
    values = [_Values(records.properties[i], records.values[i], feed) for i in keep]
    hours = [value.of("opening_hours") for value in values]
    parsed = [None if text is None else normalized_hours(text) for text in hours]
    table = _table(
        feed,
        refs=[refs[i] for i in keep],
        kinds=[kinds[i] for i in keep],
        values=values,
        namer=namer,
        hours=parsed,
        geometry=geometry[keep],
        quality=quality[keep],
        lon=lon[keep],
        lat=lat[keep],
        point_source=point_source[keep],
    )
    return FeedPlaces(
        table=table,
        rejections=rejections,
        outside=outside,
        unparsed_opening_hours=sum(
            raw is not None and text is None for raw, text in zip(hours, parsed, strict=True)
        ),
    )


class _Reasons:
    """Reasons for rejection; the first reason of each record counts."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._of: dict[int, tuple[FeedRejectionReason, str]] = {}

    def add(
        self, reason: FeedRejectionReason, applies: Sequence[bool], detail: Callable[[int], str]
    ) -> None:
        for index in np.flatnonzero(np.array(applies, dtype=bool)).tolist():
            self._of.setdefault(index, (reason, detail(index)))

    def none_yet(self, *, but: Sequence[FeedRejectionReason] = ()) -> list[bool]:
        return [
            index not in self._of or self._of[index][0] in but
            for index in range(len(self._records))
        ]

    def rejections(self, *, but: npt.NDArray[np.bool_]) -> list[Rejection]:
        return [
            Rejection(
                f"record/{index + 1}",
                reason,
                detail,
                storable(self._records.properties[index]) if reason != "too_much_text" else {},
            )
            for index, (reason, detail) in sorted(self._of.items())
            if not but[index]
        ]


class _Values:
    """The values of one record's columns, translated by the feed's tables."""

    def __init__(self, properties: dict[str, Any], values: Mapping[str, Any], feed: Feed) -> None:
        self.properties = properties
        self._values = values
        self._feed = feed

    def of(self, target: str) -> str | None:
        return self._translated(target, self._feed.fields.get(target))

    def names(self) -> dict[str, str]:
        """Return the names by the keys of OpenStreetMap."""
        found = {
            target: self.of(target)
            for target in self._feed.fields
            if target.partition(":")[0] == "name"
        }
        return {
            target: _LINE_BREAK.sub(" ", name) for target, name in found.items() if name is not None
        }

    def attributes(self) -> dict[str, str]:
        found = {
            target: self._translated(target, name) for target, name in self._feed.attributes.items()
        }
        return {target: value for target, value in found.items() if value is not None}

    def _translated(self, target: str, name: str | None) -> str | None:
        """Return a field's text; None if the feed's table of values lacks it."""
        text = _as_text(self._values.get(name)) if name is not None else None
        meanings = self._feed.values.get(target)
        return text if meanings is None or text is None else meanings.get(text)


def _has_too_much_text(id_: str | None, properties: Mapping[str, Any]) -> bool:
    return len(id_ or "") > MAX_ID or has_too_much_text(
        {key: str(value) for key, value in properties.items()}
    )


def _empty_id(feed: Feed) -> str:
    return f"{', '.join(feed.id_fields) or feed.record_id}: empty"


def _as_text(value: object) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, int | float):
        # A double keeps 15 decimal digits; 2.0 becomes 2.
        return format(value, ".15g") if isinstance(value, float) else str(value)
    return None if value is None else canonical_json(value)


def _kinds(records: Records, feed: Feed) -> list[str | None]:
    if feed.kind_field is None:
        return [feed.kind] * len(records)
    name = feed.kind_field
    return [feed.kinds.get(_as_text(values.get(name)) or "") for values in records.values]


def _sound(
    given: npt.NDArray[np.object_],
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
    """Return (N,) valid 2D geometries of one type each, or None, and their quality."""
    import shapely

    flat = shapely.force_2d(given)
    whole = ~(shapely.is_missing(flat) | shapely.is_empty(flat))
    broken, too_complex = np.zeros((2, len(flat)), np.bool_)
    areas = whole & (shapely.get_dimensions(flat) == 2)  # noqa: PLR2004
    broken[areas], too_complex[areas] = flaws(flat[areas])
    flat[broken] = shapely.make_valid(flat[broken], method="structure")
    flat[too_complex] = [_edges(area) for area in flat[too_complex]]
    areas = whole & (shapely.get_dimensions(flat) == 2)  # noqa: PLR2004
    flat[areas] = shapely.normalize(flat[areas])
    one_sort = whole & (shapely.get_type_id(flat) <= _MAIN_GEOMETRIES) & ~shapely.is_empty(flat)
    quality = np.where(broken, "repaired", "exact").astype(object)
    quality[too_complex] = "too_complex"
    flat[~one_sort] = None
    return flat, quality


def _edges(area: Any) -> Any:
    import shapely

    return shapely.multilinestrings(rings_of(np.array([area], dtype=object)))


def _off_earth(geometry: npt.NDArray[np.object_]) -> list[bool]:
    import shapely

    west, south, east, north = shapely.bounds(geometry).T
    on_earth = (west >= -180) & (east <= 180) & (south >= -90) & (north <= 90)  # noqa: PLR2004
    off: list[bool] = (~shapely.is_missing(geometry) & ~on_earth).tolist()
    return off


def _require_not_swapped(
    geometry: npt.NDArray[np.object_], bbox: Sequence[float], feed: Feed
) -> None:
    """Reject places most of which are in the city only if longitude and latitude are swapped."""
    import shapely

    bounds = shapely.bounds(geometry[~shapely.is_missing(geometry)])
    lon, lat = bounds[:, [0, 2]].mean(axis=1), bounds[:, [1, 3]].mean(axis=1)
    west, south, east, north = bbox
    inside = (west <= lon) & (lon <= east) & (south <= lat) & (lat <= north)
    swapped = ~inside & (west <= lat) & (lat <= east) & (south <= lon) & (lon <= north)
    if swapped.sum() * 2 > len(lon):
        raise FeedSwapped(
            f"{feed.public_location}: {swapped.sum()} of the {len(lon)} places of feed {feed.slug} "
            "are in the city only if longitude and latitude are swapped. " + _advice_on_order(feed)
        )


def _advice_on_order(feed: Feed) -> str:
    if feed.lat_lon is not None:
        return f'Set lon_lat = "{feed.lat_lon}" instead of lat_lon.'
    if feed.lon_lat is not None:
        return f'Set lat_lon = "{feed.lon_lat}" instead of lon_lat.'
    if feed.lon is not None:
        return "Swap lon and lat in the cities file."
    return (
        "GeoJSON has longitude first (RFC 7946), as other formats have. Ask the publisher to "
        "correct it, or use other fields for lon and lat."
    )


def _repeated(refs: Sequence[str], *, among: npt.NDArray[np.bool_]) -> list[bool]:
    seen: set[str] = set()
    repeated = []
    for ref, counts in zip(refs, among.tolist(), strict=True):
        repeated.append(counts and ref in seen)
        if counts:
            seen.add(ref)
    return repeated


def _require_enough(
    count: int,
    feed: Feed,
    *,
    last_good: int | None,
    rejections: list[Rejection],
    outside: int,
    to_do: Callable[[], str],
) -> None:
    """Check the number of places; the error has the rejections, and names the key that helps."""
    found = by_reason(rejections)
    what = (
        f"{feed.public_location}: feed {feed.slug} has {count} places in the city "
        f"({len(rejections)} records were rejected, {outside} are outside), fewer than"
    )
    if count < feed.minimum:
        raise FeedShrunken(
            f"{what} its minimum of {feed.minimum}.{in_words(found)} "
            + (to_do() or "Check the publisher's data, or lower minimum in the cities file."),
            rejections=found,
        )
    if has_shrunken(count, last_good):
        raise FeedShrunken(
            f"{what} half of the {last_good} of its last good version.{in_words(found)} "
            + (
                to_do()
                or "Check the publisher's data. If it is correct, accept the day with a reason."
            ),
            rejections=found,
        )


def has_shrunken(count: int, last_good: int | None) -> bool:
    """Return whether a feed has far fewer places than its last good version, if there is one."""
    return last_good is not None and count < SHRUNKEN_SHARE * last_good


def _table(
    feed: Feed,
    *,
    refs: list[str],
    kinds: list[str | None],
    values: list[_Values],
    namer: Namer,
    hours: list[str | None],
    geometry: npt.NDArray[np.object_],
    quality: npt.NDArray[np.object_],
    lon: FloatArray,
    lat: FloatArray,
    point_source: npt.NDArray[np.object_],
) -> pa.Table:
    import shapely

    names = [value.names() for value in values]
    display = [namer.display_name(each) for each in names]
    table = helper_rows(
        len(refs),
        {
            "source_ref": refs,
            "kind": kinds,
            "name": [each.name for each in display],
            "name_source": [each.source for each in display],
            "names": [canonical_json(names_by_language(each)) for each in names],
            "tags": [canonical_json(value.properties) for value in values],
            "geometry": shapely.to_wkb(geometry, byte_order=1),
            "lon": lon,
            "lat": lat,
            "point_source": point_source.tolist(),
            "geom_quality": quality.tolist(),
            **{
                name: [known_value(name, value.of(name)) for value in values]
                for name in ATTRIBUTE_COLUMNS
            },
            "opening_hours": hours,
            "attributes": [canonical_json(value.attributes()) for value in values],
            "status": "operating",
            "licence": feed.licence,
            "attribution": feed.attribution,
        },
    )
    return with_source_hash(table)
