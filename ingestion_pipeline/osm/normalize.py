"""Features to POI rows: the columns that staging keeps, for one city.

Belongs here: which features are the city's, and what each column says. Does not belong here:
geometries (`assemble.py`), categories (`taxonomy.py`), names, contacts and opening hours (`text/`).
Every column is documented in docs/data-dictionary.md.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from ingestion_pipeline.hashing import canonical_json, row_hashes, with_content_hash
from ingestion_pipeline.osm.assemble import areas_m2, take
from ingestion_pipeline.osm.features import ATTRIBUTION, LICENCE, Features, Rejection
from ingestion_pipeline.osm.locate import locate
from ingestion_pipeline.osm.taxonomy import TAXONOMY_VERSION, Taxonomy
from ingestion_pipeline.text.contacts import NOT_UNDERSTOOD, contacts
from ingestion_pipeline.text.hours import normalized_hours
from ingestion_pipeline.text.names import Namer, names_by_language

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from ingestion_pipeline.osm.boundary import Boundary

RULES = 2
"""Raised with every change, here, in `assemble.py` or `text/`, that changes what a reader sees."""

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

    Libraries are part of the rules: those that write opening hours, telephone numbers and Latin
    letters, and the one that finds points on surfaces.
    """
    import shapely

    geos = ".".join(map(str, shapely.geos_version))
    return (
        f"rules {RULES}; {TAXONOMY_VERSION}; opening-hours {version('opening-hours-py')}; "
        f"phonenumbers {version('phonenumbers')}; anyascii {version('anyascii')}; GEOS {geos}"
    )


def normalize(
    features: Features,
    *,
    boundary: Boundary,
    languages: Sequence[str],
    local_language: str | None,
    country: str,
    taxonomy: Taxonomy,
) -> Pois:
    """Make the POI rows of a city.

    Args:
        features: N features in whatever window was fetched.
        boundary: The city's boundary; a feature is the city's when its representative point is.
        languages: The fallback chain for display names, best first.
        local_language: The language of a plain `name` in the city, where that is known.
        country: The city's, ISO 3166-1 alpha-2; telephone numbers without a prefix are of it.
        taxonomy: The table of categories.

    Returns:
        The rows; every feature inside the boundary is either a row or a rejection.
    """
    import pyarrow as pa
    import shapely

    located = locate(features, boundary)
    classes = [taxonomy.classify(tags) for tags in located.features.tags]
    is_poi = np.array([found is not None for found in classes], dtype=bool)
    pois = take(located.features, is_poi)
    found = [found for found in classes if found is not None]
    tags = pois.tags
    area = areas_m2(pois.geometry)
    hours = [
        normalized_hours(tag["opening_hours"]) if "opening_hours" in tag else None for tag in tags
    ]
    namer = Namer(languages, local_language)
    names = [namer.display_name(tag) for tag in tags]
    contact = [contacts(tag, country=country) for tag in tags]
    wkb = shapely.to_wkb(pois.geometry, byte_order=1)
    tags_text = [canonical_json(tag) for tag in tags]
    versions = [int(number) or None for number in pois.version]
    text = pa.string()
    columns = {
        "source_ref": pa.array(pois.source_refs(), text),
        "source_hash": pa.array(row_hashes([versions, tags_text, list(wkb)]), text),
        "osm_type": pa.array(pois.osm_type, text),
        "osm_id": pa.array(pois.osm_id, pa.int64()),
        "osm_version": pa.array(versions, pa.int32()),
        "osm_timestamp": pa.array(pois.timestamp.astype("datetime64[s]")).cast(
            pa.timestamp("s", "UTC")
        ),
        "category": pa.array([each.category for each in found], text),
        "categories": pa.array([canonical_json(list(each.categories)) for each in found], text),
        "name": pa.array([each.name for each in names], text),
        "name_source": pa.array([each.source for each in names], text),
        "names": pa.array([canonical_json(names_by_language(tag)) for tag in tags], text),
        "tags": pa.array(tags_text, text),
        "geometry": pa.array(wkb, pa.binary()),
        "lon": pa.array(located.lon[is_poi], pa.float64()),
        "lat": pa.array(located.lat[is_poi], pa.float64()),
        "point_source": pa.array(located.point_source[is_poi], text),
        "geom_quality": pa.array(pois.geom_quality, text),
        # Square decimetres are finer than any survey; more digits would only differ by machine.
        "area_m2": pa.array(np.round(area, 2), pa.float64(), from_pandas=True),
        "address": pa.array([canonical_json(_address(tag)) for tag in tags], text),
        "contact": pa.array(list(map(canonical_json, contact)), text),
        "opening_hours": pa.array(hours, text),
        "wikidata": pa.array([_wikidata(tag) for tag in tags], text),
        "status": pa.array([each.status for each in found], text),
        "licence": pa.array([LICENCE] * len(pois), text),
        "attribution": pa.array([ATTRIBUTION] * len(pois), text),
    }
    return Pois(
        table=with_content_hash(pa.table(columns)),
        rejections=_without_main_tag(take(located.features, ~is_poi)),
        outside=located.outside,
        generic=sum(not each.is_specific for each in found),
        unparsed_opening_hours=sum(
            parsed is None and "opening_hours" in tag
            for parsed, tag in zip(hours, tags, strict=True)
        ),
        unparsed_contacts=sum(NOT_UNDERSTOOD in each for each in contact),
        transliterated_names=sum(each.is_transliterated for each in names),
    )


def count_by(table: pa.Table, column: str) -> dict[str, int]:
    """Count POIs by the values of a text column, the most frequent first."""
    return dict(Counter(map(str, table.column(column).to_pylist())).most_common())


def _without_main_tag(features: Features) -> list[Rejection]:
    return [
        Rejection(
            source_ref=ref,
            reason="no_main_tag",
            detail="every tag that would make it a POI says 'no'",
            raw={"tags": tags},
        )
        for ref, tags in zip(features.source_refs(), features.tags, strict=True)
    ]


def _address(tags: Mapping[str, str]) -> dict[str, str]:
    """Collect the address: `addr:street` becomes `street`."""
    return {key[len("addr:") :]: value for key, value in tags.items() if key.startswith("addr:")}


def _wikidata(tags: Mapping[str, str]) -> str | None:
    first = tags.get("wikidata", "").split(";")[0].strip()
    return first if _WIKIDATA.fullmatch(first) else None
