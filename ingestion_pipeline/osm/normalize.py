"""POI rows of a city, made from features: the columns that staging stores.

Every column is documented in docs/data-dictionary.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ingestion_pipeline.columns.arrow import numbers, texts
from ingestion_pipeline.columns.hashing import canonical_texts, with_content_hash, with_source_hash
from ingestion_pipeline.columns.rows import rows_of
from ingestion_pipeline.core.evidence import OSM_ATTRIBUTION, OSM_LICENCE
from ingestion_pipeline.core.parallel import on_spans
from ingestion_pipeline.core.rejection import Rejection, RejectionReason
from ingestion_pipeline.osm.assemble import areas_m2, take
from ingestion_pipeline.osm.locate import Located, locate
from ingestion_pipeline.text.contacts import NOT_UNDERSTOOD, contacts
from ingestion_pipeline.text.dates import status_on
from ingestion_pipeline.text.hours import normalized_hours
from ingestion_pipeline.text.names import OPERATING, Namer, names_by_language

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    import numpy.typing as npt
    import pyarrow as pa

    from ingestion_pipeline.core.boundary import Boundary
    from ingestion_pipeline.osm.features import Features
    from ingestion_pipeline.osm.taxonomy import Taxonomy

    BoolArray = npt.NDArray[np.bool_]

_WORTH_FORKING = 20_000
"""The number of rows for which several processes pay off; a second of work."""

_SETS_WORTH_FORKING = 4_000
"""The number of sets of tags for which several processes pay off."""

_COLUMNS = (
    *("source_ref", "osm_type", "osm_id", "osm_version", "osm_timestamp"),
    *("category", "categories", "name", "name_source", "names", "tags"),
    *("geometry", "lon", "lat", "point_source", "geom_quality", "area_m2"),
    *("address", "contact", "opening_hours", "wikidata", "status"),
    *("licence", "attribution"),
)
"""`source_ref`, and the content columns of `poi_ingestion_staging` in their order."""

_WIKIDATA = re.compile(r"Q[1-9][0-9]*")


@dataclass(frozen=True)
class Pois:
    """The POI rows of one city-day.

    Attributes:
        table: One row per POI, ordered by type and id: the columns of `poi_ingestion_staging` from
            `osm_type` on, and `source_ref`, `source_hash` and `content_hash`. Geometry is WKB
            (EPSG:4326, lon lat). JSON columns are canonical text.
        rejections: Selected objects that are not staged, and why.
        outside: The number of selected features whose representative point is outside the boundary.
        generic: The number of POIs with only the generic category of their key.
        unparsed_opening_hours: The number of POIs with opening hours that cannot be parsed.
        unparsed_contacts: The number of POIs with a phone number, address or URL that cannot be
            parsed.
        transliterated_names: The number of POIs without a name that the city's readers can read.
    """

    table: pa.Table
    rejections: list[Rejection]
    outside: int
    generic: int
    unparsed_opening_hours: int
    unparsed_contacts: int
    transliterated_names: int


def normalize(
    features: Features,
    *,
    boundary: Boundary,
    day: date,
    languages: Sequence[str],
    local_language: str | None,
    country: str,
    taxonomy: Taxonomy,
    licence: str = OSM_LICENCE,
    attribution: str = OSM_ATTRIBUTION,
) -> Pois:
    """Return the POI rows of a city.

    Args:
        features: N features in the fetch window.
        boundary: The city's boundary; it owns the representative points of the city's features.
        day: The day (UTC) of the rows; dates in tags are compared with it.
        languages: The fallback chain for display names, best first.
        local_language: The language of a plain `name` in the city, if known.
        country: The city's country, ISO 3166-1 alpha-2, for phone numbers without a prefix.
        taxonomy: The table of categories.
        licence: SPDX identifier of the data's licence.
        attribution: The text that a product must show.

    Returns:
        The rows; every feature inside the boundary is either a row or a rejection.
    """
    located = locate(features, boundary)
    tags = located.features.tags
    namer = Namer(languages, local_language)
    by_set = _TagColumns.joined(
        on_spans(
            lambda span: _tag_columns(
                tags.sets[span], day=day, namer=namer, country=country, taxonomy=taxonomy
            ),
            len(tags.sets),
            worth=_SETS_WORTH_FORKING,
        )
    )
    is_poi = by_set.is_poi[tags.set_of]
    set_of = tags.set_of[is_poi]
    credit = {"licence": licence, "attribution": attribution}
    return Pois(
        table=_table_of(located, np.flatnonzero(is_poi), by_set, credit),
        rejections=located.rejections + _rejected(take(located.features, ~is_poi), taxonomy),
        outside=located.outside,
        generic=int(by_set.is_generic[set_of].sum()),
        unparsed_opening_hours=int(by_set.has_unparsed_hours[set_of].sum()),
        unparsed_contacts=int(by_set.has_unparsed_contacts[set_of].sum()),
        transliterated_names=int(by_set.is_transliterated[set_of].sum()),
    )


def _table_of(
    located: Located,
    rows: npt.NDArray[np.int64],
    by_set: _TagColumns,
    credit: Mapping[str, str],
) -> pa.Table:
    """Return the rows of the features that are POIs; many of them are made on several cores."""
    import pyarrow as pa

    tables = on_spans(
        lambda span: _hashed(located, rows[span], by_set, credit),
        len(rows),
        worth=_WORTH_FORKING,
    )
    return pa.concat_tables(tables)


def _hashed(
    located: Located,
    places: npt.NDArray[np.int64],
    by_set: _TagColumns,
    credit: Mapping[str, str],
) -> pa.Table:
    """Return the rows of some features, with their hashes."""
    import pyarrow as pa

    area = areas_m2(located.features.geometry[places])
    set_of = numbers(located.features.tags.set_of[places], pa.int64())
    columns = {
        **located.columns(places),
        **{name: column.take(set_of) for name, column in by_set.columns.items()},
        # More digits than square decimetres would differ between machines.
        "area_m2": numbers(np.round(area, 2), pa.float64(), missing=np.isnan(area)),
        **credit,
    }
    rows = rows_of({name: columns[name] for name in _COLUMNS}, len(places))
    return with_content_hash(with_source_hash(rows, dated_status=by_set.dated_status.take(set_of)))


@dataclass(frozen=True)
class _TagColumns:
    """The columns that depend only on tags, for each of K sets of tags.

    Attributes:
        columns: Columns of the rows, K values each.
        dated_status: (K,) The status that dates imply for the day, or null.
        is_poi: Whether an object with these tags is a POI; if not, its columns are undefined.
        is_generic: See `Pois.generic`.
        has_unparsed_hours: See `Pois.unparsed_opening_hours`.
        has_unparsed_contacts: See `Pois.unparsed_contacts`.
        is_transliterated: See `Pois.transliterated_names`.
    """

    columns: dict[str, pa.StringArray]
    dated_status: pa.StringArray
    is_poi: BoolArray
    is_generic: BoolArray
    has_unparsed_hours: BoolArray
    has_unparsed_contacts: BoolArray
    is_transliterated: BoolArray

    @classmethod
    def joined(cls, parts: Sequence[_TagColumns]) -> _TagColumns:
        """Return the columns of several lists of sets, one list after the other."""
        import pyarrow as pa

        flags = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in cls.__dataclass_fields__
            if name not in {"columns", "dated_status"}
        }
        columns = {
            name: pa.concat_arrays([part.columns[name] for part in parts])
            for name in parts[0].columns
        }
        return cls(columns, pa.concat_arrays([part.dated_status for part in parts]), **flags)


def _tag_columns(
    sets: Sequence[Mapping[str, str]],
    *,
    day: date,
    namer: Namer,
    country: str,
    taxonomy: Taxonomy,
) -> _TagColumns:
    classes = [taxonomy.classify(tags) for tags in sets]
    # A status without a date takes precedence.
    dated_status = [
        status_on(day, tags) if each is not None and each.status == "operating" else None
        for each, tags in zip(classes, sets, strict=True)
    ]
    status = [
        None if each is None else dated or each.status
        for each, dated in zip(classes, dated_status, strict=True)
    ]
    names = [
        namer.display_name(tags, OPERATING if each is None else each)
        for tags, each in zip(sets, status, strict=True)
    ]
    contact = [contacts(tags, country=country) for tags in sets]
    raw_hours = [tags.get("opening_hours") for tags in sets]
    hours = [None if raw is None else normalized_hours(raw) for raw in raw_hours]
    columns: dict[str, Sequence[str | None]] = {
        "category": [None if each is None else each.category for each in classes],
        "categories": canonical_texts(each.categories if each else () for each in classes),
        "name": [each.name for each in names],
        "name_source": [each.source for each in names],
        "names": canonical_texts(map(names_by_language, sets)),
        "tags": canonical_texts(sets),
        "address": canonical_texts(map(_address, sets)),
        "contact": canonical_texts(contact),
        "opening_hours": hours,
        "wikidata": [_wikidata(tags) for tags in sets],
        "status": status,
    }
    return _TagColumns(
        columns={name: texts(column) for name, column in columns.items()},
        dated_status=texts(dated_status),
        is_poi=_flags(each is not None for each in classes),
        is_generic=_flags(each is not None and not each.is_specific for each in classes),
        has_unparsed_hours=_flags(
            raw is not None and parsed is None for raw, parsed in zip(raw_hours, hours, strict=True)
        ),
        has_unparsed_contacts=_flags(NOT_UNDERSTOOD in each for each in contact),
        is_transliterated=_flags(each.is_transliterated for each in names),
    )


def _flags(values: Iterable[bool]) -> BoolArray:
    return np.fromiter(values, dtype=np.bool_)


_WHY_NOT: dict[RejectionReason, str] = {
    "no_main_tag": "every tag that would make it a POI has the value 'no'",
    "not_a_place": "it is a road, a railway, a river or a route, and no tag describes a place",
}


def _rejected(features: Features, taxonomy: Taxonomy) -> list[Rejection]:
    reasons = map(taxonomy.why_not, features.tags)
    return [
        Rejection(source_ref=ref, reason=reason, detail=_WHY_NOT[reason], raw={"tags": tags})
        for ref, tags, reason in zip(features.source_refs(), features.tags, reasons, strict=True)
    ]


def _address(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the address: `addr:street` becomes `street`."""
    return {
        key.removeprefix("addr:"): text for key, text in tags.items() if key.startswith("addr:")
    }


def _wikidata(tags: Mapping[str, str]) -> str | None:
    if "wikidata" not in tags:
        return None
    first = tags["wikidata"].split(";")[0].strip()
    return first if _WIKIDATA.fullmatch(first) else None
