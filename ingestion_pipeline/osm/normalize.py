"""Features to POI rows: the columns that staging keeps, for one city.

Belongs here: which features are the city's, and what each column says. Does not belong here:
geometries (`assemble.py`), categories (`taxonomy.py`), names, contacts and opening hours (`text/`).
Every column is documented in docs/data-dictionary.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ingestion_pipeline.columns.arrow import binaries, numbers, texts
from ingestion_pipeline.columns.hashing import canonical_texts, with_content_hash, with_source_hash
from ingestion_pipeline.core.evidence import OSM_ATTRIBUTION, OSM_LICENCE
from ingestion_pipeline.core.parallel import on_spans
from ingestion_pipeline.core.rejection import Rejection, RejectionReason
from ingestion_pipeline.osm.assemble import areas_m2, take
from ingestion_pipeline.osm.locate import Located, locate
from ingestion_pipeline.osm.taxonomy import TAXONOMY_VERSION, Taxonomy
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

    BoolArray = npt.NDArray[np.bool_]

RULES = 3
"""Raised with every change, here, in `assemble.py` or `text/`, that changes what a reader sees."""

_WORTH_FORKING = 20_000
"""From so many rows on, several processes make them; a second of work."""

_SETS_WORTH_FORKING = 4_000
"""From so many sets of tags on, several processes look at them."""

_WIKIDATA = re.compile(r"Q[1-9][0-9]*")


@dataclass(frozen=True)
class Pois:
    """The POI rows of one city-day.

    Attributes:
        table: One row per POI, ordered by type and id; columns of `poi_ingestion_staging` from
            `osm_type` on, and `source_ref`, `source_hash` and `content_hash`. Geometry is WKB
            (EPSG:4326, lon lat). JSON columns are canonical text.
        rejections: What was selected, is not staged, and why.
        outside: How many selected features belong to no part of the city: their representative
            point lies outside its boundary.
        generic: How many POIs have only their key's generic category.
        unparsed_opening_hours: How many POIs have opening hours that cannot be understood.
        unparsed_contacts: How many POIs have a number, address or URL that cannot be understood.
        transliterated_names: How many POIs have no name that the city's readers could read.
    """

    table: pa.Table
    rejections: list[Rejection]
    outside: int
    generic: int
    unparsed_opening_hours: int
    unparsed_contacts: int
    transliterated_names: int


@cache
def rules_version() -> str:
    """Name what makes rows out of features; recorded with every staged day.

    Libraries are part of the rules: those that write telephone numbers and Latin letters, the one
    that knows languages, and the one that finds points on surfaces.
    """
    from importlib.metadata import version

    import shapely

    geos = ".".join(map(str, shapely.geos_version))
    return (
        f"rules {RULES}; {TAXONOMY_VERSION}; "
        f"phonenumbers {version('phonenumbers')}; anyascii {version('anyascii')}; "
        f"pypinyin {version('pypinyin')}; langcodes {version('langcodes')}; GEOS {geos}"
    )


def normalize(
    features: Features,
    *,
    boundary: Boundary,
    day: date,
    languages: Sequence[str],
    local_language: str | None,
    country: str,
    taxonomy: Taxonomy,
) -> Pois:
    """Make the POI rows of a city.

    Args:
        features: N features in whatever window was fetched.
        boundary: The city's boundary; a feature is the city's when its representative point is.
        day: The day (UTC) of which the rows tell; dates in tags are compared with it.
        languages: The fallback chain for display names, best first.
        local_language: The language of a plain `name` in the city, where that is known.
        country: The city's, ISO 3166-1 alpha-2; telephone numbers without a prefix are of it.
        taxonomy: The table of categories.

    Returns:
        The rows; every feature inside the boundary is either a row or a rejection.
    """
    located = locate(features, boundary)
    tags = located.features.tags
    told = _told_by(
        tags.sets,
        day=day,
        namer=Namer(languages, local_language),
        country=country,
        taxonomy=taxonomy,
    )
    is_poi = told.is_poi[tags.set_of]
    set_of = tags.set_of[is_poi]
    return Pois(
        table=_table_of(located, np.flatnonzero(is_poi), told),
        rejections=located.rejections + _rejected(take(located.features, ~is_poi), taxonomy),
        outside=located.outside,
        generic=int(told.is_generic[set_of].sum()),
        unparsed_opening_hours=int(told.has_unparsed_hours[set_of].sum()),
        unparsed_contacts=int(told.has_unparsed_contacts[set_of].sum()),
        transliterated_names=int(told.is_transliterated[set_of].sum()),
    )


def _table_of(located: Located, rows: npt.NDArray[np.int64], told: _Told) -> pa.Table:
    """Make the rows of those features that are POIs, on several cores where they are many."""
    import pyarrow as pa

    tables = on_spans(
        lambda span: _hashed(located, rows[span], told),
        len(rows),
        worth=_WORTH_FORKING,
    )
    return pa.concat_tables(tables)


def _hashed(located: Located, places: npt.NDArray[np.int64], told: _Told) -> pa.Table:
    """Make the rows of some features, with their hashes."""
    import pyarrow as pa

    place = numbers(located.features.tags.set_of[places], pa.int64())
    rows = _rows(located, places, told)
    return with_content_hash(with_source_hash(rows, of_the_day=told.of_the_day.take(place)))


def _rows(located: Located, places: npt.NDArray[np.int64], told: _Told) -> pa.Table:
    """Make the rows of some features."""
    import pyarrow as pa
    import shapely

    pois = take(located.features, places)
    set_of = located.features.tags.set_of[places]
    place = numbers(set_of, pa.int64())
    by_tags = {name: column.take(place) for name, column in told.columns.items()}
    version = numbers(pois.version.astype(np.int32), pa.int32(), missing=pois.version == 0)
    geometry = binaries(shapely.to_wkb(pois.geometry, byte_order=1).tolist())
    area = areas_m2(pois.geometry)
    timestamp = pois.timestamp.astype("datetime64[s]")
    columns = {
        "source_ref": texts(pois.source_refs()),
        "osm_type": texts(pois.osm_type.tolist()),
        "osm_id": numbers(pois.osm_id, pa.int64()),
        "osm_version": version,
        "osm_timestamp": numbers(timestamp, pa.timestamp("s", "UTC"), missing=np.isnat(timestamp)),
        "category": by_tags["category"],
        "categories": by_tags["categories"],
        "name": by_tags["name"],
        "name_source": by_tags["name_source"],
        "names": by_tags["names"],
        "tags": by_tags["tags"],
        "geometry": geometry,
        "lon": numbers(located.lon[places], pa.float64()),
        "lat": numbers(located.lat[places], pa.float64()),
        "point_source": texts(located.point_source[places].tolist()),
        "geom_quality": texts(pois.geom_quality.tolist()),
        # Square decimetres are finer than any survey; more digits would only differ by machine.
        "area_m2": numbers(np.round(area, 2), pa.float64(), missing=np.isnan(area)),
        "address": by_tags["address"],
        "contact": by_tags["contact"],
        "opening_hours": by_tags["opening_hours"],
        "wikidata": by_tags["wikidata"],
        "status": by_tags["status"],
        "licence": texts([OSM_LICENCE] * len(pois)),
        "attribution": texts([OSM_ATTRIBUTION] * len(pois)),
    }
    # `pyarrow.table` would import pandas
    return pa.Table.from_arrays(list(columns.values()), names=list(columns))


@dataclass(frozen=True)
class _Told:
    """What each of K sets of tags tells, whichever objects have them.

    Attributes:
        columns: Columns of the rows, K values each.
        of_the_day: (K,) The status that their dates tell of the day, or null.
        is_poi: Whether an object with these tags is a POI; if not, its columns mean nothing.
        is_generic: See `Pois.generic`; and so on.
        has_unparsed_hours: The same.
        has_unparsed_contacts: The same.
        is_transliterated: The same.
    """

    columns: dict[str, pa.StringArray]
    of_the_day: pa.StringArray
    is_poi: BoolArray
    is_generic: BoolArray
    has_unparsed_hours: BoolArray
    has_unparsed_contacts: BoolArray
    is_transliterated: BoolArray

    @classmethod
    def joined(cls, parts: Sequence[_Told]) -> _Told:
        """Put what several lists of sets tell after one another."""
        import pyarrow as pa

        flags = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in cls.__dataclass_fields__
            if name not in {"columns", "of_the_day"}
        }
        columns = {
            name: pa.concat_arrays([part.columns[name] for part in parts])
            for name in parts[0].columns
        }
        return cls(columns, pa.concat_arrays([part.of_the_day for part in parts]), **flags)


def _told_by(
    sets: Sequence[Mapping[str, str]],
    *,
    day: date,
    namer: Namer,
    country: str,
    taxonomy: Taxonomy,
) -> _Told:
    """Work out once what follows from equal tags, on several cores where these are many."""
    parts = on_spans(
        lambda span: _told_by_some(
            sets[span], day=day, namer=namer, country=country, taxonomy=taxonomy
        ),
        len(sets),
        worth=_SETS_WORTH_FORKING,
    )
    return _Told.joined(parts)


def _told_by_some(
    sets: Sequence[Mapping[str, str]],
    *,
    day: date,
    namer: Namer,
    country: str,
    taxonomy: Taxonomy,
) -> _Told:
    classes = [taxonomy.classify(tags) for tags in sets]
    # What tags tell without a date comes first.
    of_the_day = [
        status_on(day, tags) if each is not None and each.status == "operating" else None
        for each, tags in zip(classes, sets, strict=True)
    ]
    status = [
        None if each is None else dated or each.status
        for each, dated in zip(classes, of_the_day, strict=True)
    ]
    names = [
        namer.display_name(tags, OPERATING if told is None else told)
        for tags, told in zip(sets, status, strict=True)
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
    return _Told(
        columns={name: texts(column) for name, column in columns.items()},
        of_the_day=texts(of_the_day),
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
    "no_main_tag": "every tag that would make it a POI says 'no'",
    "not_a_place": "it is a road, a railway, a river or a route, and what its tags say beside that "
    "names no place",
}


def _rejected(features: Features, taxonomy: Taxonomy) -> list[Rejection]:
    reasons = map(taxonomy.why_not, features.tags)
    return [
        Rejection(source_ref=ref, reason=reason, detail=_WHY_NOT[reason], raw={"tags": tags})
        for ref, tags, reason in zip(features.source_refs(), features.tags, reasons, strict=True)
    ]


def _address(tags: Mapping[str, str]) -> dict[str, str]:
    """Collect the address: `addr:street` becomes `street`."""
    return {part: tags[key] for key, part in _parts_of_address(frozenset(tags))}


@lru_cache(maxsize=65_536)
def _parts_of_address(keys: frozenset[str]) -> Sequence[tuple[str, str]]:
    return [(key, key.removeprefix("addr:")) for key in sorted(keys) if key.startswith("addr:")]


def _wikidata(tags: Mapping[str, str]) -> str | None:
    if "wikidata" not in tags:
        return None
    first = tags["wikidata"].split(";")[0].strip()
    return first if _WIKIDATA.fullmatch(first) else None
