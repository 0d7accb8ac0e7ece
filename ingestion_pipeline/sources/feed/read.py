"""Helper places of a city, from a feed's records: the columns that staging stores.

Every column is documented in docs/data-dictionary.md.
"""

from __future__ import annotations

import json
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
from ingestion_pipeline.sources.feed.errors import FeedShrunken, FeedSwapped
from ingestion_pipeline.sources.feed.hints import hints
from ingestion_pipeline.sources.feed.mapping import (
    MappedRecord,
    Place,
    columns_of,
    places_of,
    texts_unparsed,
)
from ingestion_pipeline.sources.feed.positions import ids_by_position
from ingestion_pipeline.sources.feed.records import read_records
from ingestion_pipeline.sources.feed.refusals import by_reason, in_words
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
    "unknown_status",
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
- `unknown_status`: its status is neither a word of the vocabulary nor in the table of values.
- `no_geometry`: it has none, or a collection of several types.
- `invalid_coordinates`: outside -180..180 / -90..90, or not a number.
- `too_much_text`: its properties or its id exceed the limits of `geometry/complexity.py`."""

_NOT_OF_GEOMETRY: tuple[FeedRejectionReason, ...] = (
    *("malformed", "invalid_text", "broken_text", "no_id", "unknown_kind", "unknown_status"),
)
"""Reasons of records that may have a geometry, and so may be outside the city."""

_TEXTS_SHOWN = 3
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
        skipped: The number of records that `where` and `where_not` leave out.
        unparsed: By column, the number of records whose text is not understood.
        unparsed_texts: By column, the most frequent of these texts.
    """

    table: pa.Table
    rejections: list[Rejection]
    outside: int
    skipped: int
    unparsed: Mapping[str, int]
    unparsed_texts: Mapping[str, Sequence[str]]


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
        The places; every record inside the boundary is at least one row, a rejection, or skipped.

    Raises:
        FeedUnreadable: The bytes do not match the feed's configuration.
        FeedEncodingWrong: They do not have the feed's encoding.
        FeedSwapped: Latitude and longitude are swapped.
        FeedShrunken: Too few places are in the city; the error has the rejections.
    """
    records = read_records(path, feed)
    mapped = [MappedRecord(values, feed) for values in records.values]
    # Of a record that is not of the feed's form, a condition cannot be read.
    used = np.array(
        [i in records.malformed or record.is_used for i, record in enumerate(mapped)], dtype=bool
    )
    kinds = [record.kinds()[0] if record.kinds() else None for record in mapped]
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
            "feed's table of kinds does not have; add it, or leave such records out with where_not"
        ),
    )
    reasons.add(
        "unknown_status",
        [record.status() is None for record in mapped],
        lambda i: (
            f"its status is {mapped[i].raw('status')!r}; add its meaning to the feed's values: "
            f"status = {{ {json.dumps(mapped[i].raw('status'), ensure_ascii=False)} = "
            '"operating" }, or "out_of_order"'
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
    placed &= used
    lon, lat = np.full((2, len(records)), np.nan)
    point_source = np.full(len(records), None, dtype=object)
    lon[placed], lat[placed], point_source[placed] = representative_points(geometry[placed])
    inside = np.zeros(len(records), dtype=bool)
    inside[placed] = boundary.owns(lon[placed], lat[placed])
    ids = records.ids
    if feed.record_id == POSITION_ID:
        texts = [canonical_json(each) for each in records.properties]
        ids = ids_by_position(kinds, lon, lat, texts, known=known)
    refs = [_ref(id_, kind) for id_, kind in zip(ids, kinds, strict=True)]
    reasons.add(
        "duplicate_id",
        _repeated(refs, among=inside & np.array(reasons.none_yet(), dtype=bool)),
        lambda i: f"an earlier record is {refs[i]} too",
    )
    keep = np.flatnonzero(inside & np.array(reasons.none_yet(), dtype=bool))
    keep = keep[np.argsort(np.array(refs, dtype=object)[keep], kind="stable")]
    outside = int((placed & ~inside).sum())
    rejections = reasons.rejections(but=(placed & ~inside) | ~used)
    skipped = int((~used).sum())
    places = _different(places_of(mapped, keep.tolist()), ids)
    _require_enough(
        len(places),
        feed,
        last_good=last_good,
        rejections=rejections,
        outside=outside,
        skipped=skipped,
        to_do=lambda: hints(records, geometry, rejections, feed, bbox=bbox),
    )
    at = np.array([place.record for place in places], dtype=np.intp)
    table = _table(
        feed,
        places=places,
        refs=[_ref(ids[place.record], place.kind) for place in places],
        mapped=[mapped[i] for i in at],
        properties=[records.properties[i] for i in at],
        namer=namer,
        geometry=geometry[at],
        quality=quality[at],
        lon=lon[at],
        lat=lat[at],
        point_source=point_source[at],
    )
    unparsed = texts_unparsed(mapped[i] for i in keep)
    return FeedPlaces(
        table=table,
        rejections=rejections,
        outside=outside,
        skipped=skipped,
        unparsed={name: texts.total() for name, texts in unparsed.items()},
        unparsed_texts={
            name: [text for text, _ in texts.most_common(_TEXTS_SHOWN)]
            for name, texts in unparsed.items()
        },
    )


def _ref(id_: str | None, kind: str | None) -> str:
    return f"{id_}#{kind}"


def _different(places: list[Place], ids: Sequence[str | None]) -> list[Place]:
    """Return the places in the order of their refs; a further one gives way to another record."""
    main = {_ref(ids[each.record], each.kind) for each in places if not each.is_further}
    found: dict[str, Place] = {}
    for place in places:
        ref = _ref(ids[place.record], place.kind)
        if not place.is_further or ref not in main:
            found.setdefault(ref, place)
    return [found[ref] for ref in sorted(found)]


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


def _has_too_much_text(id_: str | None, properties: Mapping[str, Any]) -> bool:
    return len(id_ or "") > MAX_ID or has_too_much_text(
        {key: str(value) for key, value in properties.items()}
    )


def _empty_id(feed: Feed) -> str:
    return f"{', '.join(feed.id_fields) or feed.record_id}: empty"


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
    skipped: int,
    to_do: Callable[[], str],
) -> None:
    """Check the number of places; the error has the rejections, and names the key that helps."""
    found = by_reason(rejections)
    left_out = f", {skipped} are left out by where and where_not" if skipped else ""
    what = (
        f"{feed.public_location}: feed {feed.slug} has {count} places in the city "
        f"({len(rejections)} records were rejected, {outside} are outside{left_out}), fewer than"
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
    places: list[Place],
    refs: list[str],
    mapped: list[MappedRecord],
    properties: list[dict[str, Any]],
    namer: Namer,
    geometry: npt.NDArray[np.object_],
    quality: npt.NDArray[np.object_],
    lon: FloatArray,
    lat: FloatArray,
    point_source: npt.NDArray[np.object_],
) -> pa.Table:
    import shapely

    names = [record.names() for record in mapped]
    display = [namer.display_name(each) for each in names]
    columns = [columns_of(*each) for each in zip(places, mapped, strict=True)]
    attributes: list[dict[str, str]] = [
        {} if place.is_further else record.attributes()
        for place, record in zip(places, mapped, strict=True)
    ]
    table = helper_rows(
        len(refs),
        {
            "source_ref": refs,
            "kind": [place.kind for place in places],
            "name": [each.name for each in display],
            "name_source": [each.source for each in display],
            "names": [canonical_json(names_by_language(each)) for each in names],
            "tags": [canonical_json(each) for each in properties],
            "geometry": shapely.to_wkb(geometry, byte_order=1),
            "lon": lon,
            "lat": lat,
            "point_source": point_source.tolist(),
            "geom_quality": quality.tolist(),
            **{name: [each[name] for each in columns] for name in ATTRIBUTE_COLUMNS},
            "opening_hours": [record.opening_hours() for record in mapped],
            "attributes": list(map(canonical_json, attributes)),
            "status": [record.status() for record in mapped],
            "licence": feed.licence,
            "attribution": feed.attribution,
        },
    )
    return with_source_hash(table)
